"""Real go-micro over TLS: a service that is called by the sidecar, and a client that calls an app behind it."""

from __future__ import annotations

import json
import socket
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from sidecar.test.doubles.certificates import authority
from sidecar.test.doubles.clients.blocking import App
from sidecar.test.doubles.programs.daemon import Daemon, running_daemon
from sidecar.test.doubles.programs.process import BIN, find_program, start

PROGRAM = find_program("secure-v5.30.0")
#: Seconds that anything may take on a machine that is busy with something else.
PATIENCE = 60.0


def hello(path: str, headers: Mapping[str, str], body: bytes) -> tuple[int, bytes]:
    """The app."""
    return 200, json.dumps({"path": path, **json.loads(body)}).encode()


class Secure(SynchronousTestCase):
    skip = None if PROGRAM else f"no go-micro with TLS here: run interop/build, or name its output in ${BIN}"

    def setUp(self) -> None:
        home = Path(self.mktemp())
        home.mkdir()
        self.signer = authority(home.absolute())
        self.chain, self.key = self.signer.issue("server")

    def daemon(self, *flags: str) -> Daemon:
        daemon = running_daemon(flags)
        self.addCleanup(daemon.stop)
        return daemon

    def test_service(self) -> None:
        """A service that speaks TLS is called, and its errors come through; without its authority it is not."""
        assert PROGRAM is not None
        service = start(
            PROGRAM, ["serve", self.chain, self.key, "127.0.0.1:0"], lambda program: "127.0.0.1:" in program.output
        )
        self.addCleanup(service.stop)
        port = next(line for line in service.output.splitlines() if line.startswith("127.0.0.1:")).rpartition(":")[2]
        node = {"id": "secure-1", "address": f"https://127.0.0.1:{port}"}
        for flags, status in (((f"--rpc_tls_ca_file={self.signer.ca_file}",), 200), ((), 502)):
            daemon = self.daemon(*flags)
            body = json.dumps({"name": "srv.secure", "nodes": [node]})
            self.assertEqual(daemon.request("POST", "/registry", body).status, 200)
            call = {"service": "srv.secure", "method": "Say.Hello", "request": {"name": "John"}}
            answer = daemon.request("POST", "/rpc", json.dumps(call), {"Content-Type": "application/json"})
            self.assertEqual(answer.status, status, answer.body)
            if status == 200:
                self.assertEqual(answer.json, {"msg": "Hello John"})
                call["method"] = "Say.Nothing"
                answer = daemon.request("POST", "/rpc", json.dumps(call), {"Content-Type": "application/json"})
                self.assertEqual((answer.status, "Nothing" in answer.json["detail"]), (500, True))

    def test_client(self) -> None:
        """A client that speaks TLS, and verifies, calls an app that speaks plain HTTP."""
        assert PROGRAM is not None
        app = App.listen(socket.socket(), hello)
        self.addCleanup(app.close)
        daemon = self.daemon(
            *("--server_name=foo", f"--server_address=127.0.0.1:{app.port}", "--server_protocol=http"),
            *(f"--server_tls_cert_file={self.chain}", f"--server_tls_key_file={self.key}"),
        )
        end = time.monotonic() + PATIENCE
        while daemon.request("GET", "/registry?service=foo").status != 200:
            self.assertLess(time.monotonic(), end)
            time.sleep(0.05)
        (node,) = daemon.request("GET", "/registry?service=foo").json["nodes"]
        where = f"127.0.0.1:{node['port']}"
        called = subprocess.run(
            [PROGRAM, "call", self.signer.ca_file, where, "foo", "Say.Hello", '{"name":"John"}'],
            capture_output=True,
            timeout=PATIENCE,
        )
        self.assertEqual(called.returncode, 0, called.stderr)
        self.assertEqual(json.loads(called.stdout), {"path": "/Say/Hello", "name": "John"})
