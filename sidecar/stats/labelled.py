"""Numbers of calls and of the registry's changes, by closed lists of labels: what ``/metrics`` gives."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping
from typing import Final

from attrs import define, field
from zope.interface import implementer

from sidecar.interfaces import ICallObserver, IWatcher
from sidecar.model import Attempt, Call, Caller, Change, Outcome

#: Services that have numbers of their own; the others are counted together.
MAX_SERVICES: Final = 200
OTHER: Final = "other"
#: Upper bounds in seconds: calls on one machine take less than a millisecond.
BUCKETS: Final = (0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


@define(eq=False)
class ServiceNumbers:
    """What is counted of one service. :ivar buckets: calls by how long they took, not cumulative."""

    outcomes: dict[Outcome, int] = field(factory=dict)
    retries: int = 0
    buckets: list[int] = field(factory=lambda: [0] * (len(BUCKETS) + 1))
    seconds: float = 0.0


@implementer(ICallObserver)
@define(eq=False)
class CallMetrics:
    """Counts calls by service and outcome, and how long they took."""

    _services: dict[str, ServiceNumbers] = field(factory=dict)
    detailed = False

    def of(self, service: str) -> ServiceNumbers:
        """:returns: the numbers of a service; beyond ``MAX_SERVICES``, those of all others together."""
        found = self._services.get(service)
        if found is None:
            if len(self._services) >= MAX_SERVICES:
                service = OTHER
            found = self._services.setdefault(service, ServiceNumbers())
        return found

    def known(self) -> Mapping[str, ServiceNumbers]:
        """By service."""
        return self._services

    def began(self, call: Call, caller: Caller) -> None:
        """Told at the end."""

    def attempted(self, call: Call, attempt: Attempt) -> None:
        if attempt.next in ("retry", "wait"):
            self.of(call.service).retries += 1

    def ended(self, call: Call, outcome: Outcome, error: BaseException | None, seconds: float) -> None:
        numbers = self._services.get(call.service) or self.of(call.service)
        outcomes = numbers.outcomes
        outcomes[outcome] = outcomes.get(outcome, 0) + 1
        numbers.buckets[bisect_left(BUCKETS, seconds)] += 1
        numbers.seconds += seconds

    def quantile(self, service: str, share: float) -> float | None:
        """:returns: seconds within which this share of the calls were over, by bucket; None without any call."""
        found = self._services.get(service)
        total = sum(found.buckets) if found is not None else 0
        if found is None or not total:
            return None
        seen = 0
        for index, count in enumerate(found.buckets):
            seen += count
            if seen >= share * total:
                return BUCKETS[min(index, len(BUCKETS) - 1)]
        return BUCKETS[-1]


@implementer(IWatcher)
@define(eq=False)
class RegistryMetrics:
    """Counts changes of the registry by action and reason, which are closed lists."""

    counts: dict[tuple[str, str], int] = field(factory=dict)

    def changed(self, change: Change) -> None:
        key = (change.action, change.reason)
        self.counts[key] = self.counts.get(key, 0) + 1

    def invalidated(self, name: str) -> None:
        """Nothing has changed for sure."""
