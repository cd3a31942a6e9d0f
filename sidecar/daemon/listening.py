"""Opens the port early and loudly: bound before anything is registered, accepting once everything else is ready."""

from __future__ import annotations

import errno
import os
import shutil
import socket
from typing import Any

from twisted.application import service
from twisted.internet import error
from twisted.internet.defer import Deferred, maybeDeferred, succeed
from twisted.internet.interfaces import (
    IListeningPort,
    IOpenSSLServerConnectionCreator,
    IProtocolFactory,
    IProtocolNegotiationFactory,
)
from twisted.internet.protocol import Factory
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from sidecar import problems
from sidecar.daemon.cmdline.settings import EndpointPort, ListenSettings, TcpPort, TlsSettings
from sidecar.errors import BadRequest, ConfigError
from sidecar.net.memory import MemoryBudget
from sidecar.net.reactor import eager
from sidecar.wire import faults


class ICertificates(IOpenSSLServerConnectionCreator):
    """The certificates of a port: what makes the TLS side of its connections, and can be told to read its files again.

    Said here rather than by their class, whose module takes a tenth of a second to load.
    """

    def read(settings: TlsSettings) -> Any:
        """:returns: what the files hold now, to be used. :raises ConfigError: they are no good."""

    def use(read: Any) -> None:
        """Begin connections with what was read from now on."""


def bind(
    listen: ListenSettings, certificates: ICertificates | None, reactor: Any, given: socket.socket | None = None
) -> BoundPort:
    """Take the port, synchronously; connections wait in the backlog until ``BoundPort.service`` is started.

    :param certificates: for TLS, or None for none.
    :param given: a socket that listens already (systemd's) and is used in place of a TCP port.
    :raises ConfigError: the port cannot be had; the sentence says which and why.
    """
    if isinstance(listen.where, TcpPort):
        return BoundPort(reactor, given or _tcp_socket(listen.where, listen.backlog), certificates)
    return BoundPort(reactor, _Endpoint(listen.where, reactor), certificates)


class BoundPort:
    """A port that is ours and does not accept yet.

    :ivar host: the IP address that it is bound to; "" where it is not a TCP port.
    :ivar port: its number, 0 where it is not a TCP port or is an endpoint's.
    :ivar url: how it is reached, for the log.
    :ivar certificates: the TLS that it speaks, or None. :ivar budget: told of what waits to be sent, None for nobody.
    """

    budget: MemoryBudget | None = None

    def __init__(self, reactor: Any, bound: socket.socket | _Endpoint, certificates: ICertificates | None) -> None:
        self._reactor = reactor
        self._bound = bound
        self.certificates = certificates
        self.host, self.port = "", 0
        scheme = "https" if certificates is not None else "http"
        if isinstance(bound, socket.socket):
            self._describe(bound, scheme)
        else:
            self.url = bound.url(scheme)
            self.host = str(getattr(bound.port.getHost(), "host", ""))

    def _describe(self, bound: socket.socket, scheme: str) -> None:
        if bound.family == socket.AF_UNIX:
            self.url = f"unix:{bound.getsockname()} ({scheme})"
            return
        self.host, self.port = bound.getsockname()[:2]
        self.url = f"{scheme}://{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"

    def restrict(self, mode: int | None, group: str) -> None:
        """Say who may open our Unix socket.

        :param mode: its permissions, None to leave them. :param group: its group, "" to leave it.
        :raises ConfigError: it cannot be done, or it is none.
        """
        if mode is None and not group:
            return
        path = self._bound.path() if isinstance(self._bound, _Endpoint) else ""
        if not path:
            raise ConfigError("--socket_mode and --socket_group are for a Unix socket that we open: --port=unix:/path")
        try:
            if group:
                shutil.chown(path, group=int(group) if group.isdecimal() else group)
            os.chmod(path, os.stat(path).st_mode & 0o7777 if mode is None else mode)
        except LookupError:
            raise ConfigError(f"--socket_group={group}: there is no such group") from None
        except OSError as problem:
            raise ConfigError(f"{path}: its mode or group cannot be set: {problem.strerror}") from problem

    def service(self, factory: IProtocolFactory) -> service.Service:
        """:param factory: speaks HTTP; TLS is put under it here. :returns: accepts while it runs."""
        if self.certificates is not None:
            from sidecar.net.tlsport import TlsPortFactory

            factory = TlsPortFactory(self.certificates, factory, _in_the_clear(), self._reactor)
        return ListenerService(self._reactor, self, factory)

    def accept(self, factory: Any) -> IListeningPort:
        """Begin to accept. :param factory: an IProtocolFactory, which ports ask for in types of their own."""
        if isinstance(self._bound, _Endpoint):
            return self._bound.accept(factory, self.budget)
        port = eager.listen(self._reactor, self._bound, factory, budget=self.budget)
        self._bound.close()  # the reactor holds a duplicate
        return port

    def close(self) -> Deferred[None] | None:
        """Give the port back without ever having accepted."""
        if isinstance(self._bound, _Endpoint):
            return self._bound.port.stopListening()
        self._bound.close()
        return None


