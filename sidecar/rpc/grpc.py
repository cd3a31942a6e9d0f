"""Calls to nodes that speak gRPC: one HTTP/2 connection a node, every call a stream on it."""

from __future__ import annotations

from typing import Any

from attrs import define, field
from twisted.application import service
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IConnector, IDelayedCall
from twisted.internet.protocol import ClientFactory
from twisted.python.failure import Failure
from zope.interface import implementer

from sidecar.errors import BadAnswer, CallError, CallTimeout, ServiceFault, TooLarge
from sidecar.interfaces import ITransport
from sidecar.model import Call, Node, Reply
from sidecar.net.errors import NetError, QueueFull, Unavailable
from sidecar.net.http2.client import Http2Connection
from sidecar.net.http2.stream import Headers, Http2Limits, Stream, StreamReceiver
from sidecar.net.reactor import eager
from sidecar.rpc.connecterror import call_error, why_not
from sidecar.wire import grpc

#: Seconds to connect to one node.
CONNECT = 2.0


@implementer(ITransport)
class GrpcTransport(service.Service):
    """Unary calls over gRPC, and the streams that :mod:`sidecar.rpc.streams` opens."""

    def __init__(self, reactor: Any, max_body: int, limits: Http2Limits | None = None) -> None:
        """:param reactor: connects and keeps time. :param max_body: bytes of the largest message either way."""
        self._reactor = reactor
        self._max_body = max_body
        self._limits = limits or Http2Limits()
        self._peers: dict[str, _Peer] = {}
        self._connections: set[Http2Connection] = set()

    def stopService(self) -> None:
        super().stopService()
        for peer in list(self._peers.values()):
            peer.close()
        for connection in list(self._connections):
            connection.close()

    def send(self, node: Node, call: Call, timeout: float) -> Deferred[Reply]:
        unary = _Unary(call, self._max_body)
        unary.done = Deferred(lambda _: unary.give_up(None))
        late = CallTimeout(f"no answer within {timeout:.3g} s")
        unary.deadline = self._reactor.callLater(timeout, unary.give_up, late)
        headers = grpc.request_headers(node.hostport, call, timeout)
        self.open(node, headers, unary, unary.began)
        return unary.done

    def open(self, node: Node, headers: Headers, receiver: StreamReceiver, began: Any) -> None:
        """Open a stream to ``node``, connecting first where need be; ``began(stream)`` is called when it is open."""
        peer = self._peers.get(node.hostport)
        if peer is None:
            peer = self._peers[node.hostport] = _Peer(
                self._reactor, node, self._limits, self._forget, self._connections
            )
        peer.open(headers, receiver, began)

    def _forget(self, peer: _Peer) -> None:
        if self._peers.get(peer.node.hostport) is peer:
            del self._peers[peer.node.hostport]


@define(eq=False)
class _Peer:
    """The way to one node: its connection, or the calls that wait for one to be made."""

    reactor: Any
    node: Node
    limits: Http2Limits
    forget: Any
    connections: set[Http2Connection]
    connection: Http2Connection | None = None
    connector: IConnector | None = None
    waiting: list[tuple[Headers, StreamReceiver, Any]] = field(factory=list)

    def open(self, headers: Headers, receiver: StreamReceiver, began: Any) -> None:
        if self.connection is not None and self.connection.usable:
            try:
                began(self.connection.open(headers, receiver))
            except NetError as error:
                receiver.failed(error)
            return
        if len(self.waiting) >= self.limits.waiting:
            receiver.failed(QueueFull(f"{len(self.waiting)} calls wait for a connection to {self.node.hostport}"))
            return
        self.waiting.append((headers, receiver, began))
        if self.connector is None:
            self.connector = eager.connect(self.reactor, self.node.address, self.node.port, _Factory(self), CONNECT)

    def connected(self, connection: Http2Connection) -> None:
        self.connector = None
        self.connection = connection
        self.connections.add(connection)
        waiting, self.waiting = self.waiting, []
        for headers, receiver, began in waiting:
            self.open(headers, receiver, began)

    def failed(self, reason: Failure) -> None:
        self.connector = None
        self.forget(self)
        waiting, self.waiting = self.waiting, []
        for _, receiver, _began in waiting:
            receiver.failed(Unavailable(why_not(reason.value or reason)))

    def retired(self, connection: Http2Connection) -> None:
        if self.connection is connection:
            self.connection = None
            if self.connector is None:
                self.forget(self)

    def close(self) -> None:
        if self.connector is not None:
            self.connector.disconnect()


class _Factory(ClientFactory):
    noisy = False

    def __init__(self, peer: _Peer) -> None:
        self._peer = peer

    def buildProtocol(self, addr: Any) -> Http2Connection:
        peer = self._peer
        made = _Announced(peer.reactor, peer.node.hostport, peer.limits, peer.retired, peer.connections.discard)
        made.announce = peer.connected
        return made

    def clientConnectionFailed(self, connector: IConnector, reason: Failure) -> None:
        self._peer.failed(reason)


class _Announced(Http2Connection):
    """A connection that says when it can be used."""

    announce: Any = None

    def connectionMade(self) -> None:
        super().connectionMade()
        self.announce(self)


class _Unary:
    """One call on its stream: collects the reply, the trailers, and settles ``done`` once."""

    done: Deferred[Reply]
    deadline: IDelayedCall

    def __init__(self, call: Call, max_body: int) -> None:
        self._call = call
        self._deframer = grpc.Deframer(max_body)
        self._stream: Stream | None = None
        self._settled = False
        self._messages: list[bytes] = []
        self._headers: dict[str, str] = {}
        self._trailers: dict[str, str] = {}

    def began(self, stream: Stream) -> None:
        if self._settled:
            stream.cancel()
            return
        self._stream = stream
        stream.send(grpc.frame(self._call.request), end=True)

    def give_up(self, error: CallError | None) -> None:
        """The deadline passed, or (None) the caller left."""
        if self._stream is not None:
            self._stream.cancel()
        self._settle(Failure(error or CancelledError()))

    def headers_received(self, headers: list[tuple[str, str]]) -> None:
        self._headers.update(headers)

    def data_received(self, data: bytes) -> None:
        try:
            self._messages += self._deframer.feed(data)
        except (TooLarge, BadAnswer) as error:
            self.give_up(BadAnswer(str(error)))

    def trailers_received(self, headers: list[tuple[str, str]]) -> None:
        self._trailers.update(headers)

    def ended(self) -> None:
        # "Trailers-only" answers carry the status among the headers.
        trailers = self._trailers or self._headers
        status = self._headers.get(":status", "")
        if "grpc-status" not in trailers:
            self._settle(Failure(BadAnswer(grpc.http_problem(status) if status != "200" else "no grpc-status")))
            return
        fault = grpc.fault(self._call.service, trailers)
        if fault is not None:
            self._settle(Failure(ServiceFault(fault)))
        elif len(self._messages) != 1 or self._deframer.rest:
            self._settle(Failure(BadAnswer(f"{len(self._messages)} messages in the answer to a unary call")))
        else:
            kind = "application/json" if grpc.is_json(self._call.content_type) else "application/protobuf"
            self._settle(Reply(self._messages[0], kind))

    def failed(self, error: NetError) -> None:
        self._settle(Failure(call_error(error)))

    def _settle(self, result: Reply | Failure) -> None:
        if self._settled:
            return
        self._settled = True
        if self.deadline.active():
            self.deadline.cancel()
        if isinstance(result, Failure):
            self.done.errback(result)
        else:
            self.done.callback(result)
