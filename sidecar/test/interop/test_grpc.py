"""Real go-micro v5 by gRPC, and clients of it that know no types: a service that is called by the sidecar, and callers of
an app behind it."""

from __future__ import annotations

import json
import socket
import subprocess
import time
from collections.abc import Mapping

from twisted.trial.unittest import SynchronousTestCase

from sidecar.test.doubles.clients.blocking import App
from sidecar.test.doubles.programs.daemon import running_daemon
from sidecar.test.doubles.programs.process import BIN, find_program, start

PROGRAM = find_program("grpc-v5.30.0")
#: Seconds that anything may take on a machine that is busy with something else.
PATIENCE = 60.0
JSON = {"Content-Type": "application/json"}


def hello(path: str, headers: Mapping[str, str], body: bytes) -> tuple[int, bytes]:
    """The app."""
    asked = json.loads(body)
    return (200, json.dumps({"path": path, **asked}).encode()) if asked else (400, b'{"detail":"whom?"}')


class Grpc(SynchronousTestCase):
    skip = None if PROGRAM else f"no go-micro v5 with gRPC here: run interop/build, or name its output in ${BIN}"

    def test_service(self) -> None:
        """A gRPC service of v5.30.0 is called by /rpc and by path; its own errors and unknown methods come through."""
        assert PROGRAM is not None
        service = start(PROGRAM, ["serve"], lambda program: "127.0.0.1:" in program.output)
        self.addCleanup(service.stop)
        where, protocol = next(line for line in service.output.splitlines() if line.startswith("127.0.0.1:")).split()
        self.assertEqual(protocol, "grpc")
        daemon = running_daemon(("--sidecar_namespace=srv",))
        self.addCleanup(daemon.stop)
        node = {"id": "grpc-1", "address": where, "metadata": {"protocol": protocol}}
        daemon.request("POST", "/registry", json.dumps({"name": "srv.grpc", "nodes": [node]}))
        for request, method, status, words in (
            ({"name": "John"}, "Say.Hello", 200, "Hello John"),
            ({}, "Say.Hello", 400, "whom?"),
            ({}, "Say.Nothing", 501, "Nothing"),
        ):
            call = {"service": "srv.grpc", "method": method, "request": request}
            answer = daemon.request("POST", "/rpc", json.dumps(call), JSON)
            self.assertEqual((answer.status, words in str(answer.body)), (status, True), answer.body)
        answer = daemon.request("POST", "/grpc/say/hello", json.dumps({"name": "John"}), JSON)
        self.assertEqual((answer.status, answer.json), (200, {"msg": "Hello John"}))

    def test_generic_callers(self) -> None:
        """Callers that send bytes and take bytes, as gateways do, call an app that speaks plain HTTP by either protocol."""
        assert PROGRAM is not None
        app = App.listen(socket.socket(), hello)
        self.addCleanup(app.close)
        daemon = running_daemon(
            ("--server_name=foo", f"--server_address=127.0.0.1:{app.port}", "--server_protocol=http")
        )
        self.addCleanup(daemon.stop)
        end = time.monotonic() + PATIENCE
        while daemon.request("GET", "/registry?service=foo").status != 200:
            self.assertLess(time.monotonic(), end)
            time.sleep(0.05)
        (node,) = daemon.request("GET", "/registry?service=foo").json["nodes"]
        for protocol in ("grpc", "mucp"):
            for payload, code, words in (('{"name":"John"}', 0, '"name": "John"'), ("{}", 1, "whom?")):
                called = subprocess.run(
                    [PROGRAM, "call", protocol, f"127.0.0.1:{node['port']}", "foo", "Say.Hello", payload],
                    capture_output=True,
                    timeout=PATIENCE,
                    text=True,
                )
                self.assertEqual(called.returncode, code, (protocol, called))
                self.assertIn(words, called.stderr if code else called.stdout, (protocol, called))
