"""One WebSocket: Autobahn's protocol, with the plain case of both directions on a shorter way.

Autobahn does the opening and closing handshakes, control frames, fragments, and judges whatever is unusual. Whole
messages in one frame, nearly all that ever comes, are cut from the stream here (:mod:`sidecar.wire.ws.frames`):
Autobahn copies the rest of its buffer for each frame, and takes a dozen calls a message. Frames to subscribers are made
once for all of them, so they are written to the transport as they are.
"""

from __future__ import annotations

from typing import Any, Protocol

from autobahn.twisted.websocket import WebSocketServerProtocol
from autobahn.websocket.types import ConnectionDeny, ConnectionRequest
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IPushProducer, IReactorTime
from twisted.internet.protocol import connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from txaio import tx
from zope.interface import implementer

from sidecar.wire import faults
from sidecar.wire.messages import is_text
from sidecar.wire.ws import frames

_log = Logger()

#: RFC 6455, 7.4.1
PROTOCOL_ERROR = 1002
INVALID_PAYLOAD = 1007
TRY_AGAIN = 1013

#: Frames of one connection that are looked at in one turn of the reactor, about a millisecond of work.
AT_ONCE = 64

#: Seconds from the first frame of a closing to its end, by force if need be.
CLOSE_PATIENCE = 5.0


class Session(Protocol):
    """What a connection is for."""

    def begin(self) -> Deferred[None]:
        """Get ready; the handshake is answered when this fires, or refused when it fails."""

    def opened(self, connection: WebSocketConnection) -> None:
        """The handshake is done."""

    def received(self, payload: bytes, binary: bool) -> None:
        """A message came."""

    def ended(self) -> None:
        """The connection is gone. Called once, whether it was ever open or not."""

    def refusal(self, error: BaseException) -> tuple[int, bytes]:
        """:returns: HTTP status and JSON body for what :meth:`begin` failed with."""


#: What we choose of the subprotocols that a client offers.
SUBPROTOCOL = "micro"


