"""Which services a Consul registry remembers, and which of them it follows."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator

from attrs import define, field
from twisted.internet.defer import Deferred

#: Services followed by a blocking query each. Consul takes 200 connections from one host, all its sidecars together.
FOLLOWED = 48
#: Seconds for which one that was asked for keeps its place.
KEPT = 60.0
#: Services whose nodes, or whose absence, are remembered.
REMEMBERED = 65_536


@define(eq=False)
class KnownService:
    """A service that was asked for.

    :ivar asked: when it was last, in seconds of the clock.
    :ivar answered: whether Consul ever said what there is of it.
    :ivar task: follows it; None where nobody does, and ``stale`` tells whether something may have changed since.
    :ivar critical: the ids of its nodes that are registered and failing, as of the last answer.
    """

    name: str
    asked: float = 0.0
    stale: bool = False
    answered: bool = False
    task: Deferred[None] | None = None
    critical: frozenset[str] = frozenset()


@define(eq=False)
class KnownServices:
    """Services in the order in which they were asked for, and those of them that are followed.

    :ivar limit: how many may be followed.
    """

    limit: int = FOLLOWED
    _known: OrderedDict[str, KnownService] = field(factory=OrderedDict)
    _followed: OrderedDict[str, KnownService] = field(factory=OrderedDict)

    def __contains__(self, name: str) -> bool:
        return name in self._known

    def get(self, name: str) -> KnownService | None:
        return self._known.get(name)

    def asked(self, known: KnownService, now: float) -> None:
        """It was asked for."""
        known.asked = now
        if known.task is not None:
            self._followed.move_to_end(known.name)

    def remember(self, known: KnownService) -> Iterator[KnownService]:
        """Keep ``known`` as the last one asked for. :returns: those that had to go for it, which are known no more."""
        self._known[known.name] = known
        self._known.move_to_end(known.name)
        while len(self._known) > REMEMBERED:
            yield self._known.popitem(last=False)[1]

    def followed(self) -> tuple[KnownService, ...]:
        return tuple(self._followed.values())

    def unfollowed(self) -> list[KnownService]:
        return [known for known in self._known.values() if known.task is None]

    def vacancy(self, now: float) -> bool | KnownService:
        """Whether one more may be followed; or which one has to be followed no more for it."""
        if len(self._followed) < self.limit:
            return True
        oldest = next(iter(self._followed.values()))
        return oldest if now - oldest.asked >= KEPT else False

    def half_full(self) -> bool:
        return len(self._followed) >= self.limit // 2

    def follow(self, known: KnownService, task: Deferred[None]) -> None:
        """``task`` follows it from now on."""
        self._followed[known.name] = known
        known.task = task

    def unfollow(self, known: KnownService) -> Deferred[None] | None:
        """Nobody follows it any more. :returns: the task that did, to be cancelled."""
        self._followed.pop(known.name, None)
        task, known.task = known.task, None
        return task
