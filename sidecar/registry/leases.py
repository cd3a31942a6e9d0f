"""When registrations run out: a heap of deadlines, told the time and asked who is due. Pure."""

from __future__ import annotations

import heapq
from collections.abc import Hashable
from typing import Generic, TypeVar

from attrs import define, field

from sidecar.model import Cause

#: Why a node goes whose time is over.
EXPIRED = Cause("expired", by="ttl")

K = TypeVar("K", bound=Hashable)


@define(eq=False)
class Leases(Generic[K]):
    """Deadlines by key. Adding again moves the deadline; a renewal costs no heap work until the old one comes up."""

    _deadlines: dict[K, float] = field(factory=dict)
    #: When each key comes up in the heap, at or before its deadline.
    _alarms: dict[K, float] = field(factory=dict)
    #: ``(alarm, count, key)``; the count keeps keys from being compared. Entries that no alarm matches are void.
    _heap: list[tuple[float, int, K]] = field(factory=list)
    _count: int = 0

    def __len__(self) -> int:
        return len(self._deadlines)

    def set(self, key: K, deadline: float) -> None:
        """Have ``key`` run out at ``deadline``, whatever it was given before."""
        self._deadlines[key] = deadline
        alarm = self._alarms.get(key)
        if alarm is None or deadline < alarm:
            self._schedule(key, deadline)

    def remove(self, key: K) -> None:
        """Forget ``key``. One that is not there is no error."""
        if self._deadlines.pop(key, None) is not None:
            del self._alarms[key]
            self._tidy()

    def deadline(self, key: K) -> float | None:
        """When ``key`` runs out, or None where it has none."""
        return self._deadlines.get(key)

    def next(self) -> float | None:
        """The time of the first deadline, or None where there is none."""
        while self._heap:
            alarm, _, key = self._heap[0]
            if self._alarms.get(key) != alarm:
                heapq.heappop(self._heap)
            elif self._deadlines[key] > alarm:
                heapq.heappop(self._heap)
                self._schedule(key, self._deadlines[key])
            else:
                return alarm
        return None

    def expire(self, now: float) -> list[K]:
        """Forget and return the keys whose deadline has come, the earliest first."""
        due = []
        while (deadline := self.next()) is not None and deadline <= now:
            key = heapq.heappop(self._heap)[2]
            del self._deadlines[key], self._alarms[key]
            due.append(key)
        return due

    def _schedule(self, key: K, alarm: float) -> None:
        self._alarms[key] = alarm
        self._count += 1
        heapq.heappush(self._heap, (alarm, self._count, key))
        self._tidy()

    def _tidy(self) -> None:
        """Keep void entries from outnumbering live ones, whatever pattern of setting and removing comes."""
        if len(self._heap) > 2 * len(self._alarms) + 64:
            self._heap = [entry for entry in self._heap if self._alarms.get(entry[2]) == entry[0]]
            heapq.heapify(self._heap)
