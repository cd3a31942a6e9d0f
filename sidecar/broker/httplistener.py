"""Where the HTTP broker hears: an HTTP server of its own that takes nothing but posted messages."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IAddress, IDelayedCall, IListeningPort
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web import http, resource, server

from sidecar.errors import BadRequest, ConfigError, SidecarError
from sidecar.model import Message
from sidecar.net import eager
from sidecar.net.channel import HTTPChannel
from sidecar.net.host import Recorder
from sidecar.net.limits import HTTPLimits
from sidecar.wire import httpbroker

#: Connections of publishers at most, and bytes of what they are posting at once.
MAX_CONNECTIONS = 1024
MAX_BUFFERED = 64 * 1024 * 1024
#: Seconds between two looks at the deadlines of connections.
SWEEP = 0.5

_JSON = b"Content-Type: application/json\r\n"
_EVERYWHERE = ("", "0.0.0.0", "::")  # noqa: S104  # compared with, not bound

#: Takes a message: ``take(node id, topic, message)``.
Take = Callable[[str, str, Message], None]


def parse(listen: str) -> tuple[str, int]:
    """Read ``host:port``, ``[v6]:port`` or, for every interface, ``:port``; ``""`` is loopback, any port.

    :raises ConfigError: it is something else.
    """
    host, colon, port = (listen or "127.0.0.1:0").rpartition(":")
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    good = colon and port.isascii() and port.isdigit() and int(port) < 65536 and (":" not in host or bare != host)
    if not good or any(letter in bare for letter in "/@ ["):
        raise ConfigError(f"{listen}: is not the host:port that the HTTP broker shall listen on")
    return bare, int(port)


def bind(host: str, port: int) -> socket.socket:
    """:returns: a listening socket. :raises ConfigError: the address cannot be had."""
    try:
        family, kind, _, _, address = socket.getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        sock = socket.socket(family, kind)
    except OSError as error:
        raise ConfigError(f"the HTTP broker cannot listen on {host}:{port}: {error.strerror or error}") from None
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(address)
        sock.listen(1024)
    except OSError as error:
        sock.close()
        raise ConfigError(f"the HTTP broker cannot listen on {host}:{port}: {error.strerror or error}") from None
    return sock


def reachable(host: str) -> str:
    """The address to register for a listener on ``host``: for one on every interface, that of the way out."""
    if host not in _EVERYWHERE:
        return host
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # sends nothing: it only asks which interface would
            return str(probe.getsockname()[0])
        except OSError:
            return "127.0.0.1"


class Listener:
    """The server. :ivar host: to register. :ivar port: likewise, known once it listens."""

    def __init__(self, reactor: Any, listen: str, max_body: int, take: Take) -> None:
        """Bind at once, so that an address that cannot be had fails before anything starts.

        :raises ConfigError: the address is malformed or taken.
        """
        self._reactor = reactor
        self._where = parse(listen)
        self._sock: socket.socket | None = bind(*self._where)
        self._site = _Site(
            reactor,
            HTTPLimits(max_body=max_body, max_buffered=max(MAX_BUFFERED, max_body), max_connections=MAX_CONNECTIONS),
            Posted(take),
        )
        self._listening: IListeningPort | None = None
        self.host = reachable(self._where[0])
        self.port = int(self._sock.getsockname()[1])

    def start(self) -> None:
        sock, self._sock = self._sock or bind(self._where[0], self.port), None
        with sock:
            self._listening = eager.listen(self._reactor, sock, self._site)

    def stop(self) -> Deferred[object]:
        """:returns: fires when nothing listens any more and every connection is told to close."""
        listening, self._listening = self._listening, None
        if self._sock is not None:
            self._sock.close()
            self._sock = None
        self._site.hang_up()
        return maybeDeferred(listening.stopListening) if listening is not None else maybeDeferred(lambda: None)


class Posted(resource.Resource):
    """``POST /_sub?id=`` and ``POST /?id=``."""

    isLeaf = True

    def __init__(self, take: Take) -> None:
        super().__init__()
        self._take = take

    def render(self, request: Any) -> Any:
        status, headers, body = self._answer(request)
        request.answer(status, headers, body)
        return server.NOT_DONE_YET

    def _answer(self, request: Any) -> tuple[int, bytes, bytes]:
        if request.method != b"POST":
            return 405, _JSON + b"Allow: POST\r\n", httpbroker.fault(405, "Method not allowed")
        try:
            topic, message = httpbroker.decode(request.path.decode("latin-1"), request.body)
            id = http.parse_qs(request.uri.partition(b"?")[2]).get(b"id", [b""])[0]
            self._take(id.decode("utf-8", "replace"), topic, message)
        except BadRequest as error:
            return 500, _JSON, httpbroker.fault(500, str(error))
        except SidecarError as error:
            return 503, _JSON, httpbroker.fault(503, str(error))
        return 200, b"", b""


class _Site(server.Site):
    """What an :class:`HTTPChannel` needs of its factory (:class:`sidecar.net.host.Host`)."""

    _log = Logger()  # ``log`` is the access log's

    def __init__(self, clock: Any, limits: HTTPLimits, posted: Posted) -> None:
        super().__init__(posted, reactor=clock)
        self.clock = clock
        self.limits = limits
        self.now = clock.seconds()
        self.preamble = b""
        self.recorder: Recorder | None = None
        self.in_flight = self.buffered = 0
        self.draining = self.full = False
        self._channels: set[HTTPChannel] = set()
        self._sweeping: IDelayedCall | None = None

    def buildProtocol(self, addr: IAddress | None) -> Any:
        return HTTPChannel(self) if len(self._channels) < self.limits.max_connections else None

    def opened(self, channel: HTTPChannel) -> None:
        self._channels.add(channel)
        if self._sweeping is None:
            self._tick()
            self._sweeping = self.clock.callLater(SWEEP, self._sweep)

    def closed(self, channel: HTTPChannel) -> None:
        self._channels.discard(channel)
        if not self._channels and self._sweeping is not None:
            self._sweeping.cancel()
            self._sweeping = None

    def answered(self) -> None:
        """Nobody waits: a post is answered before its call returns."""

    def refusal(self, status: int, detail: str) -> tuple[bytes, bytes]:
        return _JSON, httpbroker.fault(status, detail)

    def failed(self, reason: Failure) -> tuple[int, bytes, bytes]:
        self._log.failure("A posted message could not be taken", reason)
        return 500, _JSON, httpbroker.fault(500, "the message could not be taken")

    def hang_up(self) -> None:
        for channel in list(self._channels):
            channel.abort()

    def _tick(self) -> None:
        self.now = self.clock.seconds()
        self.preamble = b"Date: %b\r\n" % http.datetimeToString(self.now)

    def _sweep(self) -> None:
        self._sweeping = None
        self._tick()
        for channel in [channel for channel in self._channels if channel.deadline <= self.now]:
            channel.timed_out()
        if self._channels:
            self._sweeping = self.clock.callLater(SWEEP, self._sweep)

    # --- Site's own, made lean --------------------------------------------------------------------------------------

    def getResourceFor(self, request: Any) -> Any:
        return self.resource

    def startFactory(self) -> None:
        """No access log."""

    def stopFactory(self) -> None:
        """Likewise."""
