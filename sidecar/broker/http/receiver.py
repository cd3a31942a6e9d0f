"""The HTTP server that other brokers post messages to."""

from __future__ import annotations

import socket
from collections.abc import Callable
from http import HTTPStatus
from io import BytesIO
from typing import Any

from attrs import define
from twisted.internet.defer import Deferred, succeed
from twisted.protocols.policies import WrappingFactory
from twisted.python.failure import Failure
from twisted.web import http, server
from twisted.web.resource import Resource

from sidecar.errors import BadRequest, ConfigError
from sidecar.model import Message
from sidecar.net.http.hosts import AllowedHosts, machine_names, same_host
from sidecar.net.memory import MemoryBudget
from sidecar.net.reactor.admission import Admission
from sidecar.wire.broker import http as httpbroker

#: Seconds that a connection may be quiet.
IDLE = 75.0
#: Connections at once: brokers keep theirs.
MAX_CONNECTIONS = 1000

#: Called with a topic, the id that was posted to, and the message.
Receive = Callable[[str, str, Message], None]


class _Post(server.Request):
    """A request of which no more is kept than a message may have bytes."""

    too_large = False
    channel: Any
    content: Any
    _counted = False

    def gotLength(self, length: int | None) -> None:
        super().gotLength(length)
        self.too_large = length is not None and length > self.channel.site.max_body

    def handleContentChunk(self, data: bytes) -> None:
        if self.too_large or self.content.tell() + len(data) > self.channel.site.max_body:
            self.too_large = True  # read on and thrown away, so that the sender gets its answer
        else:
            super().handleContentChunk(data)
            self._count()

    def _count(self) -> None:
        """Tell the budget of all what has come: what is not in a file, as Twisted keeps larger bodies."""
        budget = self.channel.site.budget
        if budget is not None and isinstance(self.content, BytesIO):
            self._counted = True
            if not budget.changed(self, self.content.tell(), "requests"):
                self.shed()

    def shed(self) -> None:
        """Called by the budget."""
        self._counted = False
        if self.channel is not None:
            self.channel.loseConnection()

    def finish(self) -> None:
        self._forget()
        super().finish()

    def connectionLost(self, reason: Failure) -> None:
        self._forget()
        super().connectionLost(reason)

    def _forget(self) -> None:
        if self._counted:
            self._counted = False
            self.channel.site.budget.changed(self, 0, "requests")


class _Site(server.Site):
    noisy = False

    def __init__(self, resource: Resource, reactor: Any, max_body: int, budget: MemoryBudget | None) -> None:
        super().__init__(resource, _Post, reactor=reactor, timeout=IDLE)
        self.max_body = max_body
        self.budget = budget

    def log(self, request: Any) -> None:
        """Every message would be a line: none is written."""


class _Capped(WrappingFactory):
    """Counts connections, to bound and to end them."""

    noisy = False

    def buildProtocol(self, addr: Any) -> Any:
        return super().buildProtocol(addr) if len(self.protocols) < MAX_CONNECTIONS else None

    def end(self) -> None:
        for connection in list(self.protocols):
            connection.loseConnection()


@define(eq=False)
class _LatePost:
    """A message that waits for its turn."""

    _request: Any
    _take: Callable[[Any], bytes]
    _refuse: Callable[[Any, int, str], bytes]

    def begin_late(self) -> bool:
        return self._answer(self._take)

    def refuse(self, seconds: float) -> bool:
        detail = f"more comes than can be taken: this waited for {seconds:.3g} s (--queue_timeout): try again later"
        return self._answer(lambda request: self._refuse(request, 503, detail))

    def _answer(self, by: Callable[[Any], bytes]) -> bool:
        request = self._request
        if request.channel is None:
            return False
        request.write(by(request))
        request.finish()
        return True


