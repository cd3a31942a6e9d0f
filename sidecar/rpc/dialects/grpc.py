"""Calls to nodes that speak gRPC: one HTTP/2 connection a node, every call a stream on it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from twisted.application import service
from twisted.internet.interfaces import IConnector
from zope.interface import implementer

from sidecar.errors import BadAnswer, CallError, Overloaded, ServiceFault, TooLarge
from sidecar.interfaces import IExchange, IExchangeListener, ITransport
from sidecar.model import Call, Node, Reply
from sidecar.net.client.connector import connect
from sidecar.net.errors import NetError
from sidecar.net.http2.client import Http2Connection
from sidecar.net.http2.stream import Headers, Http2Limits, Stream, StreamReceiver
from sidecar.net.memory import WORTH_COUNTING, MemoryBudget
from sidecar.rpc.dialects.connecterror import call_error
from sidecar.rpc.dialects.connecttimes import ConnectTimes
from sidecar.rpc.dialects.grpcdestination import GrpcDestination
from sidecar.rpc.dialects.nodetls import NodeTls
from sidecar.wire import grpc

#: Seconds to connect to one node, at most.
CONNECT = 2.0


@implementer(ITransport)
class GrpcTransport(service.Service):
    """Unary calls over gRPC, and the HTTP/2 streams that gRPC's own streams need."""

    def __init__(
        self,
        reactor: Any,
        max_body: int,
        limits: Http2Limits | None = None,
        connect_timeout: float = CONNECT,
        connect: Callable[..., IConnector] = connect,
        tls: NodeTls | None = None,
        budget: MemoryBudget | None = None,
    ) -> None:
        """:param reactor: connects and keeps time. :param max_body: bytes of the largest message either way.
        :param connect_timeout: seconds at most; shorter than a call's, so that another node can be tried.
        :param tls: says which nodes speak TLS; None for those whose metadata says so.
        :param budget: told of what is kept of answers that have not come whole, None for nobody."""
        self.budget = budget
        self._tls = tls or NodeTls()
        self._reactor = reactor
        self.max_body = max_body
        self.seconds: Callable[[], float] = reactor.seconds
        self._limits = limits or Http2Limits()
        self._times = ConnectTimes(connect_timeout)
        self._connect = connect
        self._destinations: dict[tuple[str, int, str | None], GrpcDestination] = {}
        self._connections: set[Http2Connection] = set()

    def stopService(self) -> None:
        super().stopService()
        for destination in list(self._destinations.values()):
            destination.close()
        for connection in list(self._connections):
            connection.close()

    def exchange(self, node: Node, call: Call, timeout: float, listener: IExchangeListener) -> GrpcExchange:
        return GrpcExchange(self, node, call, self.request_headers(node, call, timeout), listener)

    def patience(self, node: Node) -> float | None:
        """As :meth:`ConnectTimes.patience` for a connection to ``node``."""
        return self._times.patience((node.address, node.port))

    def request_headers(self, node: Node, call: Call, timeout: float | None) -> Headers:
        """What begins a call to ``node``. :param timeout: seconds that remain, None for a stream without a deadline."""
        return grpc.request_headers(node.hostport, call, timeout, self._tls.name(node) is not None)

    def open_stream(self, node: Node, headers: Headers, receiver: StreamReceiver, began: Any) -> None:
        """Open a stream to ``node``, connecting first where need be; ``began(stream)`` is called when it is open."""
        key = (node.address, node.port, self._tls.name(node))
        destination = self._destinations.get(key)
        if destination is None:
            dial = partial(self._tls.connect, self._connect, name=key[2], protocol=b"h2")
            destination = self._destinations[key] = GrpcDestination(
                self._reactor, node, self._limits, partial(self._forget, key), self._connections, self._times, dial
            )
        destination.open(headers, receiver, began)

    def _forget(self, key: tuple[str, int, str | None], destination: GrpcDestination) -> None:
        if self._destinations.get(key) is destination:
            del self._destinations[key]


