"""Numbers of calls and of the registry's changes, by closed lists of labels: what ``/metrics`` gives."""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Callable, Mapping
from typing import Final

from attrs import define, field, frozen
from zope.interface import implementer

from sidecar.errors import ServiceFault
from sidecar.interfaces import ICallObserver, IWatcher
from sidecar.model import Attempt, Call, Caller, CallPolicy, Change, Outcome, Reply
from sidecar.wire.headers import request_id

#: Services that have numbers of their own; the others are counted together.
MAX_SERVICES: Final = 200
OTHER: Final = "other"
#: Looking a member up in an Enum costs a call more than it should.
_ANSWERED: Final = Outcome.ANSWERED
_NOT_FOUND: Final = Outcome.NOT_FOUND
#: Upper bounds in seconds: calls on one machine take less than a millisecond.
BUCKETS: Final = (0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


@frozen
class Exemplar:
    """One call that stands for others. :ivar labels: by which its log lines are found. :ivar at: since the epoch."""

    labels: Mapping[str, str]
    seconds: float
    at: float


@define(eq=False)
class ServiceNumbers:
    """What is counted of one service.

    :ivar rpc: calls of methods (``Say.Hello``) by how they ended. :ivar path: the same of methods that are paths, and
    :ivar proxy: of requests that were forwarded as they are.
    :ivar failures: attempts that were not answered well. :ivar buckets: calls by how long they took, not cumulative.
    :ivar exemplars: the last call of each bucket.
    """

    rpc: dict[Outcome, int] = field(factory=dict)
    path: dict[Outcome, int] = field(factory=dict)
    proxy: dict[Outcome, int] = field(factory=dict)
    failures: dict[Outcome, int] = field(factory=dict)
    retries: int = 0
    buckets: list[int] = field(factory=lambda: [0] * (len(BUCKETS) + 1))
    seconds: float = 0.0
    exemplars: dict[int, Exemplar] = field(factory=dict)

    @property
    def by_class(self) -> Mapping[str, Mapping[Outcome, int]]:
        """Calls by the class of their method, which is a closed list, and by how they ended."""
        return {"rpc": self.rpc, "path": self.path, "proxy": self.proxy}

    @property
    def outcomes(self) -> dict[Outcome, int]:
        """All calls, by how they ended."""
        found: dict[Outcome, int] = {}
        for counted in (self.rpc, self.path, self.proxy):
            for outcome, count in counted.items():
                found[outcome] = found.get(outcome, 0) + count
        return found


@implementer(ICallObserver)
@define(eq=False)
class CallMetrics:
    """Counts calls by service and outcome, and how long they took.

    :ivar exemplify: whether calls are kept as examples: once somebody has asked for them. :ivar wall: the date.
    :ivar faulted: calls that ended in an error of the service. :ivar timed_out: that ran out of time.
    :ivar cancelled: whose caller left. :ivar failed: that failed otherwise. :ivar retried: attempts after the first.
    """

    wall: Callable[[], float] = time.time
    exemplify: bool = False
    faulted: int = 0
    timed_out: int = 0
    cancelled: int = 0
    failed: int = 0
    retried: int = 0
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

    @property
    def succeeded(self) -> int:
        """Calls that were answered well."""
        return sum(numbers.outcomes.get(Outcome.ANSWERED, 0) for numbers in self._services.values())

    def began(self, call: Call, caller: Caller, policy: CallPolicy) -> None:
        """Its end is what counts."""

    def attempted(self, call: Call, attempt: Attempt) -> None:
        numbers = self.of(call.service)
        numbers.failures[attempt.outcome] = numbers.failures.get(attempt.outcome, 0) + 1
        if attempt.next in ("retry", "wait"):
            numbers.retries += 1
            self.retried += 1

    def ended(
        self, call: Call, outcome: Outcome, error: BaseException | None, seconds: float, reply: Reply | None
    ) -> None:
        numbers = self._services.get(call.service)
        if numbers is None:
            # Names that nobody has may be many, and would leave no room for the services that there are.
            numbers = self.of(OTHER if outcome is _NOT_FOUND else call.service)
        outcomes = numbers.rpc if "/" not in call.method else numbers.path
        if type(call) is not Call:
            outcomes = numbers.proxy
        outcomes[outcome] = outcomes.get(outcome, 0) + 1
        bucket = bisect_left(BUCKETS, seconds)
        numbers.buckets[bucket] += 1
        numbers.seconds += seconds
        if outcome is not _ANSWERED:
            self._failed(outcome, error)
        if self.exemplify:
            labels = _labels(call)
            if labels:
                numbers.exemplars[bucket] = Exemplar(labels, seconds, self.wall())

    def _failed(self, outcome: Outcome, error: BaseException | None) -> None:
        if outcome is Outcome.CANCELLED:
            self.cancelled += 1
        elif isinstance(error, ServiceFault):
            self.faulted += 1
        elif outcome is Outcome.TIMED_OUT:
            self.timed_out += 1
        else:
            self.failed += 1


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


def _labels(call: Call) -> dict[str, str]:
    """What finds a call again: its request id, where it is short enough for an exemplar (128 letters in all)."""
    id = request_id(call)
    return {"request_id": id} if 0 < len(id) <= 100 else {}
