"""WebSockets for streams: each text frame is one message of a go-micro stream, either way."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IPushProducer
from zope.interface import implementer

from sidecar.errors import ServiceFault, SidecarError
from sidecar.interfaces import IStream, IStreamListener
from sidecar.model import ANONYMOUS, Call, Caller
from sidecar.problems import RPC, problem
from sidecar.rpc.streams import Streams
from sidecar.websocket.sockets import WebSockets
from sidecar.wire import faults, rawjson
from sidecar.wire.ws import frames

if TYPE_CHECKING:
    from sidecar.websocket.protocol import WebSocketConnection

#: RFC 6455, 7.4.1
NORMAL = 1000
UNSUPPORTED = 1003
INVALID_PAYLOAD = 1007
INTERNAL_ERROR = 1011
TRY_AGAIN = 1013


@implementer(IPushProducer, IStreamListener)
class StreamSession:
    """The session of one connection: what its client sends goes to the node, what the node sends comes to it."""

    def __init__(self, streams: Streams, call: Call, caller: Caller = ANONYMOUS) -> None:
        self._streams = streams
        self._call = call
        self._caller = caller
        self._stream: IStream | None = None
        self._opening: Deferred[None] | None = None
        self._connection: WebSocketConnection | None = None
        # What the node sent, and how it ended, before the handshake was answered or while the client does not read.
        self._early: deque[bytes] = deque()
        self._end: tuple[int, str] | None = None
        self._paused = True

    # --- What the connection tells ----------------------------------------------------------------------------------

    def begin(self) -> Deferred[None]:
        self._opening = Deferred.fromCoroutine(self._open())
        return self._opening

    async def _open(self) -> None:
        self._stream = await self._streams.open(self._call, self)
        self._opening = None

    def opened(self, connection: WebSocketConnection) -> None:
        self._connection = connection
        connection.set_producer(self)
        self.resumeProducing()

    def received(self, payload: bytes, binary: bool) -> None:
        if self._connection is None:
            return
        if self._stream is None:
            return  # the node has ended; the close is under way
        if binary:
            self._close(UNSUPPORTED, "a message of a stream is JSON in a text frame")
            return
        try:
            payload = rawjson.without_bom(payload)
            if payload:
                rawjson.check(payload)
                self._stream.send(payload)
            else:
                self._stream.end()
        except ValueError as error:
            self._close(INVALID_PAYLOAD, f"not JSON: {error}")
        except SidecarError as error:
            self._close(TRY_AGAIN, str(error))

    def ended(self) -> None:
        self._connection = None
        self._early.clear()
        if self._opening is not None:
            self._opening.cancel()
        if self._stream is not None:
            self._stream.close()
            self._stream = None

    def refusal(self, error: BaseException) -> tuple[int, bytes]:
        found = problem(error, RPC)
        return found.status, faults.encode(found.fault) + b"\n"

    # --- What the stream tells --------------------------------------------------------------------------------------

    def message(self, payload: bytes) -> None:
        data = frames.frame(frames.TEXT, payload.strip())
        if self._paused or self._connection is None:
            self._early.append(data)
        else:
            self._connection.send(data)

    def stream_ended(self) -> None:
        self._stop(NORMAL, "")

    def failed(self, error: SidecarError) -> None:
        code = f"{error.fault.code or 500} " if isinstance(error, ServiceFault) else ""
        self._stop(INTERNAL_ERROR, f"{code}{error}")

    def _stop(self, code: int, reason: str) -> None:
        self._stream = None
        self._end = (code, reason)
        self._flush()

    # --- What the client's transport tells --------------------------------------------------------------------------

    def pauseProducing(self) -> None:
        self._paused = True
        if self._stream is not None:
            self._stream.pause()

    def resumeProducing(self) -> None:
        self._paused = False
        self._flush()
        if self._stream is not None and not self._paused:
            self._stream.resume()

    def stopProducing(self) -> None:
        self._early.clear()

    def _flush(self) -> None:
        while self._early and not self._paused and self._connection is not None:
            self._connection.send(self._early.popleft())
        if self._end is not None and not self._early and self._connection is not None:
            self._close(*self._end)

    def _close(self, code: int, reason: str) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close(code, reason)
        if self._stream is not None:
            self._stream.close()
            self._stream = None


class StreamSessions:
    """Opens WebSockets that are streams."""

    def __init__(self, streams: Streams, sockets: WebSockets) -> None:
        self._streams = streams
        self._sockets = sockets

    def admit(self, request: Any) -> None:
        """Ask before :meth:`upgrade`. See :meth:`WebSockets.admit`."""
        self._sockets.admit(request)

    def upgrade(self, request: Any, call: Call, caller: Caller) -> int:
        """Open a WebSocket for the stream that ``call`` opens. See :meth:`WebSockets.upgrade`."""
        return self._sockets.upgrade(request, StreamSession(self._streams, call, caller))
