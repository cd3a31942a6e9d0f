"""Turns of the reactor, shared fairly where there is more to do than one turn allows."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final

from attrs import define, field
from twisted.internet.interfaces import IDelayedCall, IReactorTime

#: Seconds of one turn of the reactor that go to work which waited; then everybody else is looked at.
SHARE: Final = 0.005
#: The same in pieces of work, for a clock that stands still.
MOST: Final = 64


@define(eq=False)
class Turns:
    """Work that is done one piece after the other, as much of it in each turn as leaves everybody else their time.

    So a client that sends a thousand requests in one packet waits for itself, and nobody waits for it.
    """

    _clock: IReactorTime
    _waiting: deque[Callable[[], object]] = field(factory=deque, init=False)
    _next: IDelayedCall | None = field(default=None, init=False)

    def add(self, work: Callable[[], object]) -> None:
        """Have ``work`` done once, after all that waits already. It must not raise."""
        self._waiting.append(work)
        if self._next is None:
            self._next = self._clock.callLater(0, self._turn)

    def _turn(self) -> None:
        seconds, waiting = self._clock.seconds, self._waiting
        end = seconds() + SHARE
        for _ in range(min(MOST, len(waiting))):
            waiting.popleft()()
            if seconds() >= end:
                break
        self._next = self._clock.callLater(0, self._turn) if waiting else None
