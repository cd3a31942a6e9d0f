"""Opens streams to nodes, in the dialect that each node speaks."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from typing import Any, Protocol

from attrs import define, field
from twisted.application import service
from twisted.internet.defer import Deferred
from twisted.internet.protocol import ClientFactory
from twisted.python.failure import Failure

from sidecar.errors import BadRequest, CallError, ConnectFailed, NotSent, ServiceFault, SidecarError
from sidecar.interfaces import ISelector
from sidecar.model import Attempt, Call, Node
from sidecar.net.client.duplex import DuplexConnection, RawResponse
from sidecar.net.errors import NetError
from sidecar.net.http2.stream import Stream
from sidecar.net.reactor import eager
from sidecar.rpc.connecterror import call_error, why_not
from sidecar.rpc.grpc import CONNECT, GrpcTransport
from sidecar.wire import grpc
from sidecar.wire.mucp import streams


class Listener(Protocol):
    """Who opened a stream. One of ``stream_ended`` and ``failed`` comes, once, last."""

    def message(self, payload: bytes) -> None: ...

    def stream_ended(self) -> None: ...

    def failed(self, error: SidecarError) -> None: ...


class OpenStream(Protocol):
    """A stream that is open. None of this is called after its end, and doing so is no error."""

    def send(self, payload: bytes) -> None:
        """Send one message. :raises Overloaded: too much waits for the node to read it."""

    def end(self) -> None:
        """Say that no more messages come from us. A gRPC node may go on and the stream ends when it does; in go-micro's
        own protocol the caller's end is the end, since servers let go of the stream there and then."""

    def hold(self, hold: bool) -> None:
        """Ask the node to wait, or to go on: whoever listens cannot take more."""

    def close(self) -> None:
        """Leave. The listener hears nothing further."""


class Streams(service.Service):
    """Chooses a node and opens a stream to it."""

    def __init__(self, reactor: Any, selector: ISelector, transport: GrpcTransport, max_body: int, prefix: str) -> None:
        """:param prefix: makes our stream ids unlike those of any other process.
        :param max_body: bytes of the largest message from a node."""
        self._reactor = reactor
        self._selector = selector
        self._grpc = transport
        self._max_body = max_body
        self._ids = (f"{prefix}-{number}" for number in count(1))
        self._open: set[OpenStream] = set()

    @property
    def open_streams(self) -> int:
        return len(self._open)

    def stopService(self) -> None:
        super().stopService()
        for stream in list(self._open):
            stream.close()
        self._open.clear()

    async def open(self, call: Call, listener: Listener) -> OpenStream:
        """Open a stream to a node of ``call.service``; the next node is tried where one cannot be reached.

        :raises NotFound: no such service. :raises CallError: no node could be reached.
        """
        chosen = self._selector.choose(call.service)
        nodes: Iterator[Node] = await chosen if isinstance(chosen, Deferred) else chosen
        attempts: list[Attempt] = []
        for node in nodes:
            if call.address not in (None, node.hostport):
                continue
            began = self._reactor.seconds()
            try:
                stream = await self._to(node, call, listener)
            except (ConnectFailed, NotSent) as error:
                attempts.append(Attempt(node, self._reactor.seconds() - began, str(error)))
                self._selector.mark(node, error)
                continue
            self._selector.mark(node, None)
            return stream
        tried = "; ".join(f"{attempt.node.hostport} ({attempt.node.id}): {attempt.outcome}" for attempt in attempts)
        raise ConnectFailed(f"{call.service} {call.method}: no stream could be opened: {tried}", tuple(attempts))

    async def _to(self, node: Node, call: Call, listener: Listener) -> OpenStream:
        protocol = node.metadata.get("protocol", "")
        if protocol == "http":
            raise BadRequest(f"service: {call.service} speaks plain HTTP, which has no streams; call it through /rpc")
        opening = _GrpcStream(listener) if protocol == "grpc" else _MucpStream(listener)
        opening.over = self._open.discard
        if isinstance(opening, _GrpcStream):
            await opening.open(self._grpc, node, call, self._max_body)
        else:
            await opening.open(self._reactor, node, call, next(self._ids), self._max_body)
        self._open.add(opening)
        return opening


