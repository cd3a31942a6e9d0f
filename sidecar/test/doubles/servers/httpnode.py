"""A node that speaks HTTP, in threads of its own: tells what it was asked, sends what it is told to."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import socket
import threading
from collections.abc import Callable
from typing import Any

from attrs import define, field, frozen

_PIECE = bytes(64 * 1024)
_GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


@frozen
class NodeRequest:
    """What came. :ivar fields: in order. :ivar body: its size and digest alone. :ivar trailers: lines."""

    method: str
    target: str
    fields: list[tuple[str, str]]
    size: int
    digest: str
    trailers: list[str]

    def field(self, name: str) -> str | None:
        """The last of a header, None where there is none."""
        found = [value for field, value in self.fields if field.lower() == name]
        return found[-1] if found else None


@define(eq=False)
class NodeConnection:
    """One connection to the node."""

    sock: socket.socket
    read: bytes = b""

    def line(self) -> bytes:
        """:raises ConnectionError: it ended."""
        while b"\r\n" not in self.read:
            self._more()
        line, _, self.read = self.read.partition(b"\r\n")
        return line

    def take(self, size: int, digest: Any = None) -> bytes:
        """Take so many bytes: give them, or have them counted into ``digest``."""
        found = b""
        while size:
            if not self.read:
                self._more()
            piece, self.read = self.read[:size], self.read[size:]
            size -= len(piece)
            if digest is None:
                found += piece
            else:
                digest.update(piece)
        return found

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def _more(self) -> None:
        data = self.sock.recv(256 * 1024)
        if not data:
            raise ConnectionError("the client has closed")
        self.read += data


#: Answers one request on its connection.
Script = Callable[[NodeConnection, NodeRequest], None]


def tell(connection: NodeConnection, request: NodeRequest) -> None:
    """Answer with what was asked."""
    told = {
        "method": request.method,
        "target": request.target,
        "fields": request.fields,
        "size": request.size,
        "digest": request.digest,
        "trailers": request.trailers,
    }
    body = json.dumps(told).encode()
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body)
    connection.send(head if request.method == "HEAD" else head + body)


def zeros(size: int) -> Script:
    """Answers with so many bytes."""

    def send(connection: NodeConnection, request: NodeRequest) -> None:
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
        for at in range(0, size, len(_PIECE)):
            connection.send(_PIECE[: size - at])

    return send


def raw(*pieces: bytes) -> Script:
    """Answers with these bytes and closes."""

    def send(connection: NodeConnection, request: NodeRequest) -> None:
        for piece in pieces:
            connection.send(piece)
        raise ConnectionError("that is all")

    return send


def echo_websocket(connection: NodeConnection, request: NodeRequest) -> None:
    """Open a WebSocket and send each short frame back."""
    key = request.field("sec-websocket-key") or ""
    accept = base64.b64encode(hashlib.sha1((key + _GUID).encode()).digest()).decode()  # RFC 6455
    connection.send(
        f"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Accept: {accept}\r\n\r\n".encode()
    )
    while True:
        first, length = connection.take(2)
        mask = connection.take(4)
        payload = bytes(byte ^ mask[at % 4] for at, byte in enumerate(connection.take(length & 127)))
        connection.send(bytes((first, len(payload))) + payload)
        if first & 15 == 8:
            raise ConnectionError("that was a close")


@define(eq=False)
class HttpNode:
    """:ivar scripts: by path; every other path is told what it asked. :ivar seen: what came, heads and bodies.
    :ivar early: what is answered to each head, before its body came; "" for nothing."""

    scripts: dict[str, Script] = field(factory=dict)
    seen: list[NodeRequest] = field(factory=list)
    connections: int = 0
    early: bytes = b""
    _listener: socket.socket = field(factory=lambda: socket.create_server(("127.0.0.1", 0), backlog=256))
    _open: set[socket.socket] = field(factory=set)

    def __attrs_post_init__(self) -> None:
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def port(self) -> int:
        port: int = self._listener.getsockname()[1]
        return port

    def stop(self) -> None:
        """As a process that is killed: nobody listens, every connection ends."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for sock in list(self._open):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            self._open.add(sock)
            threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock: socket.socket) -> None:
        connection = NodeConnection(sock)
        try:
            while True:
                self._one(connection)
        except OSError:
            pass
        finally:
            self._open.discard(sock)
            sock.close()

    def _one(self, connection: NodeConnection) -> None:
        method, target, _ = connection.line().decode("latin-1").split(" ")
        fields: list[tuple[str, str]] = []
        while line := connection.line():
            name, _, value = line.decode("latin-1").partition(": ")
            fields.append((name, value))
        by_name = {name.lower(): value for name, value in fields}
        if self.early:
            connection.send(self.early)
        script = self.scripts.get(target.partition("?")[0], tell)
        digest, size, trailers = hashlib.sha256(), 0, []
        if by_name.get("transfer-encoding") == "chunked":
            while length := int(connection.line(), 16):
                connection.take(length, digest)
                connection.take(2)
                size += length
            while line := connection.line():
                trailers.append(line.decode("latin-1"))
        else:
            size = int(by_name.get("content-length", "0"))
            connection.take(size, digest)
        request = NodeRequest(method, target, fields, size, digest.hexdigest(), trailers)
        self.seen.append(request)
        script(connection, request)
