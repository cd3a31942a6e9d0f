"""A stream of a caller in gRPC: one HTTP/2 exchange, its messages framed."""

from __future__ import annotations

from sidecar.errors import SidecarError
from sidecar.model import Call, Fault
from sidecar.net.http2.pieces import PieceSender
from sidecar.web.app.app import App
from sidecar.web.app.stream import InboundStream
from sidecar.wire import grpc


class GrpcStream:
    """Takes the request as it comes, and answers as the app does."""

    def __init__(
        self, app: App, call: Call, timeout: float, content_type: str, max_message: int, sender: PieceSender
    ) -> None:
        """:param timeout: seconds that a call may take, where the app has no stream.
        :param max_message: bytes of the largest message."""
        self._sender = sender
        self._deframer = grpc.Deframer(max_message)
        self._headers = [(":status", "200"), ("content-type", content_type or "application/grpc")]
        self._begun = False
        self._stream = InboundStream(app, call, self, timeout)
        self._stream.start()

    def received(self, data: bytes) -> None:
        try:
            messages = self._deframer.feed(data)
        except SidecarError as error:
            self._stream.leave()
            self.finish(self._stream.app.fault(error))
            return
        for message in messages:
            self._stream.received(message)

    def ended(self) -> None:
        self._stream.ended()

    def lost(self) -> None:
        self._stream.leave()

    def pause(self) -> None:
        self._stream.pause()

    def resume(self) -> None:
        self._stream.resume()

    # --- The stream's side --------------------------------------------------------------------------------------------

    def say(self, payload: bytes) -> None:
        self._begin()
        self._sender.send(grpc.frame(payload))

    def finish(self, fault: Fault | None) -> None:
        self._begin()
        self._sender.finish(grpc.status_trailers(fault))

    def _begin(self) -> None:
        if not self._begun:
            self._begun = True
            self._sender.begin(self._headers)
