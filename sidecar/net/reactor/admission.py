"""Which requests are begun in this turn of the reactor, which wait, and which are told that there are too many.

A request costs most when it is begun: that is what overload is made of, while reading one costs a fifth, and an early
refusal a tenth. So of those that were read in one turn only some are begun, and what nodes answer, which is a turn's
other work, is always brought home first. The others wait. A queue that is empty again soon is a burst, and is served in
order. One that stands is overload: then whoever came last is begun first, who has a caller that still waits, and who
has waited for too long is refused. So what matters is how long the queue stands, not how many are under way: calls of
slow services take nobody's turn.
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


class WaitingRequest(Protocol):
    """A request that was read and not begun."""

    def begin_late(self) -> None:
        """Begin it, unless its client has left."""

    def refuse(self, seconds: float) -> None:
        """Answer that there are too many. :param seconds: how long it waited."""


@define(eq=False)
class Admission:
    """For the requests of one port.

    :ivar clock: the reactor, whose ``turns`` are counted; where they are not every request is begun at once.
    :ivar patience: seconds that a request may wait.
    :ivar refused: how many were refused.
    """

    _clock: Any
    _patience: float = PATIENCE
    refused: int = field(default=0, init=False)
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
        return {"waiting": len(self._waiting), "refused": self.refused}

    def wait(self, request: WaitingRequest) -> None:
        """Begin ``request`` in a later turn, or refuse it."""
        self._waiting.append((self._clock.seconds(), request))
        if self._next is None:
            self._next = self._clock.callLater(0, self._take_turn)

    def _take_turn(self) -> None:
        waiting, now = self._waiting, self._clock.seconds()
        try:
            for _ in range(min(REFUSED_AT_ONCE, len(waiting))):
                if now - waiting[0][0] <= self._patience:
                    break
                since, request = waiting.popleft()
                self.refused += 1
                request.refuse(now - since)
            take = waiting.pop if waiting and now - waiting[0][0] > STANDING else waiting.popleft
            for _ in range(min(AT_ONCE, len(waiting))):
                take()[1].begin_late()
        finally:
            self._next = self._clock.callLater(0, self._take_turn) if waiting else None
