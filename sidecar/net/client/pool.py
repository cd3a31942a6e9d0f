"""The connections to one node: the one used last is used next, few are made, and whoever waits is served in order."""

from __future__ import annotations

import select
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

from attrs import define, field, frozen
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress, IConnector
from twisted.internet.protocol import ClientFactory
from twisted.python.failure import Failure

from sidecar.net.client.connection import ClientConnection
from sidecar.net.errors import PoolExhausted
from sidecar.net.memory import MemoryBudget


class PoolWaiter(Protocol):
    """Who wants a connection. Told exactly once, unless it leaves the queue before."""

    def ready(self, connection: ClientConnection) -> None:
        """Here it is: send on it, then release it or drop it."""

    def unreachable(self, error: Exception) -> None:
        """No connection could be made."""


@frozen
class PoolOccupancy:
    """How pools stand. :ivar open: connections, those included that idle. :ivar waiting: calls that wait for one."""

    idle: int = 0
    open: int = 0
    connecting: int = 0
    waiting: int = 0

    def __add__(self, other: PoolOccupancy) -> PoolOccupancy:
        return PoolOccupancy(
            self.idle + other.idle,
            self.open + other.open,
            self.connecting + other.connecting,
            self.waiting + other.waiting,
        )


@define(eq=False)
class Pool:
    """The connections to one place.

    :ivar size: connections at most, busy, idle and coming.
    :ivar max_waiting: waiters that may wait for one of them.
    :ivar ttl: seconds that a connection may idle.
    """

    _connect: Callable[[ClientFactory], IConnector]
    _seconds: Callable[[], float]
    _max_body: int
    size: int = 512
    max_waiting: int = 1024
    ttl: float = 60.0
    #: Called when the last connection is gone and nobody waits.
    emptied: Callable[[], None] | None = None
    #: Makes connections, for this pool as their owner.
    make: Callable[[Pool, int], ClientConnection] = ClientConnection
    #: Told of what its connections keep of answers, None for nobody.
    budget: MemoryBudget | None = None

    _idle: list[ClientConnection] = field(factory=list, init=False)
    _all: set[ClientConnection] = field(factory=set, init=False)
    _waiting: deque[PoolWaiter] = field(factory=deque, init=False)
    _coming: list[IConnector] = field(factory=list, init=False)
    _stopping: Deferred[None] | None = field(default=None, init=False)
    _swept: float = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._swept = self._seconds()

    # --- What callers use -------------------------------------------------------------------------------------------

    def take(self, waiter: PoolWaiter) -> None:
        """Give ``waiter`` a connection, at once where one idles.

        :raises PoolExhausted: every connection is busy and ``max_waiting`` wait for one.
        """
        while self._idle:
            connection = self._idle.pop()
            # One that idled for longer than between two sweeps is looked at before it is trusted with a call.
            if connection.idle_since is None or not _has_news(connection.transport):
                waiter.ready(connection)
                return
            connection.drop()
        if len(self._waiting) >= self.max_waiting:
            raise PoolExhausted
        self._waiting.append(waiter)
        # Connections on their way count for those who wait; whichever is free first serves who waits longest.
        if len(self._coming) < len(self._waiting):
            self._open()

    def take_idle(self) -> ClientConnection | None:
        """A connection that idles and is surely fit, None where :meth:`take` has more to do: the short way."""
        if self._idle and self._idle[-1].idle_since is None:
            return self._idle.pop()
        return None

    def cancel_wait(self, waiter: PoolWaiter) -> None:
        """``waiter`` does not want a connection any more. Where it has none to wait for, that is no error."""
        try:
            self._waiting.remove(waiter)
        except ValueError:
            return
        if len(self._coming) > len(self._waiting):
            self._coming.pop().disconnect()

    def release(self, connection: ClientConnection) -> None:
        """The call on ``connection`` is over."""
        if not connection.reusable or self._stopping is not None:
            connection.close()
        elif self._waiting:
            self._waiting.popleft().ready(connection)
        else:
            connection.idle_since = None
            self._idle.append(connection)

    @property
    def connections(self) -> int:
        return len(self._all)

    @property
    def idle(self) -> int:
        return len(self._idle)

    @property
    def connecting(self) -> int:
        return len(self._coming)

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    @property
    def in_use(self) -> bool:
        """Whether there is anything to keep it for."""
        return bool(self._all or self._waiting or self._coming)

    def sweep(self, now: float) -> None:
        """Close what idled for too long; to be called every few seconds. :param now: in the pool's seconds.

        Only here is noted since when a connection idles, so that calls need not look at the clock: it was put aside
        after the last sweep, and is taken to have been put aside then.
        """
        oldest = now - self.ttl
        for connection in list(self._idle):
            if connection.idle_since is None:
                connection.idle_since = self._swept
            if connection.idle_since <= oldest:
                self._idle.remove(connection)
                connection.close()
        self._swept = now

    def stop(self) -> Deferred[None]:
        """Close everything; whoever waits is told. :returns: fires when the last connection is gone."""
        stopped: Deferred[None] = Deferred()
        self._stopping = stopped
        for connector in list(self._coming):
            connector.disconnect()
        for connection in list(self._all):
            # An idle one says goodbye: a reset would stand in the log of the server as an error.
            if connection in self._idle:
                self._idle.remove(connection)
                connection.close()
            else:
                connection.drop()
        self._check_emptied()
        return stopped

    # --- What connections tell --------------------------------------------------------------------------------------

    def opened(self, connection: ClientConnection) -> None:
        self._all.add(connection)
        self.release(connection)

    def closed(self, connection: ClientConnection) -> None:
        self._all.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)
        if self._waiting and len(self._coming) < len(self._waiting):
            self._open()
        self._check_emptied()

    # --- Within -----------------------------------------------------------------------------------------------------

    def _open(self) -> None:
        if len(self._all) + len(self._coming) < self.size and self._stopping is None:
            factory = _Opening(self)
            # A connector may fail before ``connect`` returns it: then it has no place among those that come.
            connector = self._connect(factory)
            if not factory.ended:
                factory.connector = connector
                self._coming.append(connector)

    def _arrived(self, connector: IConnector | None) -> None:
        if connector is not None and connector in self._coming:
            self._coming.remove(connector)

    def _failed(self, connector: IConnector | None, error: Exception) -> None:
        self._arrived(connector)
        # Told to the one who waits longest: each who waits has started one try, or found one under way. Where nothing
        # is open and nothing is coming, nobody who waits would ever be served.
        hopeless = not self._all
        while len(self._coming) < len(self._waiting):
            self._waiting.popleft().unreachable(error)
            if not hopeless:
                break
        self._check_emptied()

    def _check_emptied(self) -> None:
        if self.in_use:
            return
        if self._stopping is not None and not self._stopping.called:
            self._stopping.callback(None)
        if self.emptied is not None:
            self.emptied()


class _Opening(ClientFactory):
    """One try to connect."""

    noisy = False

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self.connector: IConnector | None = None
        self.ended = False
        self._began = pool._seconds()

    def buildProtocol(self, addr: IAddress | None) -> ClientConnection:
        self.ended = True
        self._pool._arrived(self.connector)
        connection = self._pool.make(self._pool, self._pool._max_body)
        connection.connecting = self._pool._seconds() - self._began
        connection.budget = self._pool.budget
        return connection

    def clientConnectionFailed(self, connector: IConnector, reason: Failure) -> None:
        self.ended = True
        error = reason.value
        self._pool._failed(self.connector, error if isinstance(error, Exception) else RuntimeError(str(error)))


def _has_news(transport: Any) -> bool:
    """Whether an idle connection's socket can be read, which means that it was closed and we were not told yet."""
    try:
        poller = select.poll()
        poller.register(transport.fileno(), select.POLLIN)
        return bool(poller.poll(0))
    except (AttributeError, OSError, ValueError):
        return False  # no socket under it, as in tests; the reactor will tell