@implementer(IPushProducer)
class WebSocketConnection(WebSocketServerProtocol):
    """One WebSocket, on the transport of the HTTP request that asked for it.

    :ivar alive: False once the connection is gone. :ivar received: something came since this was last set to False.
    :ivar paused: we do not read, so nothing can come. :ivar incomplete: bytes of a message that has not come whole.
    """

    # Lines about every refused frame are the peer's doing, at the peer's rate: they are not for our log.
    log = tx.make_logger(level="critical")

    transport: Any  # whatever carried the HTTP request
    alive = True
    received = True
    paused = False
    _sending_paused = False  # the peer does not take what we send
    _unanswered: bytes | None = None  # the last ping that came meanwhile
    _producer: IPushProducer | None = None
    _closing: IDelayedCall | None = None
    _denied: BaseException | None = None
    _missing = 0
    _unread = b""  # came in one piece with more frames than one turn has time for
    incomplete = 0
    _within = 0  # of that, what Autobahn has

    def __init__(self, session: Session, clock: IReactorTime, max_message: int) -> None:
        super().__init__()
        self._session = session
        self._clock = clock
        self._max_message = max_message
        self._rest = bytearray()  # of a frame that has not come whole

    # --- Opening ----------------------------------------------------------------------------------------------------

    def onConnect(self, request: ConnectionRequest) -> Any:  # a Deferred, which Autobahn's annotation forgets
        # Of all subprotocols that a client may offer one is ours; in the others a browser can show a token.
        chosen = SUBPROTOCOL if SUBPROTOCOL in request.protocols else None
        return self._session.begin().addCallbacks(lambda _: chosen, self._deny)

    def _deny(self, failure: Failure) -> None:
        self._denied = failure.value
        raise ConnectionDeny(503, "refused")

    def sendHttpErrorResponse(self, code: int, reason: str, responseHeaders: Any = None) -> None:
        """Say why, in the JSON of all our errors."""
        if not self.alive:
            return  # nobody is left to read it
        if self._denied is None:
            super().sendHttpErrorResponse(code, reason, responseHeaders)
            return
        status, body = self._session.refusal(self._denied)
        reason = faults.reason(status)
        self.sendData(
            b"HTTP/1.1 %d %b\r\nConnection: close\r\n"
            b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"
            % (status, reason.encode("ascii"), len(body), body)
        )

    def onOpen(self) -> None:
        # Nobody asks for these again, and a connection may be idle for days.
        self.http_request_data, self.http_response_data, self.http_headers = b"", "", {}
        self._session.opened(self)

    def set_producer(self, producer: IPushProducer) -> None:
        """Have ``producer`` told to pause and to resume as the peer takes what we send."""
        self._producer = producer
        self.transport.unregisterProducer()  # the HTTP channel, which is done
        self.transport.registerProducer(self, True)

    # --- Receiving --------------------------------------------------------------------------------------------------

    def dataReceived(self, data: bytes) -> None:
        self.received = True
        self._take(data)
        if self.state != self.STATE_OPEN:
            return
        # Autobahn keeps the frames of a message, and of a frame what has come of it, without saying how much that is.
        within = self.current_frame is not None or self.inside_message or self.data
        incomplete = len(self._rest) + (self._within + len(data) if within else 0)
        self._within = incomplete - len(self._rest)
        if incomplete or self.incomplete:
            self.incomplete = incomplete
            self.factory.incomplete(self)

    def _take(self, data: bytes) -> None:
        if self._unread:
            self._unread += data
        elif self.state not in (self.STATE_OPEN, self.STATE_CLOSING):
            super().dataReceived(data)
        elif self.current_frame is not None or self.data:
            super().dataReceived(data)  # Autobahn is in the middle of a frame
        elif self._missing > len(data):
            self._missing -= len(data)
            self._rest += data
        else:
            if self._rest:
                self._rest += data
                data = bytes(self._rest)
                self._rest = bytearray()
            self._cut(data)

    def _cut(self, data: bytes) -> None:
        cuttings, rest, missing = frames.cut(data, self._max_message, AT_ONCE)
        for first, payload in cuttings:
            if first == frames.OTHER:
                super().dataReceived(payload)
            elif self.failedByMe or self.state == self.STATE_CLOSED:
                continue
            elif self.inside_message:
                self.fail(PROTOCOL_ERROR, "a new message inside a fragmented one")
            elif first == frames.WHOLE_TEXT and not is_text(payload):
                self.fail(INVALID_PAYLOAD, "a text message that is not UTF-8")
            else:
                self._session.received(payload, first == frames.WHOLE_BINARY)
        if rest and len(cuttings) == AT_ONCE:
            self._unread = rest
            self.transport.pauseProducing()
            self.factory.turns.add(self.continue_reading)
            missing = 0
        elif missing < 0:
            super().dataReceived(rest)  # to be refused
        elif rest:
            self._rest += rest
        self._missing = max(0, missing)

    def continue_reading(self) -> None:
        """It is our turn again: look at some more of what came."""
        unread, self._unread = self._unread, b""
        if self.alive and unread:
            try:
                self.dataReceived(unread)
            except Exception:  # as the reactor does with whatever a protocol raises
                _log.failure("A WebSocket failed")
                self.abort()
        if self.alive and not self._unread and not self.paused:
            self.transport.resumeProducing()

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        """A message that came in fragments."""
        self._session.received(payload, isBinary)

    def onPing(self, payload: bytes) -> None:
        # RFC 6455, 5.5.3: of several pings the last may be answered alone. A peer that pings and does not read what we
        # send would have us pile up pongs.
        if self._sending_paused:
            self._unanswered = payload
        else:
            self.sendPong(payload)

    def pause(self, paused: bool) -> None:
        """Read nothing more for a while, or go on."""
        self.paused = paused
        if paused:
            self.transport.pauseProducing()
        elif not self._unread:
            self.transport.resumeProducing()

    # --- Sending ----------------------------------------------------------------------------------------------------

    def send(self, data: bytes) -> None:
        """Write whole frames."""
        if self.state == self.STATE_OPEN:
            self.transport.write(data)

    def pauseProducing(self) -> None:
        self._sending_paused = True
        if self._producer is not None:
            self._producer.pauseProducing()

    def resumeProducing(self) -> None:
        self._sending_paused = False
        if self._unanswered is not None:
            self.sendPong(self._unanswered)
            self._unanswered = None
        if self._producer is not None:
            self._producer.resumeProducing()

    def stopProducing(self) -> None:
        if self._producer is not None:
            self._producer.stopProducing()

    # --- Closing ----------------------------------------------------------------------------------------------------

    def close(self, code: int, reason: str) -> None:
        """Close from our side, in good order where the connection is open."""
        if self.state == self.STATE_CONNECTING:
            self.abort()
        else:
            self.sendCloseFrame(code, reason.encode("utf-8")[:123])

    def fail(self, code: int, reason: str) -> None:
        """Close, and take nothing more from the peer."""
        self.failedByMe = True
        self.close(code, reason)

    def sendCloseFrame(self, *args: Any, **kwargs: Any) -> None:
        super().sendCloseFrame(*args, **kwargs)
        self._set_close_deadline()

    def dropConnection(self, abort: bool = False) -> None:
        # After a proper closing handshake Autobahn would reset the connection; a peer should see it end in good order.
        super().dropConnection(abort and not self.wasClean)
        self._set_close_deadline()

    def shed(self) -> None:
        """What has come of a message is too much for all WebSockets, or all peers, together: close at once, saying so
        where the peer reads it, and let go of it."""
        self.fail(TRY_AGAIN, "too many messages of all clients have not come whole; send this one again")
        self._rest = bytearray()
        self.factory.shed(self)
        if self.alive:
            self.transport.loseConnection()

    def abort(self) -> None:
        """Drop the connection, whatever still waits on it."""
        if self.alive:
            self.transport.abortConnection()

    def _set_close_deadline(self) -> None:
        """Send nothing more. A peer that neither answers nor reads holds the connection no longer than this."""
        self.stopProducing()
        if self._closing is None and self.alive:
            self._closing = self._clock.callLater(CLOSE_PATIENCE, self.abort)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.alive = False
        self._unread = b""
        if self._closing is not None and self._closing.active():
            self._closing.cancel()
        self._rest = bytearray()
        super().connectionLost(reason)
        self.factory.gone(self)
        self._session.ended()
