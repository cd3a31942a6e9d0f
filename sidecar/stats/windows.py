"""Totals of many things at the last few looks, and what passed between the looks. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Final, Generic, TypeVar

from attrs import define, field

from sidecar.stats.rates import NOTHING, Totals

K = TypeVar("K")

#: Looks that latencies are told over: ten seconds of them.
RECENT: Final = 10


@define(eq=False)
class Window(Generic[K]):
    """The totals of each thing at each of the last looks."""

    _looks: deque[tuple[float, Mapping[K, Totals]]] = field(factory=lambda: deque(maxlen=RECENT + 1), init=False)

    def look(self, now: float, totals: Mapping[K, Totals]) -> None:
        """:param now: in seconds."""
        self._looks.append((now, totals))

    def clear(self) -> None:
        """Forget all looks."""
        self._looks.clear()

    @property
    def seconds(self) -> float:
        """Between the last two looks; never 0."""
        return max(self._looks[-1][0] - self._looks[-2][0], 0.001) if len(self._looks) > 1 else 1.0

    def last(self, key: K) -> Totals:
        """What passed between the last two looks."""
        return self._between(key, -2)

    def recent(self, key: K) -> Totals:
        """What passed since the first look that is remembered."""
        return self._between(key, 0)

    def _between(self, key: K, first: int) -> Totals:
        if len(self._looks) < 2:
            return NOTHING
        return self._looks[-1][1].get(key, NOTHING).since(self._looks[first][1].get(key, NOTHING))


def rate(count: int, seconds: float) -> float:
    """How many a second, for people to read."""
    return round(count / seconds, 2)
