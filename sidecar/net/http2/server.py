"""The serving side of HTTP/2 without TLS, for unary exchanges."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any, Final

import h2.errors
import h2.events
import h2.exceptions
from twisted.internet.interfaces import IPushProducer
from twisted.internet.protocol import Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from sidecar.net.http.connection import NEVER
from sidecar.net.http.server import Host
from sidecar.net.http.states import CLIENT_SLOW, NEXT_TURN
from sidecar.net.http2.exchanges import Exchanges
from sidecar.net.http2.floods import FloodMeter, Kind
from sidecar.net.http2.pieces import Http2Answer, Refuse, Serve
from sidecar.net.http2.state import ServerState
from sidecar.net.peers import PeerUse

#: Bytes that are looked at in one go: the smallest frames there are, five hundred, take ten milliseconds.
SLICE: Final = 4 * 1024

#: Seconds between two looks at how the open exchanges do.
LOOK: Final = 1.0

#: What a peer is answered that has too much under way: gRPC's way to say 503.
_UNAVAILABLE: Final = (
    (":status", "200"),
    ("content-type", "application/grpc"),
    ("retry-after", "1"),
    ("grpc-status", "14"),
)

#: What costs us more than its sender.
_FLOODS: Final[dict[type[h2.events.Event], Kind]] = {
    h2.events.StreamReset: "resets",
    h2.events.PingReceived: "control frames",
    h2.events.RemoteSettingsChanged: "control frames",
    h2.events.SettingsAcknowledged: "control frames",
    h2.events.PriorityUpdated: "control frames",
    h2.events.WindowUpdated: "control frames",
    h2.events.UnknownFrameReceived: "control frames",
    h2.events.PingAckReceived: "control frames",
    h2.events.AlternativeServiceAvailable: "control frames",
}


@implementer(IPushProducer)
class Http2ServerConnection(Protocol):
    """One peer's connection: many exchanges, each answered when it is ready.

    It is one of the connections of its site, by whose limits it lives, which counts its exchanges and their bytes, and
    drains it.

    :ivar deadline: when the site's sweep is to call :meth:`timed_out`, by its ``now``.
    """

    log = Logger()
    transport: Any
    deadline = NEVER

    def __init__(
        self,
        site: Host,
        serve: Serve,
        max_body: int,
        refuse: Refuse | None = None,
        overloaded: Callable[[dict[str, str]], Http2Answer] | None = None,
    ) -> None:
        """:param max_body: bytes of the largest request.
        :param refuse: asked about requests that have not ended, None where all are waited for.
        :param overloaded: answers a request that waited for too long to be served; None resets it."""
        self._site = site
        self._h2 = ServerState(max(64 * 1024, site.limits.max_header))
        self._meter = FloodMeter(site.now)
        self._exchanges = Exchanges(
            site, self._h2, self._meter, serve, max_body, refuse, self._flush, self._ended, overloaded
        )
        self._state = "open"  # then "leaving", when no new exchange is taken, then "closed"
        self._last = 0  # the last stream that is taken, once it is leaving
        self._flow = 0  # why what comes is not looked at: bits of net.http.states
        self._held = b""
        self._use: PeerUse | None = None  # what the peer has, where it may not have all

    # --- Twisted's side ---------------------------------------------------------------------------------------------

    def connectionMade(self) -> None:
        site = self._site
        use = self._use = site.opened(self)
        self.deadline = site.now + site.limits.header_timeout
        self.transport.registerProducer(self, True)
        self._h2.initiate_connection()
        self._flush()
        if site.full:  # the reserve is for those who ask once, which HTTP/2 is not for
            self._give_up("too many connections are open")
        elif use is not None and use.count("connections") > use.shares.connections:
            self._give_up(use.problem("connections"))

    def dataReceived(self, data: bytes) -> None:
        if self._state == "closed":
            return
        if self._flow:
            self._held += data
        else:
            self._read(data)

    def _read(self, data: bytes) -> None:
        """Look at a slice of it, and have the rest wait for its turn."""
        part, self._held = data[:SLICE], data[SLICE:]
        try:
            events = self._h2.receive_data(part)
        except h2.exceptions.ProtocolError:
            self._close()
            return
        for event in events:
            if self._state == "closed":
                return
            self._happened(event)
        self._exchanges.judge_unended()
        self._flush()
        if self._held:
            self._stop_reading(NEXT_TURN)
            self._site.later(self)

    def continue_reading(self) -> None:
        self._go_on(NEXT_TURN)

    def pauseProducing(self) -> None:
        """The peer does not take what we send: nothing more of what it asks is looked at."""
        self._stop_reading(CLIENT_SLOW)
        self.deadline = min(self.deadline, self._site.now + self._site.limits.idle_timeout)

    def resumeProducing(self) -> None:
        self._await_more()
        self._go_on(CLIENT_SLOW)

    def stopProducing(self) -> None:
        """The connection is lost; we are told of that too."""

    def _stop_reading(self, why: int) -> None:
        if not self._flow:
            self.transport.pauseProducing()
        self._flow |= why

    def _go_on(self, why: int) -> None:
        before, self._flow = self._flow, self._flow & ~why
        if self._flow or not before or self._state == "closed":
            return
        self.transport.resumeProducing()
        if self._held:
            held, self._held = self._held, b""
            self._read(held)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._state = "closed"
        self.deadline = NEVER
        self._held = b""
        self._site.closed(self)
        self._exchanges.end_all()

    # --- Leaving ------------------------------------------------------------------------------------------------------

    @property
    def idle(self) -> bool:
        """Whether nothing is asked that has no answer yet."""
        return self._state == "open" and not self._exchanges

    def close_if_idle(self) -> None:
        """Take nothing new; what is under way is still answered."""
        if self._state == "open":
            self._state = "leaving"
            self._last = self._h2.highest_inbound_stream_id
            self._h2.say_goodbye()
            self._flush()
            self._leave_if_done()

    def _leave_if_done(self) -> None:
        if self._state == "leaving" and not self._exchanges:
            self._close()

    def _close(self) -> None:
        """Close after what was written; the exchanges that are open end without an answer."""
        self._flush()
        self._state = "closed"
        self._held = b""
        self.deadline = self._site.now + self._site.limits.linger
        self.transport.unregisterProducer()
        self.transport.loseConnection()
        self._exchanges.end_all()

    def _give_up(self, why: str) -> None:
        """The peer asks for more than one connection may."""
        self.log.info("A connection over HTTP/2 is closed: {why}", why=why)
        self._h2.close_connection(h2.errors.ErrorCodes.ENHANCE_YOUR_CALM, why.encode("utf-8"))
        self._close()

    def timed_out(self) -> None:
        """Called by the site when the deadline has passed."""
        if self._state == "closed" or self._flow & CLIENT_SLOW:
            self.deadline = NEVER
            self.transport.abortConnection()
            return
        if not self._exchanges:
            self.close_if_idle()
            return
        self._exchanges.look()
        self._flush()
        self._await_more()

    def _await_more(self) -> None:
        if self._state != "closed":
            self.deadline = self._site.now + (LOOK if self._exchanges else self._site.limits.idle_timeout)

    # --- What the peer says -----------------------------------------------------------------------------------------

    def _happened(self, event: h2.events.Event) -> None:
        kind = _FLOODS.get(type(event))
        if kind is None and isinstance(event, h2.events.DataReceived) and not event.data and not event.stream_ended:
            kind = "empty frames"
        if kind is not None and not self._meter.admits(kind, self._site.now):
            self._give_up(f"too many {kind}")
        elif isinstance(event, h2.events.RequestReceived):
            self._begin(event)
        elif isinstance(event, h2.events.DataReceived):
            self._exchanges.took(event)
        elif isinstance(event, h2.events.StreamEnded):
            self._exchanges.complete(event.stream_id)
        elif isinstance(event, h2.events.StreamReset):
            self._exchanges.end(event.stream_id)
        elif isinstance(event, h2.events.WindowUpdated):
            self._exchanges.widened(event.stream_id or 0)
        elif isinstance(event, h2.events.ConnectionTerminated) and self._state == "open":
            self._state = "leaving"
            self._last = self._h2.highest_inbound_stream_id
            self._leave_if_done()

    def _begin(self, event: h2.events.RequestReceived) -> None:
        id = event.stream_id
        if self._state == "leaving" and id > self._last:
            self._h2.reset_stream(
                id, h2.errors.ErrorCodes.REFUSED_STREAM
            )  # by which the peer knows that it may be tried elsewhere
            return
        if self._use is not None:
            problem = self._use.problem("requests")
            if problem:
                self._h2.send_headers(id, [*_UNAVAILABLE, ("grpc-message", problem)], end_stream=True)
                with contextlib.suppress(h2.exceptions.ProtocolError):  # the request has ended, so the stream is over
                    self._h2.reset_stream(id, h2.errors.ErrorCodes.NO_ERROR)
                return
            self._use.take("requests")
        self._exchanges.begin(event)
        self._await_more()

    def _ended(self) -> None:
        """An exchange is over."""
        if self._use is not None:
            self._use.release("requests")
        if not self._exchanges:
            self._await_more()
            self._leave_if_done()

    def _flush(self) -> None:
        data = self._h2.data_to_send()
        if data and self.transport is not None and self._state != "closed":
            self.transport.write(data)
