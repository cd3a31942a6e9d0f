"""HTTP/2 client connections with prior knowledge, over h2: many streams on one connection, and one connection a host.

What is asked of a peer is a :class:`~sidecar.net.http2.stream.Stream`. The connection keeps the
rules of RFC 9113 for it: windows both ways, the peer's limit on concurrent streams, GOAWAY, and pings that notice a
peer which went away without a word.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

import h2.errors
import h2.events
import h2.exceptions
from twisted.internet.interfaces import IReactorTime
from twisted.internet.protocol import Protocol as TwistedProtocol
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure

from sidecar.net.client.quickack import acknowledge
from sidecar.net.errors import ConnectionBroken, MalformedAnswer, NetError, NotTaken, QueueFull, TlsRefused
from sidecar.net.http2.keepalive import KeepAlive
from sidecar.net.http2.state import ClientState
from sidecar.net.http2.stream import Headers, Http2Limits, Stream, StreamReceiver, code_name, texts


class Http2Connection(TwistedProtocol):
    """One connection to one peer. :ivar usable: new streams may be opened on it."""

    transport: Any  # Twisted's interfaces do not tell a TCP transport's abilities

    def __init__(
        self,
        clock: IReactorTime,
        peer: str,
        limits: Http2Limits,
        retired: Callable[[Http2Connection], None],
        ended: Callable[[Http2Connection], None],
    ) -> None:
        """:param peer: ``host:port``, for messages. :param retired: called once, when no new stream may be opened here
        any more. :param ended: called once, after that, when the last stream is over."""
        self.limits = limits
        self.peer = peer
        self.usable = True
        self._retired = retired
        self._ended: Callable[[Http2Connection], None] | None = ended
        self._alive = KeepAlive(clock, limits, self)
        self._streams: dict[int, Stream] = {}
        self._waiting: deque[Stream] = deque()
        self._greeted = self._incomplete = False
        self._h2 = ClientState()

    # --- Twisted's side ---------------------------------------------------------------------------------------------

    def connectionMade(self) -> None:
        self.transport.setTcpNoDelay(True)
        self._h2.begin()
        self._flush()
        self._alive.start()

    def dataReceived(self, data: bytes) -> None:
        if not self._greeted:
            # The first frame of a server is SETTINGS, type 4 (RFC 9113, 3.4); h2 would wait for the rest of a frame
            # whose length is the letters "HTT".
            self._greeted = True
            if data[3:4] not in (b"", b"\x04"):
                self._end(MalformedAnswer(f"{self.peer} does not speak HTTP/2: it began with {data[:16]!r}"))
                return
        try:
            events = self._h2.receive_data(data)
        except h2.exceptions.ProtocolError as error:
            self._flush()
            self._end(MalformedAnswer(f"{self.peer} does not speak HTTP/2: {error or type(error).__name__}"))
            return
        self._alive.heard()
        self._incomplete = False
        for event in events:
            self._happened(event)
        self._flush()
        if self._incomplete:
            acknowledge(self.transport)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._end(reason.value if isinstance(reason.value, TlsRefused) else None)

    # --- The owner's side -------------------------------------------------------------------------------------------

    def open(self, headers: Headers, receiver: StreamReceiver) -> Stream:
        """Begin an exchange, at once or when the peer allows one more.

        :raises NotTaken: the connection takes no new streams. :raises QueueFull: too many wait already."""
        if not self.usable:
            raise NotTaken(f"the connection to {self.peer} is closing")
        stream = Stream(self, receiver, headers)
        if len(self._streams) < self._h2.remote_settings.max_concurrent_streams and not self._waiting:
            self._begin(stream)
        elif len(self._waiting) < self.limits.waiting:
            self._waiting.append(stream)
        else:
            raise QueueFull(f"{len(self._waiting)} calls wait for {self.peer} already")
        return stream

    def pump(self, stream: Stream) -> None:
        """Send what the windows allow of what ``stream`` has to send."""
        if stream.id and not stream.over:
            self._pump(stream)
            self._flush()

    def acknowledge(self, stream: Stream) -> None:
        """What ``stream`` received was taken: the peer may send as much again."""
        self._acknowledge(stream)
        self._flush()

    def _acknowledge(self, stream: Stream) -> None:
        self._h2.acknowledge_received_data(stream.unacknowledged, stream.id)
        stream.unacknowledged = 0

    def cancel(self, stream: Stream) -> None:
        if stream.over:
            return
        stream.over = True
        if stream.id:
            self._streams.pop(stream.id, None)
            self._reset(stream, h2.errors.ErrorCodes.CANCEL)
            self._admit()
            self._flush()
        else:
            self._waiting.remove(stream)

    def close(self) -> None:
        """Say goodbye. Streams that are still open fail."""
        if self.usable and self.transport is not None:
            self._h2.close_connection()
            self._flush()
        self._end(None)

    # --- What the peer says -----------------------------------------------------------------------------------------

    def _happened(self, event: h2.events.Event) -> None:
        if isinstance(event, h2.events.WindowUpdated):
            self._window_opened(event.stream_id)
        elif isinstance(event, h2.events.RemoteSettingsChanged):
            self._window_opened(0)
            self._admit()
        elif isinstance(event, h2.events.ConnectionTerminated):
            self._goaway(event)
        else:
            stream = self._streams.get(getattr(event, "stream_id", 0) or 0)
            if stream is not None:
                self._answered(stream, event)

    def _answered(self, stream: Stream, event: h2.events.Event) -> None:
        if isinstance(event, h2.events.ResponseReceived):
            stream.answered = self._incomplete = True
            stream.receiver.headers_received(texts(event.headers))
        elif isinstance(event, h2.events.DataReceived):
            stream.unacknowledged += event.flow_controlled_length
            if not stream.paused:
                self._acknowledge(stream)
            stream.receiver.data_received(event.data)
        elif isinstance(event, h2.events.TrailersReceived):
            stream.receiver.trailers_received(texts(event.headers))
        elif isinstance(event, h2.events.StreamEnded):
            self._incomplete = False
            self._finish(stream)
            stream.receiver.ended()
        elif isinstance(event, h2.events.StreamReset):
            self._finish(stream)
            refused = event.error_code == h2.errors.ErrorCodes.REFUSED_STREAM
            kind = NotTaken if refused else ConnectionBroken
            stream.receiver.failed(kind(f"{self.peer} reset the stream ({code_name(event.error_code)})"))

    def _goaway(self, event: h2.events.ConnectionTerminated) -> None:
        self._retire()
        last = event.last_stream_id or 0
        why = f"{self.peer} is going away ({code_name(event.error_code)})"
        for stream in [stream for id, stream in self._streams.items() if id > last]:
            self._finish(stream)
            stream.receiver.failed(NotTaken(why))
        self._fail_waiting(why)
        if not self._streams:
            self._end(None)

    def _finish(self, stream: Stream) -> None:
        """The peer is done with ``stream``; where we are not, tell it that we are."""
        stream.over = True
        if self._streams.pop(stream.id, None) is not None and not stream.half_closed:
            self._reset(stream, h2.errors.ErrorCodes.NO_ERROR)
        self._alive.used()
        self._admit()
        if not self.usable and not self._streams:
            self._end(None)  # the peer is leaving, and that was its last answer

    def _reset(self, stream: Stream, code: h2.errors.ErrorCodes) -> None:
        try:
            self._h2.reset_stream(stream.id, code)
        except h2.exceptions.ProtocolError:
            pass  # the stream, or the whole connection, is closed already: there is nobody left to tell

    # --- What we say ------------------------------------------------------------------------------------------------

    def _admit(self) -> None:
        while self.usable and self._waiting and len(self._streams) < self._h2.remote_settings.max_concurrent_streams:
            self._begin(self._waiting.popleft())

    def _begin(self, stream: Stream) -> None:
        self._alive.used()
        stream.id = self._h2.get_next_available_stream_id()
        self._streams[stream.id] = stream
        self._h2.send_headers(stream.id, stream.headers)
        self._pump(stream)
        self._flush()

    def _window_opened(self, stream_id: int | None) -> None:
        stream = self._streams.get(stream_id or 0)
        for blocked in [stream] if stream is not None else list(self._streams.values()):
            self._pump(blocked)

    def _pump(self, stream: Stream) -> None:
        try:
            while stream.unsent:
                window = min(self._h2.local_flow_control_window(stream.id), self._h2.max_outbound_frame_size)
                if window <= 0:
                    return
                piece = stream.unsent[0][:window]
                if len(piece) == len(stream.unsent[0]):
                    stream.unsent.popleft()
                else:
                    stream.unsent[0] = stream.unsent[0][window:]
                stream.unsent_bytes -= len(piece)
                stream.half_closed = stream.ending and not stream.unsent
                self._h2.send_data(stream.id, piece, end_stream=stream.half_closed)
            if stream.ending and not stream.half_closed:
                stream.half_closed = True
                self._h2.end_stream(stream.id)
        except h2.exceptions.StreamClosedError:
            stream.unsent.clear()  # the peer ended the stream early; its answer tells the rest

    def _flush(self) -> None:
        data = self._h2.data_to_send()
        if data and self.transport is not None:
            self.transport.write(data)

    # --- Time and the end -------------------------------------------------------------------------------------------

    @property
    def busy(self) -> bool:
        """Whether streams are open, or wait to be."""
        return bool(self._streams or self._waiting)

    @property
    def open_streams(self) -> int:
        """How many streams are open."""
        return len(self._streams)

    def ping(self) -> None:
        """Ask the peer whether it is still there."""
        self._h2.ping(b"sidecar.")
        self._flush()

    def ping_unanswered(self) -> None:
        """It is not."""
        self._end(ConnectionBroken(f"{self.peer} answers no pings"))

    def _retire(self) -> None:
        if self.usable:
            self.usable = False
            self._retired(self)

    def _fail_waiting(self, why: str) -> None:
        while self._waiting:
            stream = self._waiting.popleft()
            stream.over = True
            stream.receiver.failed(NotTaken(why))

    def _end(self, error: NetError | None) -> None:
        self._retire()
        self._alive.stop()
        why = f"the connection to {self.peer} closed"
        self._fail_waiting(why)
        while self._streams:
            _, stream = self._streams.popitem()
            stream.over = True
            stream.receiver.failed(error or ConnectionBroken(why))
        self._flush()
        if self.transport is not None:
            self.transport.loseConnection()
        if self._ended is not None:
            ended, self._ended = self._ended, None
            ended(self)

    def makeConnection(self, transport: Any) -> None:
        super().makeConnection(transport)
        if not self.usable:  # its owner gave up before it was made
            transport.loseConnection()

    def logPrefix(self) -> str:
        return "http2"
