"""Time that passes by itself, as fast as there is nothing else to do: hours of waiting in no time."""

from __future__ import annotations

from typing import Any

from attrs import define, field
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock, deferLater


@define(eq=False, slots=False, init=False)
class VirtualTime(Clock):
    """A clock that goes on to whatever is due next, once a turn of the real reactor, while it runs."""

    _turn: Any = field(default=None)

    def __init__(self) -> None:
        super().__init__()
        self._turn = None

    def start(self) -> None:
        loop: Any = reactor
        self._turn = loop.callLater(0, self._go_on)

    def stop(self) -> None:
        if self._turn is not None and self._turn.active():
            self._turn.cancel()
        self._turn = None

    def sleep(self, seconds: float) -> Deferred[None]:
        """:returns: fires when so much of this time has passed."""
        return deferLater(self, seconds)

    def _go_on(self) -> None:
        self.start()
        calls = self.getDelayedCalls()
        if calls:
            self.advance(max(0.0, min(call.getTime() for call in calls) - self.seconds()))


class OnVirtualTime:
    """Mix in before ``twisted.trial.unittest.TestCase``: what the test waits for takes no time."""

    def setUp(self) -> None:
        self.clock = VirtualTime()
        self.clock.start()
        self.addCleanup(self.clock.stop)  # type: ignore[attr-defined]  # TestCase's

    async def pass_time(self, seconds: float) -> None:
        await self.clock.sleep(seconds)
