"""Which requests are begun in this turn of the reactor, which wait, and which are told that there are too many.

A request costs most when it is begun: that is what overload is made of. So of those that were read in one turn only
some are begun, and what nodes answer, which is a turn's other work, is always brought home first. The others wait, and
who has waited for too long is refused. So what matters is how long the queue stands, not how many are under way: calls
of slow services take nobody's turn.

A refusal is no gift either: reading the request and writing the answer are a third of a call. So there should be few,
and they are fewest where all wait in order, since who waits asks nothing else meanwhile: of 4,000 callers that ask
again at once each can be refused once in the time that one may wait, less those who are served. Served from the other
end, the few that came last would be served again and again, and all others refused. But where callers do not wait for
as long as we would have them, whoever is served in order has left already: then whoever came last is begun first.
"""

from __future__ import annotations

from collections import deque
from typing import Any, Final, Protocol

from attrs import define, field
from twisted.internet.interfaces import IDelayedCall

#: Requests that are begun in one turn: some milliseconds of work.
AT_ONCE: Final = 32
#: Seconds after which a queue that was not empty stands.
STANDING: Final = 0.1
#: Seconds that a request may wait by default, and refusals in one turn.
PATIENCE: Final = 0.75
REFUSED_AT_ONCE: Final = 128
#: Of those who left while they waited, that are passed over in one turn.
PASSED_AT_ONCE: Final = 1024
#: Callers do not wait where one of so many at the front of the queue has left, of the last so many that were looked at.
IMPATIENT: Final = 4
LOOKED_AT: Final = 512


class WaitingRequest(Protocol):
    """A request that was read and not begun."""

    def begin_late(self) -> bool:
        """Begin it. :returns: whether that was done: its client may have left."""

    def refuse(self, seconds: float) -> bool:
        """Answer that there are too many. :param seconds: how long it waited. :returns: as :meth:`begin_late`."""


@define(eq=False)
class Admission:
    """For the requests of one port.

    :ivar clock: the reactor, whose ``turns`` are counted; where they are not every request is begun at once.
    :ivar patience: seconds that a request may wait.
    :ivar refused: how many were refused. :ivar left: how many left while they waited.
    """

    _clock: Any
    _patience: float = PATIENCE
    refused: int = field(default=0, init=False)
    left: int = field(default=0, init=False)
    _front: list[int] = field(factory=lambda: [0, 0], init=False)  # that stayed, and that had left
    _turn: int = field(default=-1, init=False)
    _begun: int = field(default=0, init=False)
    _counts: bool = field(init=False)
    _waiting: deque[tuple[float, WaitingRequest]] = field(factory=deque, init=False)
    _next: IDelayedCall | None = field(default=None, init=False)

    def __attrs_post_init__(self) -> None:
        self._counts = hasattr(self._clock, "turns")

    def __len__(self) -> int:
        return len(self._waiting)

    def admits(self) -> bool:
        """Whether a request may be begun at once; else :meth:`wait`."""
        if not self._counts:
            return True
        turn = self._clock.turns
        if turn != self._turn:
            self._turn = turn
            self._begun = 0
        self._begun += 1
        return self._begun <= AT_ONCE and not self._waiting

    def stats(self) -> dict[str, int]:
        """What /stats and /metrics show."""
        return {"waiting": len(self._waiting), "refused": self.refused, "left": self.left}

    def wait(self, request: WaitingRequest) -> None:
        """Begin ``request`` in a later turn, or refuse it."""
        self._waiting.append((self._clock.seconds(), request))
        if self._next is None:
            self._next = self._clock.callLater(0, self._take_turn)

    @property
    def _newest_first(self) -> bool:
        stayed, left = self._front
        return (
            left >= AT_ONCE
            and left * IMPATIENT > stayed + left
            and self._clock.seconds() - self._waiting[0][0] > STANDING
        )

    def _take_turn(self) -> None:
        waiting, now = self._waiting, self._clock.seconds()
        try:
            for _ in range(min(REFUSED_AT_ONCE, len(waiting))):
                if now - waiting[0][0] <= self._patience:
                    break
                since, request = waiting.popleft()
                there = request.refuse(now - since)
                self.refused += there
                self._note(there)
            begun, newest_first = 0, bool(waiting) and self._newest_first
            for _ in range(min(PASSED_AT_ONCE, len(waiting))):
                if begun == AT_ONCE:
                    break
                begun += 1  # one that fails was begun, too
                if newest_first:
                    waiting.pop()[1].begin_late()
                elif not self._note(waiting.popleft()[1].begin_late()):
                    begun -= 1
        finally:
            self._next = self._clock.callLater(0, self._take_turn) if waiting else None
            if not waiting:
                self._front = [0, 0]

    def _note(self, there: bool) -> bool:
        """Note whether one at the front of the queue was still there. :returns: that."""
        front = self._front
        front[not there] += 1
        self.left += not there
        if front[0] + front[1] >= LOOKED_AT:
            front[0] //= 2
            front[1] //= 2
        return there
