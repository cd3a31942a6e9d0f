"""What transports over HTTP/1.1 share: a pool of connections for each address, and one request on one of them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Final, Generic, TypeVar

from attrs import define
from twisted.application import service
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.error import TimeoutError
from twisted.internet.interfaces import IConnector, IDelayedCall
from twisted.internet.protocol import ClientFactory

from sidecar.errors import BadAnswer, CallError, ConnectFailed, ConnectionLost, NotSent, Overloaded
from sidecar.interfaces import IExchangeListener
from sidecar.model import Node
from sidecar.net.client.connection import ClientConnection
from sidecar.net.client.connector import connect as connect_to
from sidecar.net.client.pool import Pool, PoolOccupancy
from sidecar.net.errors import BudgetSpent, MalformedAnswer, NotTaken, PoolExhausted
from sidecar.net.memory import MemoryBudget
from sidecar.rpc.dialects.connecterror import why_not
from sidecar.rpc.dialects.connecttimes import ConnectTimes
from sidecar.rpc.dialects.nodetls import NodeTls

#: Seconds between two looks for connections that idled too long.
_SWEEP: Final = 1.0


@define(eq=False)
class Destination:
    """One address, for as long as we hold a connection to it.

    :ivar host: ``host:port``, as a header says it.
    :ivar times: how long connecting takes. :ivar address: as which it is known there.
    """

    host: bytes
    pool: Pool
    seconds: Callable[[], float]
    times: ConnectTimes
    address: tuple[str, int]


D = TypeVar("D", bound=Destination)
#: Host, port, and the name that a certificate has to have there, None without TLS.
Place = tuple[str, int, str | None]


class PooledExchange(Generic[D]):
    """One request on its way to one node. A subclass reads the answer."""

    __slots__ = ("_connection", "_data", "_destination", "_listener", "_sent", "_taken")

    def __init__(self, destination: D, listener: IExchangeListener, data: bytes) -> None:
        """:param data: the whole request."""
        self._destination = destination
        self._listener: IExchangeListener | None = listener
        self._data = data
        self._connection: ClientConnection | None = None
        # Since when it waits for a connection, and the seconds that it was queued and connecting; None where a
        # connection was at hand, as it nearly always is.
        self._taken: float | None = None
        self._sent: tuple[float, float] | None = None

    @property
    def state(self) -> str:
        return "no connection" if self._connection is None else "no answer"

    def start(self) -> None:
        connection = self._destination.pool.take_idle()
        if connection is not None:
            self._connection = connection
            connection.send(self._data, self)
            return
        pool = self._destination.pool
        self._taken = self._destination.seconds()
        try:
            pool.take(self)
            patience = self._destination.times.patience(self._destination.address)
            if patience is not None and self._connection is None and pool.connecting and self._listener is not None:
                self._listener.attempt_waits(patience)
        except PoolExhausted:
            self._end(Overloaded(f"all {pool.size} connections are busy and {pool.max_waiting} calls wait for one"))

    def cancel(self) -> None:
        self._listener = None
        if self._connection is None:
            if self._destination.pool.connecting:
                self._waited()
            self._destination.pool.cancel_wait(self)
        else:
            self._connection.drop()

    def before_sending(self, now: float) -> tuple[float, float]:
        if self._taken is None:
            return 0.0, 0.0
        if self._sent is not None:
            return self._sent
        waited = now - self._taken
        # Without a connection there is nobody to queue behind.
        return (waited, 0.0) if self._destination.pool.connections else (0.0, waited)

    # --- From the pool and the connection ---------------------------------------------------------------------------

    def ready(self, connection: ClientConnection) -> None:
        if self._taken is not None:
            waited = self._destination.seconds() - self._taken
            connecting = min(waited, connection.connecting)
            if connection.connecting:
                self._destination.times.connected(self._destination.address, connection.connecting)
                connection.connecting = 0.0
            self._sent = (waited - connecting, connecting)
        self._send(connection)

    def _send(self, connection: ClientConnection) -> None:
        self._connection = connection
        connection.send(self._data, self)

    def unreachable(self, error: Exception) -> None:
        if isinstance(error, TimeoutError):
            self._waited()
        self._end(ConnectFailed(why_not(error)))

    def answered(self, connection: ClientConnection, status: int, body: bytes) -> None:
        """The whole answer is there: give the connection back and tell the listener, if one is left."""
        raise NotImplementedError

    def lost(self, error: Exception) -> None:
        if isinstance(error, MalformedAnswer):
            self._end(BadAnswer(str(error)))
        elif isinstance(error, NotTaken):
            self._end(NotSent(str(error)))
        elif isinstance(error, BudgetSpent):
            self._end(Overloaded(str(error)))
        else:
            self._end(ConnectionLost("the connection was closed before the answer came"))

    def _waited(self) -> None:
        """It waited for a connection in vain."""
        if self._taken is not None:
            destination = self._destination
            destination.times.waited(destination.address, destination.seconds() - self._taken)

    def _end(self, error: CallError) -> None:
        listener, self._listener = self._listener, None
        if listener is not None:
            listener.attempt_failed(error)


class PooledTransport(service.Service, Generic[D]):
    """Keeps a destination for each address that is called. A subclass says what is known of one, and makes requests.

    :ivar connection: the class of its connections.
    """

    connection: type[ClientConnection] = ClientConnection

    def __init__(
        self,
        reactor: Any,
        max_body: int,
        pool_size: int = 512,
        pool_ttl: float = 60.0,
        max_waiting: int = 1024,
        connect_timeout: float = 2.0,
        connect: Callable[..., IConnector] = connect_to,
        tls: NodeTls | None = None,
        budget: MemoryBudget | None = None,
    ) -> None:
        """:param reactor: connects and keeps time. :param max_body: bytes of the largest answer to take.

        :param pool_size: connections to one node at most. :param pool_ttl: seconds that one may idle.
        :param max_waiting: calls that may wait for a connection to one node.
        :param connect_timeout: seconds at most; shorter than a call's, so that another node can be tried.
        :param tls: says which nodes speak TLS; None for those whose metadata says so.
        :param budget: told of what is kept of answers that have not come whole, None for nobody.
        """
        self._budget = budget
        self._reactor = reactor
        self._tls = tls or NodeTls()
        self._max_body = max_body
        self._pool_size = pool_size
        self._pool_ttl = pool_ttl
        self._max_waiting = max_waiting
        self._times = ConnectTimes(connect_timeout)
        self._connect = connect
        #: By host, port, and whose certificate is to be shown there.
        self._destinations: dict[Place, D] = {}
        self._sweeping: IDelayedCall | None = None

    @property
    def connections(self) -> int:
        """Connections that are open, to all nodes."""
        return sum(each.pool.connections for each in self._destinations.values())

    @property
    def occupancy(self) -> PoolOccupancy:
        """How the pools of all nodes stand, together."""
        pools = [each.pool for each in self._destinations.values()]
        return PoolOccupancy(
            idle=sum(pool.idle for pool in pools),
            open=sum(pool.connections for pool in pools),
            connecting=sum(pool.connecting for pool in pools),
            waiting=sum(pool.waiting for pool in pools),
        )

    def stopService(self) -> Deferred[None]:
        super().stopService()
        if self._sweeping is not None:
            self._sweeping.cancel()
            self._sweeping = None
        stopping: Deferred[Any] = gatherResults(
            [each.pool.stop() for each in list(self._destinations.values())], consumeErrors=True
        )
        return stopping.addCallback(lambda _: None)

    def _make(self, host: bytes, pool: Pool, address: tuple[str, int]) -> D:
        """What is to be known of a new address."""
        raise NotImplementedError

    def _meet(self, node: Node) -> D:
        """The destination for an address that has none yet."""
        key = (node.address, node.port, self._tls.name(node))
        pool = Pool(
            partial(self._dial, key),
            self._reactor.seconds,
            self._max_body,
            self._pool_size,
            self._max_waiting,
            self._pool_ttl,
            emptied=partial(self._forget, key),
            make=self.connection,
            budget=self._budget,
        )
        made = self._destinations[key] = self._make(node.hostport.encode("utf-8"), pool, (node.address, node.port))
        if self._sweeping is None:
            self._sweeping = self._reactor.callLater(_SWEEP, self._sweep)
        return made

    def _dial(self, key: Place, factory: ClientFactory) -> IConnector:
        host, port, name = key
        return self._tls.connect(self._connect, self._reactor, host, port, factory, self._times.most, name)

    def _forget(self, key: Place) -> None:
        # The next server at this address may be another.
        self._destinations.pop(key, None)

    def _sweep(self) -> None:
        now = self._reactor.seconds()
        for key, each in list(self._destinations.items()):
            each.pool.sweep(now)
            if not each.pool.in_use:
                self._forget(key)
        self._sweeping = self._reactor.callLater(_SWEEP, self._sweep) if self._destinations else None
