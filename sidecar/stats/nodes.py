"""What is remembered of nodes: how they came, how their last attempts went, and how often they are called."""

from __future__ import annotations

from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Final

from attrs import define, field, frozen
from zope.interface import implementer

from sidecar.interfaces import ICallObserver, IFailureObserver, IWatcher
from sidecar.model import Attempt, Call, Caller, CallPolicy, Change, Node, Outcome, Reply
from sidecar.stats.labelled import BUCKETS
from sidecar.wire.registry.journal import date

#: Nodes of which something is remembered; those of which nothing was heard for longest are forgotten.
REMEMBERED: Final = 10_000
#: Looking a member up in an Enum costs an attempt more than it should.
_ANSWERED: Final = Outcome.ANSWERED
_CANCELLED: Final = Outcome.CANCELLED
#: Letters of the words that are kept of an attempt.
_LONGEST: Final = 300


@frozen
class LastAttempt:
    """How an attempt at a node went. :ivar ms: milliseconds. :ivar at: seconds since the epoch."""

    outcome: Outcome
    ms: float
    at: float
    detail: str

    @classmethod
    def of(cls, attempt: Attempt, at: float) -> LastAttempt:
        """:param at: now, in seconds since the epoch."""
        ms = round(attempt.queued + attempt.connecting + attempt.waiting, 3)
        return cls(attempt.outcome, ms, at, attempt.detail[:_LONGEST])

    def told(self) -> dict[str, Any]:
        """As JSON-like data."""
        return {"outcome": self.outcome.value, "ms": self.ms, "at": date(self.at), "detail": self.detail}

    def ago(self, now: float) -> str:
        """In words: how it went, and how long ago. :param now: seconds since the epoch."""
        return f"{self.outcome.value} {max(0.0, now - self.at):.0f} s ago" + (f": {self.detail}" if self.detail else "")


@implementer(IWatcher, IFailureObserver)
@define(eq=False)
class NodeMemory:
    """Remembers of each node when it came and by whose doing, and how the last attempt that failed went."""

    wall: Callable[[], float]
    _came: OrderedDict[tuple[str, str], tuple[float, str]] = field(factory=OrderedDict, init=False)
    _last: OrderedDict[str, LastAttempt] = field(factory=OrderedDict, init=False)

    def changed(self, change: Change) -> None:
        for node in change.nodes:
            key = (change.service.name, node.id)
            if change.action == "delete":
                self._came.pop(key, None)
            elif change.action == "create" or key not in self._came:
                _remember(self._came, key, (change.time, change.by))

    def invalidated(self, name: str) -> None:
        """Whether its nodes are still the same is not known; how they came is."""

    def attempt_failed(self, call: Call, attempt: Attempt) -> None:
        _remember(self._last, attempt.address, LastAttempt.of(attempt, self.wall()))

    def call_failed(
        self, call: Call, caller: Caller, policy: CallPolicy, outcome: Outcome, error: BaseException, seconds: float
    ) -> None:
        """The attempts have told it."""

    def source(self, name: str, node: Node, engine: str) -> dict[str, Any]:
        """Where a node was learnt. :param engine: the registry's kind."""
        since, by = self._came.get((name, node.id), (0.0, ""))
        return {"engine": engine, "since": date(since) if since else None, "by": by}

    def last(self, address: str) -> LastAttempt | None:
        """How the last attempt that failed went. :param address: ``host:port``."""
        return self._last.get(address)


@define(eq=False)
class NodeNumbers:
    """What is counted of one node while somebody looks.

    :ivar buckets: attempts by how long they took, as those of :class:`~sidecar.stats.labelled.ServiceNumbers`.
    :ivar attempt: the last one. :ivar at: when it was over, in the clock's seconds.
    """

    calls: int = 0
    errors: int = 0
    buckets: list[int] = field(factory=lambda: [0] * (len(BUCKETS) + 1))
    attempt: Attempt | None = None
    at: float = 0.0


@implementer(ICallObserver)
@define(eq=False)
class NodeCounters:
    """Counts attempts by node. It observes calls only while somebody looks, since it wants all attempts told."""

    seconds: Callable[[], float]
    numbers: OrderedDict[tuple[str, str], NodeNumbers] = field(factory=OrderedDict, init=False)
    detailed = True

    def began(self, call: Call, caller: Caller, policy: CallPolicy) -> None:
        """The attempts tell it."""

    def attempted(self, call: Call, attempt: Attempt) -> None:
        key = call.service, attempt.address
        numbers = self.numbers.get(key)
        if numbers is None:
            numbers = NodeNumbers()
            _remember(self.numbers, key, numbers)
        numbers.calls += 1
        # A caller who leaves says nothing of the node.
        if attempt.outcome is not _ANSWERED and attempt.outcome is not _CANCELLED:
            numbers.errors += 1
        numbers.attempt, numbers.at = attempt, self.seconds()
        taken = (attempt.queued + attempt.connecting + attempt.waiting) / 1000
        numbers.buckets[bisect_left(BUCKETS, taken)] += 1

    def ended(
        self, call: Call, outcome: Outcome, error: BaseException | None, seconds: float, reply: Reply | None
    ) -> None:
        """The attempts have told it."""

    def last(self, key: tuple[str, str], now: float) -> LastAttempt | None:
        """How the last attempt at a node went. :param now: seconds since the epoch."""
        numbers = self.numbers.get(key)
        if numbers is None or numbers.attempt is None:
            return None
        return LastAttempt.of(numbers.attempt, now - (self.seconds() - numbers.at))

    def clear(self) -> None:
        """Forget everything: nobody looks any more."""
        self.numbers.clear()


def _remember(memory: OrderedDict[Any, Any], key: Any, value: Any) -> None:
    memory[key] = value
    memory.move_to_end(key)
    if len(memory) > REMEMBERED:
        memory.popitem(last=False)
