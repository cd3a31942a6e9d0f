"""An OpenTelemetry collector over HTTP, as a double: it reads the protobuf that real ones read."""

from __future__ import annotations

import gzip
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

#: What the standard library's server tells of a request.
Asked = tuple[str, dict[str, str]]


class Collector:
    """Keeps the spans that it is sent.

    :ivar spans: the protobuf messages. :ivar asked: path and headers, with lower-case names, of each request.
    :ivar resources: the attributes of those who sent them.
    """

    def __init__(self) -> None:
        from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

        self.spans: list[Any] = []
        self.asked: list[Asked] = []
        self.resources: list[dict[str, str]] = []
        collector = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self.headers.get("Content-Encoding") == "gzip":
                    body = gzip.decompress(body)
                request = ExportTraceServiceRequest.FromString(body)
                collector.asked.append((self.path, {name.lower(): value for name, value in self.headers.items()}))
                for resource in request.resource_spans:
                    told = {each.key: each.value.string_value for each in resource.resource.attributes}
                    collector.resources.append(told)
                    for scope in resource.scope_spans:
                        collector.spans.extend(scope.spans)
                self.send_response(200)
                self.send_header("Content-Type", "application/x-protobuf")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def named(self, beginning: str) -> list[Any]:
        """The spans whose names begin so."""
        return [span for span in self.spans if span.name.startswith(beginning)]

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
