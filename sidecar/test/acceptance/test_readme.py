"""The README's own commands, run against a live daemon: what it shows is what one gets."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import time
from importlib.util import find_spec

from twisted.trial.unittest import SkipTest

from sidecar.test.doubles.programs.daemon import running_daemon
from sidecar.test.doubles.programs.document import Document, Reader
from sidecar.test.doubles.programs.process import checkout, missing, no_checkout

README = Document(checkout() / "README.rst")


class Readme(Reader):
    """Everything runs in the order of the text, as a reader would."""

    def setUp(self) -> None:
        reason = no_checkout() or missing("curl")
        if reason is not None:
            raise SkipTest(reason)
        self.home = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, self.home)

    def source(self, name: str, language: str, lines: int) -> str:
        """A program of the README, which says how many lines it takes."""
        found = README.program(name, language)
        self.assertLessEqual(len([line for line in found.splitlines() if line.strip()]), lines)
        return found

    def assert_hello(self, port: int, msg: str = "Hello John") -> None:
        """The README's own call of Say.Hello is answered."""
        (call,) = [command for command, _ in README.transcripts() if command.endswith("/rpc") and '"John"' in command]
        self.assertEqual(json.loads(self.sh(call, port).stdout), {"msg": msg})

    def test_transcripts(self) -> None:
        """Each command of the README prints what the README shows, with the app of five lines in Flask."""
        if find_spec("flask") is None:
            raise SkipTest("not installed: flask (pip install '.[dev]')")
        source = self.source("app.py", "python", 5)
        flask = [sys.executable, "-m", "flask", "--app", "app", "run", "--port", "9090"]
        self.assertIn(" ".join(flask[2:]), README.text.replace("``", ""))
        app = self.run_app("app.py", source, *flask)
        flags = ["--enable_stats", "--server_name=foo", f"--server_address=127.0.0.1:{app}", "--server_protocol=http"]
        with running_daemon(flags) as daemon:
            self.assertGreater(len(README.transcripts()), 10)
            self.assert_prints_what_it_shows(README, daemon.port)

    def test_express(self) -> None:
        """The app of five lines in Express."""
        reason = missing("node", "npm")
        if reason is not None:
            raise SkipTest(reason)
        source = self.source("app.js", "javascript", 5)
        install = ["npm", "install", "--no-fund", "--no-audit", "--loglevel=error", "express"]
        if subprocess.run(install, cwd=self.home, capture_output=True, timeout=120).returncode:
            raise SkipTest("not installed: express (npm install express)")
        app = self.run_app("app.js", source, "node", "app.js")
        flags = ["--server_name=foo", f"--server_address=127.0.0.1:{app}", "--server_protocol=http"]
        with running_daemon(flags) as daemon:
            self.assert_hello(daemon.port)

    def test_envelope(self) -> None:
        """The app that speaks go-micro's envelope."""
        app = self.run_app("envelope.py", self.source("envelope.py", "python", 15), sys.executable, "envelope.py")
        flags = [
            "--server_name=foo",
            f"--server_address=127.0.0.1:{app}",
            f"--healthcheck_url=http://127.0.0.1:{app}/_status/health",
        ]
        with running_daemon(flags) as daemon:
            while daemon.request("GET", "/registry?service=foo").status == 404:
                time.sleep(0.05)
            self.assert_hello(daemon.port)
            self.assertRegex(daemon.output, "Registering foo-")
            self.assertIn("Starting sidecar healthchecker", daemon.output)

    def test_flask_and_express_read_the_envelope(self) -> None:
        """What the README says of JSON of any type holds of Flask."""
        if find_spec("flask") is None:
            raise SkipTest("not installed: flask (pip install '.[dev]')")
        self.assertIn("request.get_json(force=True)", README.text)
        source = (
            "from flask import Flask, request\napp = Flask(__name__)\n"
            "@app.post('/')\ndef answer():\n    call = request.get_json(force=True)\n"
            "    return {'id': call['id'], 'result': {'msg': call['params'][0]['name']}, 'error': None}\n"
        )
        flask = [sys.executable, "-m", "flask", "--app", "app", "run", "--port", "9090"]
        app = self.run_app("app.py", source, *flask)
        with running_daemon(["--server_name=foo", f"--server_address=127.0.0.1:{app}"]) as daemon:
            self.assert_hello(daemon.port, "John")

    def test_tls(self) -> None:
        """The certificate that the README makes serves, and ``micro`` trusts it."""
        reason = missing("openssl")
        if reason is not None:
            raise SkipTest(reason)
        make, serve, ask = README.program("tls", "shell").splitlines()
        self.assertEqual(self.sh(make, 0).returncode, 0)
        flags = [word.replace("=", f"={self.home}/", 1) if ".pem" in word else word for word in serve.split()[2:]]
        with running_daemon([*flags, "--server_name=foo", "--server_address=127.0.0.1:9"]) as daemon:
            self.assertEqual(self.sh(ask, daemon.port).stdout, "foo\n")
