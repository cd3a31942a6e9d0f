"""Counts of answers and their latencies in windows of a few seconds, the last of them kept. Pure."""

from __future__ import annotations

from bisect import bisect_left

from attrs import define, field, frozen

#: Seconds of one window, and how many are kept, as in the original's dashboard.
WIDTH = 5.0
KEPT = 23
#: Upper bounds of latency, in seconds: from 50 µs on, each a quarter more than the one before, up to four minutes.
BOUNDS = tuple(0.00005 * 1.25**step for step in range(70))


@frozen
class Counts:
    """One window.

    :ivar timestamp: seconds since the epoch at which it began.
    :ivar classes: answers by the first digit of their status, ``{2: 17, 4: 1}``; classes without one are absent.
    """

    timestamp: int
    classes: dict[int, int]
    total: int


@frozen
class Latency:
    """Seconds below which a share of the answers stayed, over the windows kept; 0 where there was none."""

    p50: float
    p90: float
    p99: float


@define
class _Window:
    classes: list[int] = field(factory=lambda: [0] * 6)
    latencies: list[int] = field(factory=lambda: [0] * (len(BOUNDS) + 1))


@define(eq=False)
class Counters:
    """Counts what is recorded. A clock that goes back counts into the latest window.

    :param started: when counting began, in the seconds that ``record`` is told.
    """

    started: float
    _index: int = field(default=0, init=False)
    _latest: _Window = field(factory=_Window, init=False)
    _windows: dict[int, _Window] = field(init=False)
    _ends: float = field(init=False)  # of the latest window, by the same seconds

    def __attrs_post_init__(self) -> None:
        self._ends = self.started + WIDTH
        self._windows = {0: self._latest}

    def record(self, now: float, status: int, seconds: float) -> None:
        """Count an answer.

        :param status: its HTTP status; an interim one (1xx) is no answer and is not counted.
        :param seconds: from the request's arrival to its answer.
        """
        if not 200 <= status <= 599:
            return
        if now >= self._ends:
            self._roll(int((now - self.started) / WIDTH))
        self._latest.classes[status // 100] += 1
        self._latest.latencies[bisect_left(BOUNDS, seconds)] += 1

    def windows(self, now: float, epoch: float = 0.0) -> tuple[Counts, ...]:
        """The windows kept, oldest first, those in which nothing happened too.

        :param epoch: seconds from the epoch to the zero of ``now``, by which the windows are dated.
        """
        self._roll(max(self._index, int((now - self.started) / WIDTH)))
        first = max(0, self._index - KEPT + 1)
        found = []
        for index in range(first, self._index + 1):
            window = self._windows.get(index)
            counted = window.classes if window is not None else []
            classes = {digit: count for digit, count in enumerate(counted) if count}
            found.append(Counts(int(epoch + self.started + index * WIDTH), classes, sum(counted)))
        return tuple(found)

    def latency(self, now: float) -> Latency:
        """Percentiles over the windows kept, each rounded up to a bound of the scale."""
        self._roll(max(self._index, int((now - self.started) / WIDTH)))
        sums = [sum(column) for column in zip(*(window.latencies for window in self._windows.values()), strict=True)]
        total = sum(sums)
        return Latency(_below(sums, total, 0.50), _below(sums, total, 0.90), _below(sums, total, 0.99))

    def _roll(self, index: int) -> None:
        if index == self._index:
            return
        self._index = index
        self._ends = self.started + (index + 1) * WIDTH
        self._latest = self._windows[index] = _Window()
        for old in [old for old in self._windows if old <= index - KEPT]:
            del self._windows[old]


def _below(sums: list[int], total: int, share: float) -> float:
    passed = 0
    for step, count in enumerate(sums):
        passed += count
        if passed and passed >= total * share:
            return BOUNDS[min(step, len(BOUNDS) - 1)]
    return 0.0