def _in_the_clear() -> bytes:
    """The answer to a request that comes to a port of TLS without it."""
    problem = problems.problem(BadRequest("this port speaks TLS: ask it by https://"), problems.SIDECAR)
    body = faults.encode(problem.fault) + b"\n"
    head = f"HTTP/1.1 {problem.status} {faults.reason(problem.status)}\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode("ascii") + body


class ListenerService(service.Service):
    """Accepts from start to stop."""

    log = Logger()

    def __init__(self, reactor: Any, listener: BoundPort, factory: IProtocolFactory) -> None:
        self._reactor = reactor
        self._listener = listener
        self._factory = factory
        self._port: IListeningPort | None = None

    def startService(self) -> None:
        super().startService()
        self._port = self._listener.accept(self._factory)
        # Said once the reactor runs: whoever reads the line may send requests, and signals, at once.
        self._reactor.callWhenRunning(self._announce)

    def _announce(self) -> None:
        if self.running:
            self.log.info("Listening on {url}", url=self._listener.url)

    def stopService(self) -> Deferred[None]:
        super().stopService()
        port, self._port = self._port, None
        if port is not None:
            self.log.info("No longer listening on {url}", url=self._listener.url)
        stopped: Deferred[None] = succeed(None) if port is None else maybeDeferred(port.stopListening)  # type: ignore[call-overload]  # sync or async
        return stopped


def _tcp_socket(where: TcpPort, backlog: int) -> socket.socket:
    shown = f"{f'[{where.host}]' if ':' in where.host else where.host or '*'}:{where.port}"
    try:
        return _first_of(_candidates(where), backlog)
    except OSError as problem:
        raise ConfigError(f"cannot listen on {shown}: {_advice(problem, where)}") from problem


