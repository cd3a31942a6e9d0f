"""The last hour, as graphs need it: one value of each kind for every ten seconds. Pure."""

from __future__ import annotations

from collections import deque
from typing import Any, Final

from attrs import define, field, frozen

from sidecar.stats.rates import NOTHING, Totals, quantiles_ms

#: Seconds of one bucket, and how many are kept: an hour.
WIDTH: Final = 10.0
KEPT: Final = 360


@frozen
class Bucket:
    """Ten seconds. :ivar at: their end, in seconds since the epoch. :ivar cpu: share of one processor.
    :ivar memory: bytes. :ivar seconds: that it really took."""

    at: float
    seconds: float
    calls: Totals
    cpu: float
    memory: int


@define(eq=False)
class History:
    """Buckets, the oldest first."""

    _buckets: deque[Bucket] = field(factory=lambda: deque(maxlen=KEPT), init=False)
    _before: Totals = field(default=NOTHING, init=False)

    def add(self, at: float, seconds: float, calls: Totals, cpu: float, memory: int) -> None:
        """A bucket is over. :param calls: all since the start."""
        self._buckets.append(Bucket(at, seconds, calls.since(self._before), cpu, memory))
        self._before = calls

    def told(self) -> dict[str, Any]:
        """:returns: an array of each kind, as long as that of their times."""
        found: dict[str, list[Any]] = {
            name: [] for name in ("at", "calls", "errors", "p50", "p95", "p99", "cpu", "memory")
        }
        for bucket in self._buckets:
            values = {
                "at": round(bucket.at, 3),
                "calls": round(bucket.calls.calls / bucket.seconds, 3),
                "errors": round(bucket.calls.errors / bucket.seconds, 3),
                **quantiles_ms(bucket.calls.buckets),
                "cpu": round(bucket.cpu, 4),
                "memory": bucket.memory,
            }
            for name, value in values.items():
                found[name].append(value)
        return {"width": WIDTH, **found}
