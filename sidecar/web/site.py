"""The HTTP server: twisted.web's Site over our channel (or its own), with limits, counts and a drain."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any, Literal

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress, IDelayedCall, IReactorTime
from twisted.python.failure import Failure
from twisted.web import http, resource, server

from sidecar import problems
from sidecar.model import Fault
from sidecar.net.http.channel import HTTPChannel
from sidecar.net.http.head import header_block
from sidecar.net.http.limits import HTTPLimits
from sidecar.net.http.server import Connection, Recorder
from sidecar.net.http.twistedweb import TwistedWebRequest
from sidecar.net.memory import MOST, MemoryBudget
from sidecar.net.peers import Peers, PeerUse, is_loopback
from sidecar.net.reactor.admission import Admission
from sidecar.net.reactor.turns import Turns
from sidecar.net.shares.channel import LimitedChannel
from sidecar.waiting import wall
from sidecar.web.requests.accesslog import AccessLog, AccessMode
from sidecar.web.requests.requestids import RequestIds
from sidecar.web.requests.traces import Traces
from sidecar.web.response import of_problem
from sidecar.wire import faults

#: Seconds between two looks at the deadlines of all connections. Limits are kept this exactly.
SWEEP = 0.25

#: Seconds that idle connections stay open once we drain: a request may be on its way on one of them.
LAST_CALL = 0.1

#: Of so many connections one more is kept in reserve for newcomers, each of whom asks once...
RESERVED_OF = 32
#: ...and this many at most.
RESERVE = 256

#: Connections beyond these that are told so; more are just closed.
TOLD_AT_ONCE = 256

#: Idle connections that make room at once for new ones: who looks for one looks through all.
CLOSED_AT_ONCE = 64

_JSON = b"Content-Type: application/json\r\n"


class SidecarSite(server.Site):
    """Serves a resource tree.

    :ivar in_flight: requests whose header is complete and whose answer is not.
    :ivar draining: answers are going out with ``Connection: close``.
    :ivar full: the connection cap is reached; a channel that is made now is one of the reserve.
    :ivar crowded: that is used up too; a channel that is made now says so and closes.
    """

    noisy = False  # ports and factories are told of in a line of ours

    def __init__(
        self,
        resource: Any,
        clock: IReactorTime,
        limits: HTTPLimits,
        channel: Literal["fast", "stock"] = "fast",
        recorder: Recorder | None = None,
        access: AccessMode = "off",
        lasting: Callable[[], int] = lambda: 0,
        budget: MemoryBudget | None = None,
    ) -> None:
        """:param recorder: told the status and the seconds of each answer; of a WebSocket, 101 when it opens.
        :param access: which answers the access log tells of.
        :param lasting: how many answers last as long as their callers like: they have a limit of their own, and like
        WebSockets take nobody the place of a connection.
        :param budget: what may be kept for all peers together, of other ports too."""
        super().__init__(resource, TwistedWebRequest, reactor=clock, timeout=limits.idle_timeout)
        self.clock = clock
        self.limits = limits
        self.recorder = recorder
        self._lasting = lasting
        self.request_ids = RequestIds()
        self.traces = Traces(Random())
        self.access_log = None if access == "off" else AccessLog(access)
        self.in_flight = 0
        self.admission = Admission(clock, limits.queue_timeout)
        self.overloaded = self.refusal(
            503, f"more is asked than can be answered: this waited for {limits.queue_timeout:g} s (--queue_timeout)"
        )
        self.budget = budget or MemoryBudget(MOST, clock.seconds)
        self.draining = False
        self.full = self.crowded = False
        self._peers = Peers(limits.shares)
        self._uses: dict[Any, PeerUse] = {}  # by channel, of peers that may not have all
        self.now = clock.seconds()
        self.preamble = b""
        self._fast = channel == "fast"
        self._turns = Turns(clock)
        self._channels: set[Any] = set()
        self._leaving: set[Any] = set()  # idle ones that make room, and are not gone yet
        self._sweeping: IDelayedCall | None = None
        self._last_call: Any = None  # while draining: when idle connections are closed
        self._drained: list[Deferred[None]] = []

    @property
    def under_way(self) -> int:
        """Requests that are being answered and will be soon: those that last as long as their callers like left out."""
        return self.in_flight - self._lasting()

    @property
    def connections(self) -> int:
        """How many are open; WebSockets are not ours any more."""
        return len(self._channels)

    def buildProtocol(self, addr: IAddress | None) -> Any:
        if not self._fast:
            return super().buildProtocol(addr)
        if not self.admits():
            return None
        free = not self.full and is_loopback(getattr(addr, "host", None))
        return HTTPChannel(self) if free else LimitedChannel(self)

    def admits(self) -> bool:
        """Whether one more connection is taken.

        Where there are too many (``full``) it is one of a reserve for newcomers, and where that is used up
        (``crowded``) it is told so, unless even those that are being told so are too many."""
        most = self.limits.max_connections + self._lasting()
        reserve = min(self.limits.max_connections // RESERVED_OF, RESERVE)
        if len(self._channels) - len(self._leaving) >= most:
            self._close_idlest()
        there = len(self._channels) - len(self._leaving)
        self.full, self.crowded = there >= most, there >= most + reserve
        if there >= most + reserve + TOLD_AT_ONCE:
            self._cut_closing()
        return len(self._channels) - len(self._leaving) < most + reserve + TOLD_AT_ONCE

    def _close_idlest(self) -> None:
        """Close some of the connections that idle for longest, of the peer that has most of them.

        So one client that opens all that there may be keeps nobody out.
        """
        idle: dict[object, list[Any]] = {}
        for channel in self._channels:
            if channel.idle and channel not in self._leaving:
                idle.setdefault(getattr(channel.transport.getPeer(), "host", None), []).append(channel)
        most = max(idle.values(), key=len, default=[])
        # All idle for the same time, so who ends first began first. Who has just come may have asked already: that is
        # read in the next turn, so these are last.
        new = self.now + self.limits.header_timeout
        most.sort(key=lambda channel: (new - 2 * SWEEP < channel.deadline <= new, channel.deadline))
        for channel in most[:CLOSED_AT_ONCE]:
            self._leaving.add(channel)
            channel.close_if_idle()
        if not most:
            self._close_begun()

    def _close_begun(self) -> None:
        """Where nobody idles, the same for those that have sent a part of a request and no more."""
        waiting = sorted((channel for channel in self._channels - self._leaving), key=lambda channel: channel.deadline)
        closed = 0
        for channel in waiting:
            if closed == CLOSED_AT_ONCE:
                break
            if getattr(channel, "close_if_begun", bool)():
                self._leaving.add(channel)
                closed += 1

    def _cut_closing(self) -> None:
        """Cut those that were told for longest that there are too many and have not left, or else who has not asked."""
        waiting = [
            (order, channel)
            for channel in self._channels - self._leaving
            if isinstance(channel, LimitedChannel) and (order := channel.gone_next) is not None
        ]
        for _, channel in sorted(waiting, key=lambda each: each[0])[:CLOSED_AT_ONCE]:
            self._leaving.add(channel)
            channel.abort()

    # --- What channels tell and ask ---------------------------------------------------------------------------------

    def opened(self, channel: Connection) -> PeerUse | None:
        self._channels.add(channel)
        use = self._peers.of(channel.transport)
        if use is not None:
            use.take("connections")
            self._uses[channel] = use
        if self._sweeping is None:
            self._tick()
            self._sweeping = self.clock.callLater(SWEEP, self._sweep)
        return use

    def later(self, channel: Connection) -> None:
        self._turns.add(channel.continue_reading)

    def closed(self, channel: Connection) -> None:
        self._channels.discard(channel)
        self._leaving.discard(channel)
        use = self._uses.pop(channel, None)
        if use is not None:
            use.release("connections")
        if not self._channels and self._sweeping is not None:
            self._sweeping.cancel()
            self._sweeping = None

    def answered(self) -> None:
        """A request has ended, while we drain (stock requests tell always)."""
        if self._last_call is not None and not self._last_call.active() and not self.in_flight:
            waiting, self._drained = self._drained, []
            for one in waiting:
                one.callback(None)

    def refusal(self, status: int, detail: str) -> tuple[bytes, bytes]:
        """The header lines and the body that tell a client why its request is not taken."""
        headers = _JSON + b"Retry-After: %d\r\n" % problems.RETRY_AFTER if status == 503 else _JSON
        return headers, b"%b\n" % faults.encode(Fault(problems.SIDECAR, status, detail, faults.reason(status)))

    def failed(self, reason: Failure) -> tuple[int, bytes, bytes]:
        """The status, header lines and body that a resource's failure becomes; what is unexpected is logged."""
        assert reason.value is not None
        answer = of_problem(problems.problem(reason.value))
        return answer.status, header_block(answer.headers), answer.body

    # --- Time -------------------------------------------------------------------------------------------------------

    def _tick(self) -> None:
        self.now = self.clock.seconds()
        self.preamble = b"Server: microsidecar\r\nDate: %b\r\n" % http.datetimeToString(wall(self.clock))

    def _sweep(self) -> None:
        """One timer for all connections: a timer each would cost every request two heap operations."""
        self._sweeping = None
        self._tick()
        now = self.now
        for channel in [channel for channel in self._channels if channel.deadline <= now]:
            channel.timed_out()
        if self._channels:
            self._sweeping = self.clock.callLater(SWEEP, self._sweep)

    # --- Leaving ----------------------------------------------------------------------------------------------------

    def drain(self, patience: float) -> Deferred[None]:
        """Let the calls in flight finish: their answers close their connections, and idle connections are closed.

        :param patience: seconds to wait at most.
        :returns: fires when none is in flight or patience is over.
        """
        self.draining = True
        drained: Deferred[None] = Deferred()
        self._drained.append(drained)
        if self._last_call is None:
            self._last_call = self.clock.callLater(LAST_CALL, self._close_idle)
        return drained.addTimeout(patience, self.clock, onTimeoutCancel=lambda _, __: None)

    def _close_idle(self) -> None:
        for channel in list(self._channels):
            channel.close_if_idle()
        self.answered()

    # --- Site's own, made lean --------------------------------------------------------------------------------------

    def getResourceFor(self, request: Any) -> Any:
        request.site = self
        request.sitepath = []  # a copy of prepath, which is empty here
        return resource.getChildForRequest(self.resource, request)

    def startFactory(self) -> None:
        """No access log, so none of its clockwork either: the log would cost more than the answer."""

    def stopFactory(self) -> None:
        """Nothing to undo either."""

    def acceptableProtocols(self) -> list[bytes]:
        """What TLS may negotiate: twisted.web would offer HTTP/2 where its library is installed."""
        return [b"http/1.1"]

    def log(self, request: Any) -> None:
        """No line per request."""
