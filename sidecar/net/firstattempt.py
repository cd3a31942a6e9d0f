"""What waits for the first attempt to connect: soon after the start, so that nobody is refused for asking at once."""

from __future__ import annotations

from attrs import define, field
from twisted.internet.defer import Deferred, succeed


@define(eq=False)
class FirstAttempt:
    """:ivar over: whether it was made, whatever came of it."""

    over: bool = False
    _waiting: list[Deferred[None]] = field(factory=list, init=False)

    def wait(self) -> Deferred[None]:
        """:returns: fires when it was made. Each caller has one of its own to cancel."""
        if self.over:
            return succeed(None)
        one: Deferred[None] = Deferred()
        self._waiting.append(one)
        return one

    def made(self) -> None:
        """It was made, or none will be."""
        self.over = True
        waiting, self._waiting = self._waiting, []
        for one in waiting:
            if not one.called:
                one.callback(None)