def _candidates(where: TcpPort) -> list[tuple[Any, Any]]:
    """Where to bind, the first that works. A name is taken at its first IPv4 address, as Go does."""
    if not where.host:
        both = [(socket.AF_INET6, ("::", where.port))] if socket.has_dualstack_ipv6() else []
        return [*both, (socket.AF_INET, ("0.0.0.0", where.port))]  # noqa: S104  # every interface was asked for
    found = socket.getaddrinfo(where.host, where.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    return sorted({(info[0], info[4]) for info in found}, key=lambda one: (one[0] != socket.AF_INET, str(one[1])))[:1]


def _first_of(candidates: list[tuple[Any, Any]], backlog: int) -> socket.socket:
    (family, address), *others = candidates
    try:
        return _bound(family, address, backlog)
    except OSError as problem:
        # A kernel without IPv6 serves every interface that it has by the next one.
        if not others or problem.errno not in (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL):
            raise
        return _first_of(others, backlog)


def _bound(family: socket.AddressFamily, address: Any, backlog: int) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6 and address[0] == "::":
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        sock.bind(address)
        # Listening at once: two sockets may be bound to one port, only one of them may listen.
        sock.listen(backlog)
    except BaseException:
        sock.close()
        raise
    return sock


def _advice(problem: OSError, where: TcpPort) -> str:
    if isinstance(problem, socket.gaierror):
        return f"{where.host!r} is not a known host; give an address of this machine by --address"
    if problem.errno == errno.EADDRINUSE:
        return "the port is in use; stop what listens there, or choose another with --port"
    if problem.errno == errno.EACCES:
        return "no permission for this port; choose one above 1023, or start as root (twistd --uid gives root up)"
    if problem.errno == errno.EADDRNOTAVAIL:
        return "this machine does not have that address; see --address"
    return os.strerror(problem.errno) if problem.errno else str(problem)


class _Endpoint:
    """A stock Twisted endpoint that listens already; what connects before ``accept`` is turned away."""

    def __init__(self, where: EndpointPort, reactor: Any) -> None:
        self._late = _LateFactory()
        self._description = where.description
        outcome: list[Any] = []
        # Imported here: a plain TCP port does not need it, and should start the sooner.
        from twisted.internet.endpoints import serverFromString

        try:
            serverFromString(reactor, where.description).listen(self._late).addBoth(outcome.append)
        except Exception as problem:
            # Endpoint parsers are plugins and raise what they like.
            raise ConfigError(f"--port={where.description}: {_sentence(problem)}") from problem
        if not outcome or isinstance(outcome[0], Failure):
            why = _sentence(outcome[0].value) if outcome else "it does not open at once; use another endpoint"
            raise ConfigError(f"cannot listen on {where.description}: {why}")
        self.port: IListeningPort = outcome[0]

    def url(self, scheme: str) -> str:
        where: Any = self.port.getHost()
        if hasattr(where, "host"):
            host = f"[{where.host}]" if ":" in where.host else where.host
            scheme = "https" if self._description.startswith("ssl:") else scheme
            return f"{scheme}://{host}:{where.port}"
        return f"{self._description} ({scheme})"

    def path(self) -> str:
        """The file of a Unix socket, "" for another kind of port or one without a file."""
        name = getattr(self.port.getHost(), "name", None) or b""
        return "" if name.startswith(b"\0") else os.fsdecode(name)

    def accept(self, factory: IProtocolFactory, budget: MemoryBudget | None) -> IListeningPort:
        eager.make_eager(self.port, budget)
        self._late.adopt(factory)
        return self.port


@implementer(IProtocolNegotiationFactory)
class _LateFactory(Factory):
    """Stands in for a factory that does not exist yet."""

    noisy = False
    _real: IProtocolFactory | None = None

    def adopt(self, factory: IProtocolFactory) -> None:
        self._real = factory
        factory.doStart()

    def acceptableProtocols(self) -> list[bytes]:
        """What Twisted's own ``ssl:`` endpoint agrees to; with nothing to agree to it would fail every handshake."""
        return [b"http/1.1"]

    def buildProtocol(self, addr: Any) -> Any:
        return self._real.buildProtocol(addr) if self._real is not None else None

    def doStop(self) -> None:
        if self._real is not None:
            self._real.doStop()
        super().doStop()


def _sentence(problem: BaseException) -> str:
    if isinstance(problem, error.CannotListenError):
        busy = getattr(problem.socketError, "errno", None) == errno.EADDRINUSE
        return "it is in use; stop what listens there, or choose another" if busy else str(problem.socketError)
    if isinstance(problem, OSError) and problem.errno:
        return os.strerror(problem.errno)
    if isinstance(problem, KeyError):
        return f"there is no {problem} among the sockets that systemd handed over"
    if isinstance(problem, IndexError):
        return "systemd handed over no such socket; start it from a .socket unit"
    return f"it is not an endpoint that Twisted can open: {problem}"