class _PostResource(Resource):
    """Takes messages on every path: some dialects post to ``/_sub``, some to ``/``."""

    isLeaf = True

    def __init__(self, receive: Receive, max_body: int, hosts: AllowedHosts, admission: Admission) -> None:
        super().__init__()
        self._admission = admission
        self._receive = receive
        self._max_body = max_body
        self._hosts = hosts

    def render(self, request: Any) -> Any:
        problem = self._problem(request)
        if problem is not None:
            return self._refuse(request, *problem)
        if request.method != b"POST":
            request.setHeader(b"allow", b"POST")
            return self._refuse(request, 405, "Method not allowed")
        if request.too_large:
            return self._refuse(request, 413, f"the message has more than {self._max_body} bytes")
        if self._admission.admits():
            return self._take(request)
        self._admission.wait(_LatePost(request, self._take, self._refuse))
        return server.NOT_DONE_YET

    def _take(self, request: Any) -> bytes:
        # The body is read raw whatever its type says: some clients claim that it is a form.
        request.content.seek(0)
        try:
            topic, message = httpbroker.decode(request.content.read())
        except BadRequest as error:
            return self._refuse(request, 500, str(error))
        identity = (http.parse_qs(request.uri.partition(b"?")[2]).get(b"id") or [b""])[0]
        self._receive(topic, identity.decode("utf-8", "replace"), message)
        return b""

    def _problem(self, request: Any) -> tuple[int, str] | None:
        """Why a page in a browser may not post here: status and detail. Brokers send no Origin."""
        host = request.getHeader(b"host")
        if not self._hosts.allows(host):
            return int(HTTPStatus.MISDIRECTED_REQUEST), "Host is no name of this broker's: see --sidecar_hosts"
        origins = request.requestHeaders.getRawHeaders(b"origin") or []
        if len(origins) > 1:
            return int(HTTPStatus.BAD_REQUEST), "Origin: given more than once"
        foreign = any(not same_host(origin, host) for origin in origins)
        if foreign or (request.getHeader(b"sec-fetch-site") or b"").lower() == b"cross-site":
            return int(HTTPStatus.FORBIDDEN), "a page of another site may not publish here"
        return None

    @staticmethod
    def _refuse(request: Any, status: int, detail: str) -> bytes:
        request.setResponseCode(status)
        request.setHeader(b"content-type", b"application/json")
        return httpbroker.refusal(status, detail)


class Receiver:
    """The listener. Its port is taken when this is made, so that one that is busy stops the daemon at once.

    :ivar address: the host and port that others reach it by. :ivar factory: makes what serves a connection.
    """

    def __init__(
        self,
        reactor: Any,
        listen: str,
        receive: Receive,
        max_body: int,
        hosts: tuple[str, ...],
        budget: MemoryBudget | None,
        admission: Admission,
    ) -> None:
        """:param listen: ``host:port``; port 0 is any. :param max_body: bytes of the largest post.
        :param hosts: names by which it may be asked, besides its address and those of this machine.
        :param budget: told of what has not come whole, None for nobody. :param admission: says which are taken at once.

        :raises ConfigError: one cannot listen there.
        """
        self._reactor = reactor
        self._socket = _bind(listen)
        host, port = self._socket.getsockname()[:2]
        self.address: tuple[str, int] = (_advertised(host), port)
        allowed = AllowedHosts((*hosts, *machine_names(), listen.rpartition(":")[0], self.address[0]))
        resource = _PostResource(receive, max_body, allowed, admission)
        self.factory = _Capped(_Site(resource, reactor, max_body, budget))
        self._port: Any = None

    def start(self) -> None:
        self._port = self._reactor.adoptStreamPort(self._socket.fileno(), self._socket.family, self.factory)
        self._socket.close()  # the port has a copy

    def stop(self) -> Deferred[Any]:
        """:returns: fires when nobody can post any more."""
        port, self._port = self._port, None
        if port is None:
            self._socket.close()
            return succeed(None)
        self.factory.end()
        stopping: Deferred[Any] = port.stopListening()
        return stopping


def _bind(listen: str) -> socket.socket:
    host, colon, port = listen.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not colon or not port.isdigit() or int(port) > 65535:
        raise ConfigError(f"{listen!r} is not host:port, such as 127.0.0.1:0")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        bound = socket.create_server((host, int(port)), family=family, backlog=128)
    except OSError as error:
        raise ConfigError(f"cannot listen for messages on {listen}: {error.strerror or error}") from None
    bound.setblocking(False)
    return bound


def _advertised(host: str) -> str:
    """The address by which others reach a listener on ``host``; of one on all interfaces, that of the default one."""
    if host not in ("0.0.0.0", "::"):  # noqa: S104  # compared, not bound
        return host
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1" if family == socket.AF_INET else "2001:db8::1", 9))  # sends nothing
            found: str = probe.getsockname()[0]
        except OSError:
            return "127.0.0.1" if family == socket.AF_INET else "::1"
        return found
