"""Deadlines for very many short waits, kept by one coarse timer that runs only while something waits."""

from __future__ import annotations

from typing import Any, Final, Protocol

from attrs import define, field
from twisted.internet.interfaces import IDelayedCall, IReactorTime

#: Slots a second: a deadline is noticed at most this fraction late.
_SLOTS: Final = 100


class Expiring(Protocol):
    """Something with a deadline. It stays in its slot's set, ``slot``, until it is removed from there."""

    slot: set[Any] | None

    def expired(self) -> None:
        """The deadline passed."""


@define(eq=False)
class TimerWheel:
    """A wheel of slots, ten milliseconds each.

    A ``callLater`` and its cancelling for each call cost more than the call's own parsing; an entry in a set costs next
    to nothing.
    """

    _clock: IReactorTime
    _slots: dict[int, set[Any]] = field(factory=dict)
    _last: int = 0
    _tick: IDelayedCall | None = None

    def add(self, item: Expiring, deadline: float) -> None:
        """Have ``item.expired()`` called at ``deadline``, or at most 20 ms later, unless it is removed before.

        :param deadline: in the clock's seconds.
        """
        number = int(deadline * _SLOTS) + 1
        slot = self._slots.get(number)
        if slot is None:
            if self._tick is None:
                self._last = int(self._clock.seconds() * _SLOTS)
                self._tick = self._clock.callLater(1 / _SLOTS, self._sweep)
            # A deadline that is past already is the next sweep's.
            number = max(number, self._last + 1)
            slot = self._slots.setdefault(number, set())
        slot.add(item)
        item.slot = slot

    @staticmethod
    def remove(item: Expiring) -> None:
        """Forget ``item``. Doing it twice is no error."""
        slot = item.slot
        if slot is not None:
            slot.discard(item)
            item.slot = None

    def items(self) -> list[Any]:
        """All that wait, in no order."""
        return [item for slot in self._slots.values() for item in slot]

    def stop(self) -> None:
        """Forget everything."""
        self._slots.clear()
        if self._tick is not None:
            self._tick.cancel()
            self._tick = None

    def _sweep(self) -> None:
        now = int(self._clock.seconds() * _SLOTS)
        due = self._due(now)
        self._last = now
        # Armed first: what expires may add new waits.
        if any(self._slots.values()):
            self._tick = self._clock.callLater(1 / _SLOTS, self._sweep)
        else:
            self._tick = None
            self._slots.clear()
        for slot in due:
            while slot:
                item = slot.pop()
                item.slot = None
                item.expired()

    def _due(self, now: int) -> list[set[Any]]:
        if now - self._last > len(self._slots):
            # The process was paused, or the clock was moved far: walk the slots and not the time.
            numbers = sorted(number for number in self._slots if number <= now)
        else:
            numbers = [number for number in range(self._last + 1, now + 1) if number in self._slots]
        return [self._slots.pop(number) for number in numbers]
