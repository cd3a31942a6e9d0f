"""One client's end of an HTTP connection, without a socket: bytes in, answers out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from attrs import frozen
from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IPushProducer, ITCPTransport
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET
from zope.interface import implementer

from sidecar.net.http.limits import HTTPLimits
from sidecar.waiting import Clocks
from sidecar.web.site import SidecarSite


@frozen
class Answered:
    """An answer as a client reads it. :ivar headers: by lower-case name."""

    status: int
    headers: dict[bytes, bytes]
    body: bytes


@implementer(ITCPTransport)
class Wire(StringTransport):
    """:ivar writes: each write by itself. :ivar half_closed: our side was closed, the client's may go on."""

    def __init__(self) -> None:
        super().__init__(lenient=True)
        self.writes: list[bytes] = []
        self.half_closed = False
        self.protocol: Any = None

    def write(self, data: bytes) -> None:
        self.writes.append(data)
        super().write(data)

    def loseWriteConnection(self) -> None:
        self.half_closed = True

    @property
    def closing(self) -> bool:
        return self.half_closed or self.disconnecting

    def getTcpNoDelay(self) -> bool:
        return True

    def setTcpNoDelay(self, enabled: bool) -> None: ...
    def getTcpKeepAlive(self) -> bool:
        return False

    def setTcpKeepAlive(self, enabled: bool) -> None: ...


class Rendered(Resource):
    """A leaf that renders with a function, and keeps every request that it was given."""

    isLeaf = True

    def __init__(self, render: Callable[[Any], Any] | None = None) -> None:
        super().__init__()
        self.requests: list[Any] = []
        self._render = render

    def render(self, request: Any) -> Any:
        self.requests.append(request)
        if self._render is not None:
            return self._render(request)
        request.answer(200, b"Content-Type: text/plain\r\n", b"%b %b %b" % (request.method, request.uri, request.body))
        return NOT_DONE_YET


@implementer(IPushProducer)
class Echoing:
    """Sends a request's body back as it comes, and takes no more of it than its client takes of the answer."""

    def __init__(self, request: Any) -> None:
        self.request = request

    def received(self, data: bytes) -> None:
        self.request.write(data)

    def ended(self, trailers: list[tuple[bytes, bytes]]) -> None:
        self.request.unregisterProducer()
        self.request.finish(trailers)

    def pauseProducing(self) -> None:
        self.request.pause_body()

    def resumeProducing(self) -> None:
        self.request.resume_body()

    def stopProducing(self) -> None: ...


class Echo(Resource):
    """Answers any POST with its body, of whatever size."""

    isLeaf = True
    streaming = True

    def render(self, request: Any) -> Any:
        length = request.fields.get(b"content-length")
        request.begin(200, [] if length is None else [(b"Content-Length", length)])
        echoing = Echoing(request)
        request.registerProducer(echoing, True)
        request.stream_body(echoing)
        return NOT_DONE_YET


class Noted:
    """A recorder. :ivar notes: status, seconds."""

    def __init__(self) -> None:
        self.notes: list[tuple[int, float]] = []

    def record(self, status: int, seconds: float, path: bytes, now: float) -> None:
        self.notes.append((status, seconds))


class Client:
    """A connection to a site over a :class:`Wire`."""

    def __init__(self, site: SidecarSite, host: str = "192.168.1.1") -> None:
        """:param host: the address that it comes from."""
        self._site: Any = site
        self.wire: Any = Wire()
        self.wire.peerAddr = IPv4Address("TCP", host, 54321)
        self.channel: Any = site.buildProtocol(None)
        self.wire.protocol = self.channel
        self.channel.makeConnection(self.wire)

    def send(self, *pieces: bytes) -> None:
        """Send, and let the reactor turn until nothing more is due at once."""
        for piece in pieces:
            self.wire.protocol.dataReceived(piece)
            turn = getattr(self._site.clock, "turn", None)
            if turn is not None:
                turn()

    def hang_up(self) -> None:
        self.channel.connectionLost(Failure(ConnectionDone()))

    def answers(self, *methods: str) -> list[Answered]:
        """All answers so far. :param methods: of the requests, where not all have bodies in their answers."""
        return read_answers(self.wire.value(), *methods)


class SteppedClocks(Clocks):
    """Both clocks from a Clock, of which the reactor's next turn can be had without any time going by."""

    def turn(self) -> None:
        self._timer.advance(0)  # type: ignore[attr-defined]  # it is a Clock, see site_of


def site_of(resource: Resource, clock: Clock, limits: HTTPLimits | None = None, **more: Any) -> SidecarSite:
    return SidecarSite(resource, SteppedClocks(clock, clock.seconds), limits or HTTPLimits(), **more)


def read_answers(data: bytes, *methods: str) -> list[Answered]:
    found = []
    asked = list(methods)
    while data:
        head, _, data = data.partition(b"\r\n\r\n")
        lines = head.split(b"\r\n")
        version, status = lines[0].split(b" ", 2)[:2]
        assert version == b"HTTP/1.1", lines[0]
        headers = {}
        for line in lines[1:]:
            name, _, value = line.partition(b": ")
            assert name.lower() not in headers or name == b"Set-Cookie", line
            headers[name.lower()] = value
        body = b""
        if int(status) != 100 and asked and asked.pop(0) == "HEAD":
            pass
        elif headers.get(b"transfer-encoding") == b"chunked":
            while True:
                size, _, data = data.partition(b"\r\n")
                piece, data = data[: int(size, 16)], data[int(size, 16) :]
                assert data[:2] == b"\r\n", data[:20]
                data = data[2:]
                body += piece
                if not piece:
                    break
        elif b"content-length" in headers:
            length = int(headers[b"content-length"])
            body, data = data[:length], data[length:]
        elif int(status) >= 200 and int(status) not in (204, 304):
            body, data = data, b""
        found.append(Answered(int(status), headers, body))
    return found
