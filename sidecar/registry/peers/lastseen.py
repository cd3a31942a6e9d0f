"""When each node was last heard of, for engines without a store: a node is there while it is vouched for. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from attrs import define, field

#: Seconds between two questions for a name that has nodes, and the longest for one that has none.
INTERVAL, LONGEST = 4.0, 60.0
#: Seconds of silence until a node is taken for gone: of a name that we ask for, and of one that is only announced.
ASKED_PATIENCE, ANNOUNCED_PATIENCE = 3.5 * INTERVAL, 200.0
#: Seconds in which one is not asked again for a name that nobody had.
FRESH = 1.0
#: Names that are asked for regularly; the one not wanted for the longest time is forgotten.
MAX_FOLLOWED = 4096
#: Nodes remembered, in all and of one name. More are not believed.
MAX_NODES, MAX_NODES_OF_NAME = 50_000, 5_000


@define(eq=False)
class _Follow:
    """A name that is asked for.

    :ivar asked: when somebody wanted to know last. :ivar due: when next. :ivar pause: seconds between questions.
    """

    asked: float
    due: float
    pause: float = INTERVAL


@define(eq=False)
class LastSeen:
    """The names that are wanted, and when their nodes were last heard of. Times are ``now: float`` seconds."""

    _seen: dict[str, dict[str, float]] = field(factory=dict)
    _followed: dict[str, _Follow] = field(factory=dict)
    _count: int = 0

    def follow(self, name: str, now: float) -> str | None:
        """``name`` is wanted, and was asked for just now.

        :returns: the name that was forgotten for it.
        """
        known = self._followed.pop(name, None)
        self._followed[name] = _Follow(now, now + INTERVAL)  # the last wanted stand last
        if known is not None or len(self._followed) <= MAX_FOLLOWED:
            return None
        ousted = next(iter(self._followed))
        del self._followed[ousted]
        return ousted

    def wanted(self, name: str) -> None:
        """``name`` was read: let it stay longer than those that are not."""
        known = self._followed.pop(name, None)
        if known is not None:
            self._followed[name] = known

    def follows(self, name: str) -> bool:
        return name in self._followed

    def asked_lately(self, name: str, now: float) -> bool:
        """Whether the answers to the last question for ``name`` still hold: since then, news was announced."""
        known = self._followed.get(name)
        return known is not None and now < known.asked + FRESH

    def due(self, now: float, most: int) -> list[str]:
        """The names to ask for now, at most so many; each is then due again a pause later."""
        names = []
        for name, follow in self._followed.items():
            if follow.due <= now:
                follow.pause = INTERVAL if self._seen.get(name) else min(follow.pause * 2, LONGEST)
                follow.due = now + follow.pause
                names.append(name)
                if len(names) >= most:
                    break
        return names

    def saw(self, name: str, ids: Iterable[str], now: float) -> bool:
        """The nodes are there. :returns: False where no more are remembered."""
        known = self._seen.setdefault(name, {})
        fits = True
        for identity in ids:
            if identity not in known:
                if self._count >= MAX_NODES or len(known) >= MAX_NODES_OF_NAME:
                    fits = False
                    continue
                self._count += 1
            known[identity] = now
        if not known:
            del self._seen[name]
        return fits

    def lost(self, name: str, ids: Iterable[str]) -> None:
        """The nodes are not there; unknown ones are no error."""
        known = self._seen.get(name)
        if known is None:
            return
        for identity in ids:
            if known.pop(identity, None) is not None:
                self._count -= 1
        if not known:
            del self._seen[name]

    def forget(self, name: str) -> list[str]:
        """:returns: the ids of the nodes of ``name``, which are known no more."""
        ids = list(self._seen.get(name, ()))
        self.lost(name, ids)
        return ids

    def expire(self, now: float) -> Iterator[tuple[str, list[str], float]]:
        """Forget and return the nodes that were silent for too long, by name, with the seconds that was."""
        for name in list(self._seen):
            patience = ASKED_PATIENCE if name in self._followed else ANNOUNCED_PATIENCE
            ids = [identity for identity, seen in self._seen[name].items() if seen + patience <= now]
            if ids:
                self.lost(name, ids)
                yield name, ids, patience

    def excuse(self, now: float) -> None:
        """Nobody could be heard for a while: count all silence from now."""
        for known in self._seen.values():
            for identity in known:
                known[identity] = now
        for follow in self._followed.values():
            follow.due, follow.pause = now, INTERVAL
