"""All requests whose answers take as long as their callers like: how many there may be, and how they end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from twisted.application import service
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from sidecar.errors import Overloaded, ShuttingDown
from sidecar.net.memory import MemoryBudget
from sidecar.net.peers import PeerUse, use_of
from sidecar.net.reactor.turns import Turns
from sidecar.web.events.stream import EventStream
from sidecar.web.requests import requestids
from sidecar.web.response import Request, tell
from sidecar.wire import events

#: Seconds between two signs of life.
HEARTBEAT: Final = 15.0
#: Seconds by which one may come early, so that many go out by one timer.
_EARLY: Final = 1.0
#: Streams that are written to in one turn of the reactor.
_AT_ONCE: Final = 512

_HEAD: Final = (
    b"Content-Type: text/event-stream; charset=utf-8\r\nCache-Control: no-store\r\n"
    b"X-Accel-Buffering: no\r\n"  # nginx would keep events until it has enough of them
)


class LongAnswers(service.Service):
    """Counts them, shows each reader of a stream that we are there, and ends them all in good order when it is stopped.

    They are subscriptions: together with the WebSockets there may be as many as there may be of these.

    :ivar refused: how many were refused since there were too many.
    :ivar slow: how many readers of events were cut off since they did not read.
    """

    log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        most: int = 10_000,
        others: Callable[[], int] = lambda: 0,
        heartbeat: float = HEARTBEAT,
        budget: MemoryBudget | None = None,
    ) -> None:
        """:param most: how many there may be, others included. :param others: how many of those there are.
        :param heartbeat: seconds between two signs of life.
        :param budget: told of what waits for readers, None for nobody."""
        self.budget = budget
        self._clock = clock
        self._most = most
        self._others = others
        self._heartbeat = heartbeat
        self._ends: dict[object, Callable[[], None]] = {}
        self._uses: dict[object, PeerUse] = {}  # of peers that may not have all
        self._gone: dict[EventStream, Callable[[], None]] = {}
        self._due: dict[EventStream, float] = {}  # in the order of time, since all wait equally long
        self._timer: IDelayedCall | None = None
        self._turns = Turns(clock)
        self._stopping = False
        self.refused = self.slow = 0

    @property
    def open(self) -> int:
        """How many there are."""
        return len(self._ends) + len(self._gone)

    def admit(self, request: Any) -> None:
        """See whether there may be one more, for ``request``.

        :raises Overloaded: there are too many, or its peer has too many. :raises ShuttingDown: we are leaving.
        """
        if self._stopping:
            raise ShuttingDown("the sidecar is stopping: ask again when it is back")
        there = self.open + self._others()
        if there >= self._most:
            self.refused += 1
            raise Overloaded(
                f"{there} subscriptions are open, which is the limit (--broker_max_connections): try again later"
            )
        use = use_of(request)
        problem = "" if use is None else use.problem("subscriptions")
        if problem:
            self.refused += 1
            raise Overloaded(problem)

    # --- Requests that wait -----------------------------------------------------------------------------------------

    def add(self, waiting: object, end: Callable[[], None], request: Any) -> None:
        """Count a request that waits. :param end: called when it shall be answered, since we are leaving.
        :param request: the one that does.

        :raises Overloaded: as :meth:`admit`. :raises ShuttingDown: likewise."""
        self.admit(request)
        self._ends[waiting] = end
        self._take(waiting, request)

    def remove(self, waiting: object) -> None:
        """It waits no more."""
        self._ends.pop(waiting, None)
        self._release(waiting)

    def _take(self, lasting: object, request: Any) -> None:
        use = use_of(request)
        if use is not None:
            use.take("subscriptions")
            self._uses[lasting] = use

    def _release(self, lasting: object) -> None:
        use = self._uses.pop(lasting, None)
        if use is not None:
            use.release("subscriptions")

    # --- Streams ----------------------------------------------------------------------------------------------------

    def stream(self, request: Request, gone: Callable[[], None], headers: bytes = b"") -> EventStream:
        """Begin to answer ``request`` with events.

        :param gone: called once when the stream is over, whoever ended it. A HEAD's is over at once.
        :param headers: lines to say besides.
        :raises Overloaded: as :meth:`admit`. :raises ShuttingDown: likewise.
        """
        self.admit(request)
        answer: Any = request
        answer.begin(200, _HEAD + headers + requestids.line(request))
        tell(request, 200, 0)
        answer.count_begun()
        stream = EventStream(answer, self)
        self._gone[stream] = gone
        self._take(stream, request)
        if request.method == b"HEAD":
            stream.end()
            return stream
        self._due[stream] = self._clock.seconds() + self._heartbeat
        if self._timer is None:
            self._timer = self._clock.callLater(self._heartbeat, self._beat)
        return stream

    def stream_gone(self, stream: EventStream, slow: bool) -> None:
        if slow:
            self.slow += 1
            self.log.info("A reader of events was cut off: too much waited for it ({slow} so far)", slow=self.slow)
        self._due.pop(stream, None)
        self._release(stream)
        gone = self._gone.pop(stream, None)
        if gone is not None:
            gone()

    def later(self, work: Callable[[], object]) -> None:
        self._turns.add(work)

    def _beat(self) -> None:
        now = self._clock.seconds()
        due: list[EventStream] = []
        for stream, when in self._due.items():
            if when > now + _EARLY or len(due) == _AT_ONCE:
                break
            due.append(stream)
        for stream in due:
            del self._due[stream]
            self._due[stream] = now + self._heartbeat
            stream.heartbeat(events.HEARTBEAT)
        first = next(iter(self._due.values()), None)
        self._timer = None if first is None else self._clock.callLater(max(0.0, first - now), self._beat)

    # --- Life -------------------------------------------------------------------------------------------------------

    def startService(self) -> None:
        super().startService()
        self._stopping = False

    def stopService(self) -> None:
        """Answer all that wait, and end all streams."""
        super().stopService()
        self._stopping = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for end in list(self._ends.values()):
            end()
        for stream in list(self._gone):
            stream.end()
