"""Traces pass through: to nodes in each dialect, and with messages."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from sidecar.test.doubles.clients.traffic import until
from sidecar.test.doubles.programs.daemon import Daemon, running_daemon
from sidecar.wire.tracing.traceparent import parse

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
GIVEN = f"00-{TRACE}-00f067aa0ba902b7-01"


class Heard:
    """A node over HTTP that keeps the headers of what it is asked. :ivar headers: with lower-case names."""

    def __init__(self) -> None:
        self.headers: list[dict[str, str]] = []
        heard = self.headers

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                heard.append({name.lower(): value for name, value in self.headers.items()})
                asked: Any = json.loads(body)
                result = {"id": asked["id"], "result": {}, "error": None} if "id" in asked else {}
                answer = json.dumps(result).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_: object) -> None:
                """Nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        self.server.shutdown()
        self.server.server_close()


class Traced(SynchronousTestCase):
    def start(self, protocol: str, *flags: str) -> tuple[Daemon, Heard]:
        """A sidecar, and a node of ``foo`` that speaks ``protocol``."""
        daemon = running_daemon(["--log_format=json", *flags])
        self.addCleanup(daemon.stop)
        node = Heard()
        self.addCleanup(node.stop)
        told = {"id": "foo-1", "address": "127.0.0.1", "port": node.port, "metadata": {"protocol": protocol}}
        registered = daemon.request("POST", "/registry", json.dumps({"name": "foo", "nodes": [told]}))
        self.assertEqual(registered.status, 200)
        return daemon, node

    def call(self, daemon: Daemon, service: str = "foo", **headers: str) -> Any:
        asked = json.dumps({"service": service, "method": "A.B", "request": {}})
        return daemon.request("POST", "/rpc", asked, {"Content-Type": "application/json", **headers})

    def test_taken(self) -> None:
        """A caller's trace reaches the node as it came, and its id the receipt, whatever the node speaks."""
        for protocol in ("mucp", "http"):
            daemon, node = self.start(protocol)
            answer = self.call(daemon, traceparent=GIVEN, tracestate="a=b", **{"Micro-Explain": "1"})
            self.assertEqual(answer.status, 200, answer.body)
            self.assertEqual((node.headers[0]["traceparent"], node.headers[0]["tracestate"]), (GIVEN, "a=b"))
            self.assertEqual(json.loads(answer.headers["micro-receipt"])["trace_id"], TRACE)

    def test_begun(self) -> None:
        """Without one a trace begins, for each call another; what is malformed is no trace, and goes no further."""
        daemon, node = self.start("mucp")
        self.call(daemon)
        self.call(daemon)
        self.call(daemon, traceparent="00-what-ever-01", tracestate="a=b")
        found = [parse(headers["traceparent"]) for headers in node.headers]
        self.assertNotIn(None, found)
        self.assertEqual(len({context.trace_id for context in found if context is not None}), 3)
        self.assertNotIn("tracestate", node.headers[2])

    def test_in_the_log(self) -> None:
        """The line of a failed call tells its trace, and so does the list of failed calls."""
        daemon, _ = self.start("mucp")
        self.assertEqual(self.call(daemon, service="nobody", traceparent=GIVEN).status, 404)
        until(lambda: TRACE in daemon.output, 60)
        (failed,) = daemon.request("GET", "/errors").json
        self.assertEqual((failed["trace_id"], failed["receipt"]["trace_id"]), (TRACE, TRACE))
