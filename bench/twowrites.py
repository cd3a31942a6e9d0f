"""An app on Python's ``http.server``, as the README has one: it writes head and body of an answer apart, with Nagle's
algorithm on, so that the second waits until the first is acknowledged.

``python -m bench.twowrites PORT`` serves it.
"""

from __future__ import annotations

import http.client
import json
import statistics
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class _App(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        call = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        answer = json.dumps({"id": call.get("id"), "result": {"msg": "Hello John"}, "error": None}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *args: object) -> None:
        """Say nothing."""


def measure(port: int, path: str, body: bytes, calls: int) -> tuple[float, int]:
    """Call one after the other on one connection.

    :returns: the median in milliseconds, and how many calls failed. The first twenty do not count: a new connection's
        first packets are acknowledged at once by everybody.
    """
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    took, errors = [], 0
    for _ in range(calls + 20):
        began = time.perf_counter()
        connection.request("POST", path, body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        answer.read()
        took.append(1000 * (time.perf_counter() - began))
        errors += answer.status != 200
    connection.close()
    return statistics.median(took[20:]), errors


if __name__ == "__main__":
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), _App).serve_forever()
