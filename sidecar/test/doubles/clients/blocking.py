"""HTTP and WebSockets without a reactor: for tests that talk to other processes and have nothing else to do."""

from __future__ import annotations

import base64
import http.client
import os
import socket
import threading
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from attrs import define, field

from sidecar.test.doubles.programs.daemon import Answer

#: A way to a port: plain loopback, or another namespace's.
Connect = Callable[[int], socket.socket]


def ask(
    connect: Connect,
    port: int,
    method: str,
    path: str,
    body: bytes | str | None = None,
    headers: Mapping[str, str] | None = None,
) -> Answer:
    """One request on a connection of its own."""
    connection = http.client.HTTPConnection("127.0.0.1", port)
    connection.sock = connect(port)
    try:
        connection.request(method, path, body, dict(headers or {}))
        answer = connection.getresponse()
        return Answer(answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read())
    finally:
        connection.close()


@define(eq=False)
class WebSocket:
    """A client of one WebSocket. :source: RFC 6455"""

    _sock: socket.socket
    _read: bytes = field(default=b"", init=False)

    @classmethod
    def open(cls, connect: Connect, port: int, path: str) -> WebSocket:
        """:raises ConnectionError: the handshake was refused; with the answer."""
        made = cls(connect(port))
        key = base64.b64encode(os.urandom(16)).decode()
        made._sock.sendall(
            f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )
        head = b""
        while b"\r\n\r\n" not in head:
            head += made._more()
        head, _, made._read = head.partition(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 101"):
            raise ConnectionError((head + b"\r\n\r\n" + made._read).decode("latin-1"))
        return made

    def send(self, text: str) -> None:
        data, mask = text.encode(), os.urandom(4)
        length = bytes([0x80 | len(data)]) if len(data) < 126 else b"\xfe" + len(data).to_bytes(2, "big")
        self._sock.sendall(b"\x81" + length + mask + bytes(byte ^ mask[at % 4] for at, byte in enumerate(data)))

    def receive(self, patience: float) -> str | int:
        """The next text, or the code with which the other side closed.

        :raises TimeoutError: nothing came within ``patience`` seconds.
        """
        self._sock.settimeout(patience)
        while True:
            opcode, data = self._frame()
            if opcode in (1, 2):
                return data.decode()
            if opcode == 8:
                return int.from_bytes(data[:2], "big")

    def _frame(self) -> tuple[int, bytes]:
        first, length = self._take(2)
        size = length & 0x7F
        if size >= 126:
            size = int.from_bytes(self._take(2 if size == 126 else 8), "big")
        return first & 0x0F, self._take(size)

    def _take(self, count: int) -> bytes:
        while len(self._read) < count:
            self._read += self._more()
        taken, self._read = self._read[:count], self._read[count:]
        return taken

    def _more(self) -> bytes:
        chunk = self._sock.recv(65536)
        if not chunk:
            raise ConnectionError("the WebSocket was cut off")
        return chunk

    def close(self) -> None:
        self._sock.close()


#: What an app answers: to path, headers and body; status and body.
Answers = Callable[[str, Mapping[str, str], bytes], tuple[int, bytes]]


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    #: Callers come at once, by the hundred: with 5, which is what stands otherwise, the kernel drops most of them.
    request_queue_size = 256

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing: a caller that is gone is nothing to tell of."""


@define(eq=False)
class App:
    """An HTTP server in threads of its own. :ivar port: where it listens."""

    port: int
    _server: ThreadingHTTPServer

    @classmethod
    def listen(cls, sock: socket.socket, answers: Answers, host: str = "127.0.0.1", port: int = 0) -> App:
        """:param sock: a stream socket of the place to listen in, of the family of ``host``."""

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                headers = {name.lower(): value for name, value in self.headers.items()}
                status, said = answers(self.path, headers, body)
                self.send_response(status)
                self.send_header("Content-Type", headers.get("content-type", "application/json"))
                self.send_header("Content-Length", str(len(said)))
                self.end_headers()
                self.wfile.write(said)

            do_GET = do_POST

            def log_message(self, *_: object) -> None:
                """Say nothing: the test tells what went wrong."""

        sock.bind((host, port))
        server = _Server(sock.getsockname()[:2], Handler, bind_and_activate=False)
        server.socket.close()
        server.socket = sock
        server.server_activate()
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return cls(sock.getsockname()[1], server)

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
