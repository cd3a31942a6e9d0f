"""Calls to apps that speak plain HTTP: ``POST /<Type>/<Method>``, JSON in and out, no envelope."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from twisted.application import service
from twisted.internet.defer import CancelledError, Deferred, fail, gatherResults
from twisted.internet.interfaces import IConnector, IDelayedCall
from twisted.internet.protocol import ClientFactory
from twisted.python.failure import Failure
from zope.interface import implementer

from sidecar.errors import BadAnswer, BadRequest, CallTimeout, ConnectFailed, ConnectionLost, Overloaded, ServiceFault
from sidecar.interfaces import ITransport
from sidecar.model import Call, Fault, Node, Reply
from sidecar.net.client.connection import ClientConnection
from sidecar.net.client.pool import Pool
from sidecar.net.errors import MalformedAnswer, PoolExhausted
from sidecar.net.reactor import eager
from sidecar.rpc.connecterror import why_not
from sidecar.wire import headers, plainhttp

#: Seconds between two looks for connections that idled too long.
_SWEEP = 5.0


@implementer(ITransport)
class PlainTransport(service.Service):
    """Posts calls to nodes, over pooled connections."""

    def __init__(
        self,
        reactor: Any,
        max_body: int,
        pool_size: int = 512,
        pool_ttl: float = 60.0,
        max_waiting: int = 1024,
        connect: Callable[..., IConnector] = eager.connect,
    ) -> None:
        """:param max_body: bytes of the largest answer. The rest is as for ``MucpTransport``."""
        self._reactor = reactor
        self._max_body = max_body
        self._sizes = (pool_size, max_waiting, pool_ttl)
        self._connect = connect
        self._pools: dict[tuple[str, int], Pool] = {}
        self._sweeping: IDelayedCall | None = None

    def stopService(self) -> Deferred[None]:
        super().stopService()
        if self._sweeping is not None:
            self._sweeping.cancel()
            self._sweeping = None
        stopping: Deferred[Any] = gatherResults(
            [pool.stop() for pool in list(self._pools.values())], consumeErrors=True
        )
        return stopping.addCallback(lambda _: None)

    def send(self, node: Node, call: Call, timeout: float) -> Deferred[Reply]:
        try:
            target = plainhttp.path(call.service, call.method, node.metadata.get("path", ""))
            head = (
                f"POST {target} HTTP/1.1\r\nHost: {node.hostport}\r\nContent-Type: {call.content_type}\r\n"
                f"Accept: {call.content_type}\r\nUser-Agent: microsidecar\r\nTimeout: {int(timeout * 1e9)}\r\n"
                f"Content-Length: {len(call.request)}\r\n"
            )
            request = b"%b%b\r\n%b" % (head.encode("latin-1"), headers.block(call.metadata), call.request)
        except BadRequest as error:
            return fail(error)
        exchange = _Exchange(self._pool(node), call.service, request)
        late = CallTimeout(f"no answer within {timeout:.3g} s")
        exchange.deadline = self._reactor.callLater(timeout, exchange.give_up, late)
        exchange.start()
        return exchange.reply

    def _pool(self, node: Node) -> Pool:
        key = (node.address, node.port)
        pool = self._pools.get(key)
        if pool is None:
            size, waiting, ttl = self._sizes
            pool = self._pools[key] = Pool(
                partial(self._open, key), self._reactor.seconds, self._max_body, size, waiting, ttl,
                emptied=partial(self._forget, key),
            )  # fmt: skip
            if self._sweeping is None:
                self._sweeping = self._reactor.callLater(_SWEEP, self._sweep)
        return pool

    def _open(self, key: tuple[str, int], factory: ClientFactory) -> IConnector:
        return self._connect(self._reactor, *key, factory, 2.0)

    def _forget(self, key: tuple[str, int]) -> None:
        self._pools.pop(key, None)

    def _sweep(self) -> None:
        self._sweeping = self._reactor.callLater(_SWEEP, self._sweep) if self._pools else None
        for pool in list(self._pools.values()):
            pool.sweep(self._reactor.seconds())


class _Exchange:
    """One request and its answer."""

    deadline: IDelayedCall

    def __init__(self, pool: Pool, service: str, request: bytes) -> None:
        self._pool = pool
        self._service = service
        self._request = request
        self._connection: ClientConnection | None = None
        self.reply: Deferred[Reply] = Deferred(lambda _: self.give_up(CancelledError()))

    def start(self) -> None:
        try:
            self._pool.take(self)
        except PoolExhausted:
            self._fail(Overloaded(f"all {self._pool.size} connections are busy, {self._pool.max_waiting} calls wait"))

    def give_up(self, error: Exception) -> None:
        if self._connection is None:
            self._pool.cancel_wait(self)
        else:
            self._connection.drop()
        self._fail(error)

    def ready(self, connection: ClientConnection) -> None:
        self._connection = connection
        connection.send(self._request, self)

    def unreachable(self, error: Exception) -> None:
        self._fail(ConnectFailed(why_not(error)))

    def answered(self, connection: ClientConnection, status: int, body: bytes) -> None:
        kind = (connection.header(b"content-type") or b"").decode("latin-1")
        self._pool.release(connection)
        meant = plainhttp.answer(self._service, status, kind, body)
        if isinstance(meant, Fault):
            self._fail(ServiceFault(meant))
        else:
            self._over()
            self.reply.callback(meant)

    def lost(self, error: Exception) -> None:
        if isinstance(error, MalformedAnswer):
            self._fail(BadAnswer(str(error)))
        else:
            self._fail(ConnectionLost("the connection was closed before the answer came"))

    def _fail(self, error: Exception) -> None:
        self._over()
        self.reply.errback(Failure(error))

    def _over(self) -> None:
        if self.deadline.active():
            self.deadline.cancel()
