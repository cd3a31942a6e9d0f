"""How many attempts may be retries, so that an outage is not multiplied. Pure: time is handed in.

Of the last ten seconds, retries may be a share of the calls and ten a second besides.
"""

from __future__ import annotations

from typing import Final

from attrs import define, field

#: Seconds that are looked back on, and retries a second that are always allowed.
KEPT: Final = 10
ALWAYS: Final = 10


@define(eq=False)
class RetryBudget:
    """Counts calls and retries by the second.

    :ivar share: of the calls that may be tried again: 0.2 is one in five.
    """

    share: float
    _seconds: dict[int, list[int]] = field(factory=dict, init=False)
    _second: int = field(default=-1, init=False)
    _latest: list[int] = field(factory=lambda: [0, 0], init=False)

    def called(self, now: float) -> None:
        """A call begins."""
        if int(now) != self._second:
            self._roll(int(now))
        self._latest[0] += 1

    def withdraw(self, now: float) -> bool:
        """Take a retry, if there is one left. :returns: whether there was."""
        if int(now) != self._second:
            self._roll(int(now))
        calls = sum(each[0] for each in self._seconds.values())
        retries = sum(each[1] for each in self._seconds.values())
        if retries + 1 > self.share * calls + ALWAYS * KEPT:
            return False
        self._latest[1] += 1
        return True

    def _roll(self, second: int) -> None:
        self._second = second
        self._latest = self._seconds.setdefault(second, [0, 0])
        for old in [old for old in self._seconds if not second - KEPT < old <= second]:
            del self._seconds[old]
