"""Starts nodes of services as processes of their own, which can be killed and stopped as others die and hang."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from attrs import define

from sidecar.test.doubles.programs.daemon import Daemon
from sidecar.test.doubles.programs.process import Program, accepts, free_port, start

#: Answers each call of JSON-RPC with what it was asked; a call for the method ``X.Fail`` with an error.
_PROGRAM = """
import json, sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
class Calls(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])) or b"{}")
        request = (asked.get("params") or [None])[0]
        answer = {"id": asked.get("id"), "result": {"asked": request}, "error": None}
        if isinstance(request, dict) and request.get("fail"):
            fault = {"id": "node", "code": 500, "detail": request["fail"], "status": "Internal Server Error"}
            answer = {"id": asked.get("id"), "result": None, "error": json.dumps(fault)}
        body = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")
    def log_message(self, *words):
        pass
ThreadingHTTPServer.request_queue_size = 128
ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Calls).serve_forever()
"""


@define(eq=False)
class NodeProcess:
    """A node. :ivar port: on loopback."""

    program: Program
    port: int

    @classmethod
    def start(cls) -> NodeProcess:
        """Start one, and wait until it listens."""
        port = free_port()
        return cls(start(sys.executable, ["-c", _PROGRAM, str(port)], lambda _: accepts(port)), port)

    def register(
        self, daemon: Daemon, service: str, id: str, endpoints: Sequence[Mapping[str, Any]] = (), **metadata: str
    ) -> None:
        """Have it called for a service."""
        node = {"id": id, "address": "127.0.0.1", "port": self.port, "metadata": {"protocol": "mucp", **metadata}}
        body = json.dumps({"name": service, "version": "1.4.2", "endpoints": list(endpoints), "nodes": [node]})
        answer = daemon.request("POST", "/registry", body, {"Content-Type": "application/json"})
        assert answer.status == 200, answer

    def hang(self) -> None:
        """Say nothing any more, though the port is open."""
        self.program.process.send_signal(signal.SIGSTOP)

    def kill(self) -> None:
        """End at once."""
        self.program.kill()

    def stop(self) -> None:
        """End, however it is, and remove its files."""
        self.program.process.send_signal(signal.SIGCONT)
        self.program.stop()