@define(eq=False)
class _MucpStream:
    """A stream over go-micro's HTTP transport, on a connection of its own."""

    listener: Listener
    over: Any = None
    _connection: DuplexConnection | None = field(default=None, init=False)
    _writer: streams.Writer = field(init=False)

    async def open(self, reactor: Any, node: Node, call: Call, id: str, max_body: int) -> None:
        self._writer = streams.Writer(node.hostport, call, id)
        connected: Deferred[None] = Deferred()
        connection = DuplexConnection(self._received, self._lost, max_body)
        eager.connect(reactor, node.address, node.port, _Connecting(connection, connected), CONNECT)
        await connected
        self._connection = connection
        connection.send(self._writer.begin())

    def send(self, payload: bytes) -> None:
        if self._connection is not None:
            try:
                self._connection.send(self._writer.message(payload))
            except NetError as error:
                raise call_error(error) from None

    def end(self) -> None:
        if self._connection is not None:
            self.close()
            self.listener.stream_ended()

    def hold(self, hold: bool) -> None:
        if self._connection is not None:
            self._connection.pause() if hold else self._connection.resume()

    def close(self) -> None:
        if self._connection is not None:
            self._connection.send(self._writer.end())
            self._finish()

    def _finish(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()
        self.over(self)

    def _received(self, response: RawResponse) -> None:
        try:
            payload = streams.read(*response)
        except (ServiceFault, CallError) as error:
            self._finish()
            self.listener.failed(error)
            return
        if payload is None:
            self._finish()
            self.listener.stream_ended()
        else:
            self.listener.message(payload)

    def _lost(self, error: NetError | None) -> None:
        if self._connection is None:
            return
        self._finish()
        if error is None:
            self.listener.stream_ended()
        else:
            self.listener.failed(call_error(error))


class _Connecting(ClientFactory):
    noisy = False

    def __init__(self, connection: DuplexConnection, connected: Deferred[None]) -> None:
        self._connection = connection
        self._connected = connected
        connection.made = lambda: connected.callback(None)

    def buildProtocol(self, addr: Any) -> DuplexConnection:
        return self._connection

    def clientConnectionFailed(self, connector: Any, reason: Failure) -> None:
        self._connected.errback(ConnectFailed(why_not(reason.value or reason)))


@define(eq=False)
class _GrpcStream:
    """A stream over gRPC: one HTTP/2 stream."""

    listener: Listener
    over: Any = None
    _call: Call = field(init=False)
    _deframer: grpc.Deframer = field(init=False)
    _stream: Stream | None = field(default=None, init=False)
    _opened: Deferred[None] | None = field(default=None, init=False)
    _headers: dict[str, str] = field(factory=dict, init=False)
    _trailers: dict[str, str] = field(factory=dict, init=False)

    async def open(self, transport: GrpcTransport, node: Node, call: Call, max_body: int) -> None:
        self._call = call
        self._deframer = grpc.Deframer(max_body)
        opened = self._opened = Deferred()
        transport.open(node, grpc.request_headers(node.hostport, call, None), self, self._began)
        await opened

    def send(self, payload: bytes) -> None:
        if self._stream is not None:
            try:
                self._stream.send(grpc.frame(payload))
            except NetError as error:
                raise call_error(error) from None

    def end(self) -> None:
        if self._stream is not None:
            self._stream.send(b"", end=True)

    def hold(self, hold: bool) -> None:
        if self._stream is not None:
            self._stream.pause() if hold else self._stream.resume()

    def close(self) -> None:
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.cancel()
        self.over(self)

    def _began(self, stream: Stream) -> None:
        self._stream = stream
        opened, self._opened = self._opened, None
        if opened is not None:
            opened.callback(None)

    def headers_received(self, headers: list[tuple[str, str]]) -> None:
        self._headers.update(headers)

    def data_received(self, data: bytes) -> None:
        try:
            messages = self._deframer.feed(data)
        except SidecarError as error:
            self.close()
            self.listener.failed(error)
            return
        for message in messages:
            self.listener.message(message)

    def trailers_received(self, headers: list[tuple[str, str]]) -> None:
        self._trailers.update(headers)

    def ended(self) -> None:
        self._stream = None
        self.over(self)
        fault = grpc.fault(self._call.service, self._trailers or self._headers)
        if fault is None:
            self.listener.stream_ended()
        else:
            self.listener.failed(ServiceFault(fault))

    def failed(self, error: NetError) -> None:
        self._stream = None
        self.over(self)
        opened, self._opened = self._opened, None
        if opened is not None:
            opened.errback(call_error(error))
        else:
            self.listener.failed(call_error(error))
