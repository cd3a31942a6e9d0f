"""Rates and latencies between two looks at the counters: nothing is counted for them. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from attrs import frozen

from sidecar.model import Outcome
from sidecar.stats.labelled import BUCKETS, ServiceNumbers

#: How a call ends of which its caller is told nothing bad: what is no error.
_NO_ERROR: Final = (Outcome.ANSWERED, Outcome.CANCELLED)


@frozen
class Totals:
    """Calls since the start. :ivar buckets: by how long they took, not cumulative."""

    calls: int
    errors: int
    buckets: tuple[int, ...]

    @classmethod
    def of(cls, numbers: ServiceNumbers) -> Totals:
        """Of one service."""
        calls = sum(numbers.outcomes.values())
        good = sum(numbers.outcomes.get(outcome, 0) for outcome in _NO_ERROR)
        return cls(calls, calls - good, tuple(numbers.buckets))

    @classmethod
    def sum(cls, several: Iterable[Totals]) -> Totals:
        """Of several services together."""
        found = tuple(several)
        buckets = tuple(map(sum, zip(*(each.buckets for each in found), strict=True))) if found else NOTHING.buckets
        return cls(sum(each.calls for each in found), sum(each.errors for each in found), buckets)

    def since(self, before: Totals) -> Totals:
        """What came after ``before``; all, where counting began anew meanwhile."""
        if before.calls > self.calls:
            return self
        buckets = tuple(now - then for now, then in zip(self.buckets, before.buckets, strict=True))
        return Totals(self.calls - before.calls, self.errors - before.errors, buckets)


NOTHING: Final = Totals(0, 0, (0,) * (len(BUCKETS) + 1))


def totals(known: Mapping[str, ServiceNumbers]) -> dict[str, Totals]:
    """:returns: the totals of each service now."""
    return {name: Totals.of(numbers) for name, numbers in known.items()}


def total(known: Mapping[str, ServiceNumbers]) -> Totals:
    """:returns: the totals of all services together."""
    return Totals.sum(map(Totals.of, known.values()))


def quantile_ms(buckets: Sequence[int], share: float) -> float | None:
    """Milliseconds within which a share of the calls were over, told within their bucket as if they lay evenly in it.

    :returns: None without any call.
    """
    total = sum(buckets)
    if not total:
        return None
    seen, wanted = 0, share * total
    for index, count in enumerate(buckets):
        if count and seen + count >= wanted:
            lower = BUCKETS[index - 1] if index else 0.0
            upper = BUCKETS[min(index, len(BUCKETS) - 1)]
            return round((lower + (upper - lower) * max(0.0, wanted - seen) / count) * 1000, 3)
        seen += count
    return BUCKETS[-1] * 1000


def quantiles_ms(buckets: Sequence[int]) -> dict[str, float | None]:
    """:returns: half, 95 and 99 of a hundred, by the names that they have in answers."""
    return {name: quantile_ms(buckets, share) for name, share in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99))}
