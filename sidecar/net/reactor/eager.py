"""TCP transports whose ``write`` tries the socket at once.

Twisted's own ``write`` only buffers: it registers the descriptor for writing, waits for the next turn of the reactor,
sends, and unregisters it again. That is two ``epoll_ctl`` and a turn for every answer, although the socket of a
connection that carries calls is nearly always ready. Here the bytes go out inside ``write`` while nothing is
buffered, and whatever the socket did not take goes the stock way, so order, back-pressure, half-close and
``loseConnection`` after ``write`` stay Twisted's own.

The idea rests on two public hooks: Twisted calls ``startWriting`` when it has something to flush (bytes, a close, a
half-close) and ``stopWriting`` when it is done. Between the two, this class stays out of the way.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING, Any

from twisted.internet import tcp, unix
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import (
    IConnector,
    IListeningPort,
    IReactorSocket,
    IReactorTCP,
)
from twisted.internet.main import CONNECTION_DONE, CONNECTION_LOST
from twisted.internet.posixbase import PosixReactorBase
from twisted.internet.protocol import ClientFactory, ServerFactory

from sidecar.net.memory import MemoryBudget
from sidecar.net.reactor.unsent import CountsUnsent, UnixServer

if TYPE_CHECKING:
    _Base = tcp.Connection
else:
    _Base = object


#: Bytes to ask a socket for: while its messages are small, and once one was not.
SMALL, LARGE = 8 * 1024, 64 * 1024


class _EagerWrites(_Base):
    """Mixed in before a ``tcp.Connection``.

    :ivar _flushing: whether Twisted has, or may have, something of its own to do on the next writable event.
    """

    _flushing = False

    _appetite = SMALL

    def doRead(self) -> ConnectionLost | ConnectionDone | None:  # type: ignore[override]  # a mixin of tcp's says less
        """Twisted's own, but for how much is asked for: allocating 64 KiB costs more than reading a small call."""
        try:
            data = self.socket.recv(self._appetite)
        except BlockingIOError:
            return None
        except OSError:
            return CONNECTION_LOST
        if not data:
            return CONNECTION_DONE
        if len(data) == self._appetite:
            self._appetite = LARGE
        elif self._appetite == LARGE and len(data) < SMALL:
            self._appetite = SMALL
        self.protocol.dataReceived(data)
        return None

    def startWriting(self) -> None:
        self._flushing = True
        super().startWriting()

    def stopWriting(self) -> None:
        self._flushing = False
        super().stopWriting()

    def abortConnection(self) -> None:
        super().abortConnection()
        self._flushing = True  # nothing may be sent any more, and stopWriting was just called

    def write(self, data: bytes) -> None:
        if (
            self._flushing
            or not self.connected
            or self.TLS  # after startTLS these are clear bytes for the layer above
            or type(data) is not bytes
            or (self.producer is not None and not self.streamingProducer)  # a pull producer lives on doWrite
        ):
            super().write(data)
            return
        try:
            sent = self.socket.send(data)
        except OSError:
            # Full, or broken. If it is broken, the buffered write meets the same error in the reactor's turn, where
            # connectionLost may be called; here we are inside somebody's write().
            sent = 0
        if sent < len(data):
            super().write(data[sent:] if sent else data)

    def writeSequence(self, iovec: Iterable[bytes]) -> None:
        self.write(b"".join(iovec))


class EagerServer(_EagerWrites, CountsUnsent, tcp.Server):
    """The server's side of a connection. Nagle's delay is off: it would hold back what was written early."""

    def __init__(self, sock: socket.socket, *args: Any, budget: MemoryBudget | None = None) -> None:
        """:param budget: told of what waits to be sent, None for nobody."""
        self.budget = budget
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, True)
        super().__init__(sock, *args)


class EagerClient(_EagerWrites, CountsUnsent, tcp.Client):
    """The client's side of a connection. Nagle's delay is off. Who is on it may set a ``budget``."""

    def createInternetSocket(self) -> socket.socket:
        sock: socket.socket = super().createInternetSocket()
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, True)
        return sock


class EagerConnector(tcp.Connector):
    """A connector whose connections write eagerly."""

    def _makeTransport(self) -> EagerClient:  # the one way that BaseConnector offers to choose a transport
        return EagerClient(self.host, self.port, self.bindAddress, self, self.reactor)


def connect(
    reactor: IReactorTCP,
    host: str,
    port: int,
    factory: ClientFactory[Any],
    timeout: float,
    bind: tuple[str, int] | None = None,
) -> IConnector:
    """Connect like ``reactor.connectTCP``, eagerly where the reactor is one of Twisted's over file descriptors.

    :param timeout: seconds to connect in. :param bind: local address, port.
    """
    if not isinstance(reactor, PosixReactorBase):
        return reactor.connectTCP(host, port, factory, timeout, bind)
    connector = EagerConnector(host, port, factory, timeout, bind, reactor)
    connector.connect()
    return connector


def listen(
    reactor: IReactorTCP,
    where: int | socket.socket,
    factory: ServerFactory[Any],
    interface: str = "",
    backlog: int = 1024,
    budget: MemoryBudget | None = None,
) -> IListeningPort:
    """Listen on a port, or on a socket that is bound and listening already, with eager writes.

    :param where: a port number (0 for any free one), or a socket; of it a duplicate is used, so the caller closes it.
    :param interface: the address to bind, where ``where`` is a number. :param backlog: likewise.
    :param budget: told of what waits to be sent on its connections.
    """
    if isinstance(where, int):
        return make_eager(reactor.listenTCP(where, factory, backlog, interface), budget)
    if not IReactorSocket.providedBy(reactor):
        raise TypeError(f"{type(reactor).__name__} cannot take over a socket that is bound already")
    where.setblocking(False)
    adopted: IListeningPort = reactor.adoptStreamPort(where.fileno(), where.family, factory)
    return make_eager(adopted, budget)


def make_eager(port: IListeningPort, budget: MemoryBudget | None = None) -> IListeningPort:
    """Have the connections that ``port`` accepts from now on write eagerly, where it is a stock TCP port.

    Unix sockets, which may pass descriptors, only count what waits; ports of test reactors are left as they are.

    :param budget: told of what waits to be sent on them. :returns: the same port.
    """
    if isinstance(port, tcp.Port) and port.transport is tcp.Server:
        port.transport = partial(EagerServer, budget=budget)  # type: ignore[assignment]  # called like the class
    elif isinstance(port, unix.Port) and port.transport is unix.Server and budget is not None:
        port.transport = partial(UnixServer, budget=budget)  # type: ignore[assignment]  # likewise
    return port
