"""The API as its OpenAPI document describes it, attacked with what the document allows and what it does not."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from sidecar.test.doubles.programs import namespace
from sidecar.test.doubles.programs.daemon import environment, running_daemon
from sidecar.web.openapi import document

#: Cases for each operation: enough to find what is wrong, few enough for every run.
CASES = 60
#: A call to a node that is not there is answered with 502 and the like, and that is right; 500 never is.
TOOL = """
[checks.not_a_server_error]
expected-statuses = ["2xx", "3xx", "4xx", 501, 502, 503, 504]
"""


#: Of these not all that is valid is accepted. JSON Schema cannot say which addresses a node may have, that no two nodes
#: share an id, that a parameter (wait) needs another (index), nor which methods a verb is for.
INEXACT = ("register", "deregister", "lookUp", "call")


class OpenApi(SynchronousTestCase):
    timeout = 600

    def test_schemathesis(self) -> None:
        """No answer of the daemon is one that the document does not tell of, whatever is sent."""
        self.attack("--checks=all", "--exclude-checks=positive_data_acceptance,negative_data_rejection")

    def test_exact(self) -> None:
        """What is valid by the document is accepted, and what is not is refused."""
        # In ASCII: each version of Unicode, and so of Python, has more that can be printed.
        self.attack(
            "--checks=positive_data_acceptance,negative_data_rejection",
            "--generation-codec=ascii",
            *(f"--exclude-operation-id={operation}" for operation in INEXACT),
        )

    def test_refused(self) -> None:
        """The latter holds for the others too."""
        self.attack(
            "--checks=negative_data_rejection",
            "--generation-codec=ascii",
            *(f"--include-operation-id={operation}" for operation in INEXACT),
        )

    def attack(self, *how: str) -> None:
        if importlib.util.find_spec("schemathesis") is None:
            self.skipTest("not installed: schemathesis (PyPI)")
        home = Path(self.mktemp()).absolute()
        home.mkdir()
        reason = namespace.unavailable()
        if reason is not None:
            self.skipTest(reason)
        # What is registered is called too, wherever it is: in a network where there is nothing but this machine.
        network = namespace.Namespace.make()
        self.addCleanup(network.remove)
        with running_daemon(["--enable_stats"], prefix=network.prefix) as daemon:
            served = document.openapi()
            (home / "openapi.json").write_text(json.dumps(served))
            (home / "schemathesis.toml").write_text(TOOL)
            # A tool for HTTP cannot open the WebSockets (they are in /asyncapi.json), and reads no answer without end.
            endless = [
                told["operationId"]
                for methods in served["paths"].values()
                for told in methods.values()
                if "200" not in told["responses"] or "text/event-stream" in told["responses"]["200"].get("content", {})
            ]
            # Of a call that fails go-micro's dialect has no body, under the content type of the request: what the tool
            # takes for JSON that is broken, and Go's clients expect (interop.test_transparent).
            left_out = () if any("--include" in each for each in how) else (*endless, "callAsProxy")
            done = subprocess.run(
                [
                    *network.prefix,
                    *(sys.executable, "-m", "schemathesis.cli", "run", str(home / "openapi.json")),
                    f"--url={daemon.url}",
                    f"--max-examples={CASES}",
                    "--seed=1",
                    "--no-color",
                    "--request-timeout=20",
                    *how,
                    *(f"--exclude-operation-id={operation}" for operation in left_out),
                ],
                capture_output=True,
                text=True,
                cwd=home,
                env=environment(),
                timeout=500,
            )
            self.assertEqual(done.returncode, 0, done.stdout[-6000:] + done.stderr[-2000:])
            self.assertNotIn("Incident", daemon.output)
