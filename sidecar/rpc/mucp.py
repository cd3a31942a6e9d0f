"""Calls to nodes that speak go-micro's own protocol over HTTP/1.1: the default of every generation but one."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable
from functools import partial
from typing import Any, Final

from attrs import define, field
from twisted.application import service
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.interfaces import IConnector, IDelayedCall
from twisted.internet.protocol import ClientFactory
from zope.interface import implementer

from sidecar.errors import (
    BadAnswer,
    CallError,
    CallTimeout,
    ConnectFailed,
    ConnectionLost,
    Overloaded,
    ServiceFault,
    SidecarError,
)
from sidecar.interfaces import ITransport
from sidecar.model import Call, Node, Reply
from sidecar.net.client.connection import ClientConnection
from sidecar.net.client.pool import Pool
from sidecar.net.errors import MalformedAnswer, PoolExhausted
from sidecar.net.reactor import eager
from sidecar.net.reactor.timerwheel import TimerWheel
from sidecar.rpc.connecterror import why_not
from sidecar.rpc.dialects import Listener
from sidecar.wire import headers
from sidecar.wire.mucp import jsonrpc, protorpc, request
from sidecar.wire.rpc import JSON, PROTOBUF

#: Seconds between two looks for connections that idled too long.
_SWEEP: Final = 1.0
#: Molds that are kept for one node: one for each method that is called there.
_MAX_MOLDS: Final = 512


@define(eq=False)
class _Peer:
    """What is known of one node for as long as we hold a connection to it.

    :ivar lean: its last good answer gave the id back as a number, so it is of 2016 to 2018 and pays dearly for each
        header.
    :ivar molds: requests with holes, by content type, service and method.
    """

    host: bytes
    pool: Pool
    lean: bool = False
    molds: dict[tuple[str, str, str], request.RequestTemplate] = field(factory=dict)


class _Exchange:
    """One request on its way to one node."""

    __slots__ = ("_connection", "_data", "_id", "_listener", "_peer", "_protobuf")

    def __init__(self, peer: _Peer, listener: Listener | None, id: bytes, data: bytes, protobuf: bool) -> None:
        self._peer = peer
        self._listener = listener
        self._id = id
        self._data = data
        self._protobuf = protobuf
        self._connection: ClientConnection | None = None

    @property
    def state(self) -> str:
        return "no connection" if self._connection is None else "no answer"

    def start(self) -> None:
        connection = self._peer.pool.take_idle()
        if connection is not None:
            self._connection = connection
            connection.send(self._data, self)
            return
        try:
            self._peer.pool.take(self)
        except PoolExhausted:
            pool = self._peer.pool
            self._end(Overloaded(f"all {pool.size} connections are busy and {pool.max_waiting} calls wait for one"))

    def cancel(self) -> None:
        self._listener = None
        if self._connection is None:
            self._peer.pool.cancel_wait(self)
        else:
            self._connection.drop()

    # --- From the pool and the connection ---------------------------------------------------------------------------

    def ready(self, connection: ClientConnection) -> None:
        self._connection = connection
        connection.send(self._data, self)

    def unreachable(self, error: Exception) -> None:
        self._end(ConnectFailed(why_not(error)))

    def answered(self, connection: ClientConnection, status: int, body: bytes) -> None:
        listener = self._listener
        if listener is None:
            return
        self._listener = None
        try:
            if status != 200:
                raise jsonrpc.refused(status, body)
            if self._protobuf:
                reply = Reply(protorpc.result(body, connection.header), PROTOBUF)
            else:
                result, echoed = jsonrpc.result(body, self._id, connection.header)
                peer = self._peer
                if echoed is not peer.lean:
                    peer.lean = echoed
                    peer.molds.clear()
                reply = Reply(result)
        except (ServiceFault, BadAnswer) as error:
            # Servers of several generations close after an error, some a moment after it.
            connection.reusable = False
            self._peer.pool.release(connection)
            listener.attempt_failed(error)
            return
        self._peer.pool.release(connection)
        listener.attempt_replied(reply)

    def lost(self, error: Exception) -> None:
        if isinstance(error, MalformedAnswer):
            self._end(BadAnswer(str(error)))
        else:
            self._end(ConnectionLost("the connection was closed before the answer came"))

    def _end(self, error: CallError) -> None:
        listener, self._listener = self._listener, None
        if listener is not None:
            listener.attempt_failed(error)


@implementer(ITransport)
class MucpTransport(service.Service):
    """Speaks the universal request, which servers of every generation understand, over pooled connections."""

    def __init__(
        self,
        reactor: Any,
        max_body: int,
        pool_size: int = 512,
        pool_ttl: float = 60.0,
        max_waiting: int = 1024,
        connect_timeout: float = 2.0,
        connect: Callable[..., IConnector] = eager.connect,
    ) -> None:
        """:param reactor: connects and keeps time. :param max_body: bytes of the largest answer to take.

        :param pool_size: connections to one node at most. :param pool_ttl: seconds that one may idle.
        :param max_waiting: calls that may wait for a connection to one node.
        :param connect_timeout: seconds; shorter than a call's, so that another node can be tried.
        """
        self._reactor = reactor
        self._max_body = max_body
        self._pool_size = pool_size
        self._pool_ttl = pool_ttl
        self._max_waiting = max_waiting
        self._connect_timeout = connect_timeout
        self._connect = connect
        self._peers: dict[tuple[str, int], _Peer] = {}
        self._sweeping: IDelayedCall | None = None
        self._deadlines = TimerWheel(reactor)
        # Ids are unique over all processes that ever spoke to a node: it may still hold one of an earlier life.
        self._prefix = b"%s-%x-" % (secrets.token_hex(4).encode("ascii"), os.getpid())
        self._count = 0

    @property
    def connections(self) -> int:
        """Connections that are open, to all nodes."""
        return sum(peer.pool.connections for peer in self._peers.values())

    def stopService(self) -> Deferred[None]:
        super().stopService()
        self._deadlines.stop()
        if self._sweeping is not None:
            self._sweeping.cancel()
            self._sweeping = None
        stopping: Deferred[Any] = gatherResults(
            [peer.pool.stop() for peer in list(self._peers.values())], consumeErrors=True
        )
        return stopping.addCallback(lambda _: None)

    # --- ITransport, for those in no hurry --------------------------------------------------------------------------

    def send(self, node: Node, call: Call, timeout: float) -> Deferred[Reply]:
        return _Sent(self, self._deadlines, node, call, timeout).reply

    # --- ILeanTransport ---------------------------------------------------------------------------------------------

    def exchange(self, node: Node, call: Call, timeout: float, listener: Listener | None) -> _Exchange:
        peer = self._peers.get((node.address, node.port))
        if peer is None:
            peer = self._meet(node)
        mold = peer.molds.get((call.content_type, call.service, call.method))
        if mold is None:
            mold = self._make_mold(peer, call)
        self._count = number = self._count + 1
        id = b"%d" % number
        metadata = headers.block(call.metadata) if call.metadata else b""
        data = mold.fill(number, id, timeout, metadata, call.request)
        return _Exchange(peer, listener, id, data, call.content_type != JSON)

    def _make_mold(self, peer: _Peer, call: Call) -> request.RequestTemplate:
        mold = request.mold(peer.host, call.service, call.method, call.content_type, self._prefix, peer.lean)
        if len(peer.molds) >= _MAX_MOLDS:
            peer.molds.clear()
        peer.molds[(call.content_type, call.service, call.method)] = mold
        return mold

    def _meet(self, node: Node) -> _Peer:
        key = (node.address, node.port)
        connect = partial(_connect, self._connect, self._reactor, node.address, node.port, self._connect_timeout)
        pool = Pool(
            connect,
            self._reactor.seconds,
            self._max_body,
            self._pool_size,
            self._max_waiting,
            self._pool_ttl,
            emptied=partial(self._forget, key),
        )
        peer = self._peers[key] = _Peer(node.hostport.encode("utf-8"), pool)
        if self._sweeping is None:
            self._sweeping = self._reactor.callLater(_SWEEP, self._sweep)
        return peer

    def _forget(self, key: tuple[str, int]) -> None:
        # The next server at this address may be of another generation.
        self._peers.pop(key, None)

    def _sweep(self) -> None:
        now = self._reactor.seconds()
        for key, peer in list(self._peers.items()):
            peer.pool.sweep(now)
            if not peer.pool.in_use:
                self._forget(key)
        self._sweeping = self._reactor.callLater(_SWEEP, self._sweep) if self._peers else None


class _Sent:
    """An exchange told by a Deferred, with a deadline of its own."""

    def __init__(self, transport: MucpTransport, deadlines: TimerWheel, node: Node, call: Call, timeout: float) -> None:
        self.slot: set[Any] | None = None
        self.reply: Deferred[Reply] = Deferred(self._cancelled)
        self._deadlines = deadlines
        self._timeout = timeout
        self._exchange = transport.exchange(node, call, timeout, self)
        deadlines.add(self, transport._reactor.seconds() + timeout)
        self._exchange.start()

    def attempt_replied(self, reply: Reply) -> None:
        self._deadlines.remove(self)
        self.reply.callback(reply)

    def attempt_failed(self, error: SidecarError) -> None:
        self._deadlines.remove(self)
        self.reply.errback(error)

    def expired(self) -> None:
        state = self._exchange.state
        self._exchange.cancel()
        self.reply.errback(CallTimeout(f"{state} in {self._timeout:.3g} s"))

    def _cancelled(self, _: Deferred[Reply]) -> None:
        self._deadlines.remove(self)
        self._exchange.cancel()


def _connect(
    connect: Callable[..., IConnector], reactor: Any, host: str, port: int, timeout: float, factory: ClientFactory
) -> IConnector:
    return connect(reactor, host, port, factory, timeout)
