"""Streams to nodes that speak gRPC: one HTTP/2 stream each."""

from __future__ import annotations

from attrs import define, field
from twisted.internet.defer import Deferred
from zope.interface import implementer

from sidecar.errors import ServiceFault, SidecarError
from sidecar.interfaces import IStream, IStreamListener, IStreamTransport
from sidecar.model import Call, Node
from sidecar.net.errors import NetError
from sidecar.net.http2.stream import Stream
from sidecar.rpc.dialects.connecterror import call_error
from sidecar.rpc.dialects.grpc import GrpcTransport
from sidecar.wire import grpc


@implementer(IStreamTransport)
@define(eq=False)
class GrpcStreams:
    """Opens gRPC's own streams on the connections that calls use."""

    _transport: GrpcTransport

    def open(self, node: Node, call: Call, listener: IStreamListener) -> Deferred[IStream]:
        stream = _GrpcStream(call, grpc.Deframer(self._transport.max_body), listener)
        headers = self._transport.request_headers(node, call, None)
        self._transport.open_stream(node, headers, stream, stream.began)
        return stream.opened


@implementer(IStream)
@define(eq=False)
class _GrpcStream:
    """One stream. ``opened`` fires when it can be used."""

    _call: Call
    _deframer: grpc.Deframer
    _listener: IStreamListener
    opened: Deferred[IStream] = field(init=False)
    _opening: bool = field(default=True, init=False)
    _abandoned: bool = field(default=False, init=False)
    _stream: Stream | None = field(default=None, init=False)
    _headers: dict[str, str] = field(factory=dict, init=False)
    _trailers: dict[str, str] = field(factory=dict, init=False)

    def __attrs_post_init__(self) -> None:
        self.opened = Deferred(self._given_up)

    # --- IStream ----------------------------------------------------------------------------------------------------

    def send(self, payload: bytes) -> None:
        if self._stream is not None:
            try:
                self._stream.send(grpc.frame(payload))
            except NetError as error:
                raise call_error(error) from None

    def end(self) -> None:
        if self._stream is not None:
            self._stream.send(b"", end=True)

    def pause(self) -> None:
        if self._stream is not None:
            self._stream.pause()

    def resume(self) -> None:
        if self._stream is not None:
            self._stream.resume()

    def close(self) -> None:
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.cancel()

    # --- From the connection: see net.http2.stream.StreamReceiver ---------------------------------------------------

    def began(self, stream: Stream) -> None:
        """It is open."""
        if not self._opening:
            stream.cancel()
            return
        self._stream = stream
        self._opening = False
        self.opened.callback(self)

    def headers_received(self, headers: list[tuple[str, str]]) -> None:
        self._headers.update(headers)

    def data_received(self, data: bytes) -> None:
        try:
            messages = self._deframer.feed(data)
        except SidecarError as error:
            self.close()
            self._listener.failed(error)
            return
        for message in messages:
            self._listener.message(message)

    def trailers_received(self, headers: list[tuple[str, str]]) -> None:
        self._trailers.update(headers)

    def ended(self) -> None:
        self._stream = None
        fault = grpc.fault(self._call.service, self._trailers or self._headers)
        if fault is None:
            self._listener.stream_ended()
        else:
            self._listener.failed(ServiceFault(fault))

    def failed(self, error: NetError) -> None:
        self._stream = None
        if self._opening:
            self._opening = False
            self.opened.errback(call_error(error))
        elif not self._abandoned:
            self._listener.failed(call_error(error))

    def _given_up(self, _: Deferred[IStream]) -> None:
        # The connection may be on its way still: ``began`` closes what it opens for nobody.
        self._opening, self._abandoned = False, True
