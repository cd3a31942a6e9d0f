"""Targets that are connections: whole, and in pieces, which must come to the same."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from sidecar.net.client.connection import ClientConnection
from sidecar.net.errors import RequestRefused
from sidecar.net.http.events import END, End, Head
from sidecar.net.http.limits import HTTPLimits
from sidecar.net.http.parser import RequestParser
from sidecar.net.http2.pieces import Http2Answer
from sidecar.net.http2.server import Http2ServerConnection
from sidecar.test.doubles.clients.http import Client, Echo, Rendered, Wire, site_of
from sidecar.test.fuzz.decoders import Target

_LIMITS: Final = HTTPLimits(max_header=2048, max_body=4096)
_PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


def _events(pieces: tuple[bytes, ...]) -> tuple[list[Any], str]:
    """What a parser tells of bytes that come in pieces, bodies joined; and why it refuses to go on, if it does."""
    parser, held = RequestParser(_LIMITS), b""
    told: list[Any] = []
    try:
        for piece in pieces:
            held += piece
            while True:
                event, held = parser.next_event(held)
                if event is None:
                    break
                if isinstance(event, Head):
                    told.append((event.method, event.uri, event.version, event.fields_raw, event.length))
                    if event.upgrade:
                        return told, ""
                elif isinstance(event, End):
                    told.append(("end", event.trailers if event is not END else ()))
                elif told and isinstance(told[-1], bytes):
                    told[-1] += event
                else:
                    told.append(event)
    except RequestRefused as refused:
        return told, str(refused.status)
    return told, ""


def _parser(data: bytes) -> None:
    """A request is the same request in one piece and in two."""
    half = len(data) // 2
    whole, refusal = _events((data,))
    parts, refused = _events((data[:half], data[half:]))
    shortest = min(len(whole), len(parts))
    # Of a body that is cut off by a refusal more or less may have been told.
    if whole[: shortest - 1] != parts[: shortest - 1] or bool(refusal) != bool(refused):
        raise AssertionError(f"in one piece {whole} {refusal}, in two {parts} {refused}")


def _channel(data: bytes) -> None:
    """Whatever a client sends, nothing of it stays."""
    clock = Clock()
    for resource in (Rendered(), Echo()):
        site = site_of(resource, clock, _LIMITS)
        client = Client(site)
        client.send(data)
        clock.pump([1.0] * 40)
        client.hang_up()
        if site.in_flight or site.connections:
            raise AssertionError(f"{site.in_flight} requests and {site.connections} connections are left")


def _http2(data: bytes) -> None:
    clock = Clock()
    site = site_of(Rendered(), clock, _LIMITS)

    def serve(fields: dict[str, str], body: Any) -> Deferred[Http2Answer]:
        answer: Deferred[Http2Answer] = Deferred()
        clock.callLater(0.1, answer.callback, Http2Answer([(":status", "200")], b"ok", []))
        return answer

    connection = Http2ServerConnection(site, serve, _LIMITS.max_body)
    transport = StringTransport()
    connection.makeConnection(transport)
    connection.dataReceived(_PREFACE + data)
    clock.pump([1.0] * 40)
    connection.connectionLost(Failure(ConnectionResetError()))
    if site.in_flight:
        raise AssertionError(f"{site.in_flight} requests are left")


class _Owner:
    """A pool and a caller of nobody. :ivar told: how often the caller was told how its call ended."""

    def __init__(self) -> None:
        self.told = 0

    def opened(self, connection: ClientConnection) -> None: ...
    def closed(self, connection: ClientConnection) -> None: ...
    def answered(self, connection: ClientConnection, status: int, body: bytes) -> None:
        self.told += 1

    def lost(self, error: Exception) -> None:
        self.told += 1


def _answer(data: bytes) -> None:
    """Whatever a node answers, its caller is told once."""
    owner = _Owner()
    connection = ClientConnection(owner, 4096)
    connection.makeConnection(Wire())
    connection.send(b"GET / HTTP/1.1\r\n\r\n", owner)
    half = len(data) // 2
    for piece in (data[:half], data[half:]):
        if piece:
            connection.dataReceived(piece)
    connection.connectionLost(Failure(ConnectionResetError()))
    if owner.told != 1:
        raise AssertionError(f"the caller was told {owner.told} times")


_REQUESTS: Final = (
    b"POST /rpc HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabcGET / HTTP/1.1\r\nHost: a\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX: y\r\n\r\n",
    b"CONNECTx / HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET http://a/b?c HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
)

TARGETS: Final[Mapping[str, Target]] = {
    "http-parser": Target(_parser, _REQUESTS),
    "http-channel": Target(_channel, _REQUESTS),
    "http2": Target(
        _http2,
        (
            bytes((0, 0, 0, 4, 0, 0, 0, 0, 0)),
            bytes((0, 0, 0, 4, 0, 0, 0, 0, 0)) + bytes((0, 0, 8, 6, 0, 0, 0, 0, 0)) + bytes(8),
            bytes((0, 0, 3, 1, 5, 0, 0, 0, 1)) + bytes((0x83, 0x87, 0x84)),
        ),
    ),
    "http-answer": Target(
        _answer,
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
            b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        ),
    ),
}
