"""Turns of the reactor, shared fairly among connections that have more to do than one turn allows."""

from __future__ import annotations

from collections import deque
from typing import Final, Protocol

from attrs import define, field
from twisted.internet.interfaces import IDelayedCall, IReactorTime

#: Seconds of one turn of the reactor that go to requests which waited; then everybody else is looked at.
SHARE: Final = 0.005
#: The same in requests, for a clock that stands still.
MOST: Final = 64


class ReadingConnection(Protocol):
    """A connection that has bytes which it did not look at yet."""

    def continue_reading(self) -> None:
        """It is this connection's turn again: answer one of the requests that wait."""


@define(eq=False)
class Turns:
    """Whoever has pipelined requests gets one of them answered at once, and each further one in turn with the others.

    So a client that sends a thousand in one packet waits for itself, and nobody waits for it.
    """

    _clock: IReactorTime
    _waiting: deque[ReadingConnection] = field(factory=deque, init=False)
    _next: IDelayedCall | None = field(default=None, init=False)

    def add(self, channel: ReadingConnection) -> None:
        """Have ``channel`` continue once, after those that wait already."""
        self._waiting.append(channel)
        if self._next is None:
            self._next = self._clock.callLater(0, self._turn)

    def _turn(self) -> None:
        seconds, waiting = self._clock.seconds, self._waiting
        end = seconds() + SHARE
        for _ in range(min(MOST, len(waiting))):
            waiting.popleft().continue_reading()
            if seconds() >= end:
                break
        self._next = self._clock.callLater(0, self._turn) if waiting else None