@implementer(IExchange)
class GrpcExchange:
    """One call on a stream of its own: collects the message and the trailers, and tells the listener once."""

    __slots__ = (
        "_call",
        "_counted",
        "_deframer",
        "_fields",
        "_headers",
        "_listener",
        "_messages",
        "_node",
        "_sent",
        "_started",
        "_stream",
        "_trailers",
        "_transport",
        "_waited",
    )

    def __init__(
        self, transport: GrpcTransport, node: Node, call: Call, fields: Headers, listener: IExchangeListener
    ) -> None:
        """:param fields: the headers of the request."""
        self._transport = transport
        self._node = node
        self._call = call
        self._fields = fields
        self._listener: IExchangeListener | None = listener
        self._deframer = grpc.Deframer(transport.max_body)
        self._counted = False
        self._stream: Stream | None = None
        self._started = 0.0
        self._waited = False
        self._sent: float | None = None
        self._messages: list[bytes] = []
        self._headers: dict[str, str] = {}
        self._trailers: dict[str, str] = {}

    # --- IExchange --------------------------------------------------------------------------------------------------

    @property
    def state(self) -> str:
        return "no connection" if self._stream is None else "no answer"

    def start(self) -> None:
        self._started = self._transport.seconds()
        self._transport.open_stream(self._node, self._fields, self, self._began)
        self._waited = self._stream is None
        if self._waited and self._listener is not None:
            patience = self._transport.patience(self._node)
            if patience is not None:
                self._listener.attempt_waits(patience)

    def cancel(self) -> None:
        self._listener = None
        self._forget()
        if self._stream is not None:
            self._stream.cancel()

    def before_sending(self, now: float) -> tuple[float, float]:
        # Where a connection was there already, nothing was waited for.
        return 0.0, ((self._sent if self._sent is not None else now) - self._started) if self._waited else 0.0

    # --- From the connection: see net.http2.stream.StreamReceiver ---------------------------------------------------

    def _began(self, stream: Stream) -> None:
        self._sent = self._transport.seconds()
        if self._listener is None:
            stream.cancel()
            return
        self._stream = stream
        try:
            stream.send(grpc.frame(self._call.request), end=True)
        except NetError as error:
            stream.cancel()
            self._fail(call_error(error))

    def headers_received(self, headers: list[tuple[str, str]]) -> None:
        self._headers.update(headers)

    def data_received(self, data: bytes) -> None:
        try:
            self._messages += self._deframer.feed(data)
        except (TooLarge, BadAnswer) as error:
            if self._stream is not None:
                self._stream.cancel()
            self._fail(BadAnswer(str(error)))
            return
        kept, budget = self._deframer.rest, self._transport.budget
        if budget is not None and (kept >= WORTH_COUNTING or self._counted):
            self._counted = True
            if not budget.changed(self, kept + sum(map(len, self._messages)), "replies"):
                self.shed()

    def shed(self) -> None:
        """Called by the budget: what is kept for all is too much, and of this answer it is most."""
        budget = self._transport.budget
        assert budget is not None
        if self._stream is not None:
            self._stream.cancel()
        self._messages.clear()
        self._fail(Overloaded(f"what had come of its answer was given up: {budget.spent}"))

    def _forget(self) -> None:
        if self._counted and self._transport.budget is not None:
            self._counted = False
            self._transport.budget.changed(self, 0, "replies")

    def trailers_received(self, headers: list[tuple[str, str]]) -> None:
        self._trailers.update(headers)

    def ended(self) -> None:
        self._forget()
        # "Trailers-only" answers carry the status among the headers.
        trailers = self._trailers or self._headers
        status = self._headers.get(":status", "")
        if "grpc-status" not in trailers:
            self._fail(BadAnswer(grpc.http_problem(status) if status != "200" else "no grpc-status"))
            return
        fault = grpc.fault(self._call.service, trailers)
        if fault is not None:
            self._fail(ServiceFault(fault))
        elif len(self._messages) != 1 or self._deframer.rest:
            self._fail(BadAnswer(f"{len(self._messages)} messages in the answer to a unary call"))
        else:
            content_type = "application/json" if grpc.is_json(self._call.content_type) else "application/protobuf"
            listener, self._listener = self._listener, None
            if listener is not None:
                listener.attempt_replied(Reply(self._messages[0], content_type))

    def failed(self, error: NetError) -> None:
        self._fail(call_error(error))

    def _fail(self, error: CallError) -> None:
        self._forget()
        listener, self._listener = self._listener, None
        if listener is not None:
            listener.attempt_failed(error)
