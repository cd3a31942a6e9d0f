"""In which order the nodes of a service are tried. Pure: chance comes in as a ``random.Random``."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from itertools import accumulate
from random import Random
from typing import Final, Protocol

from attrs import define, field

from sidecar.model import Node

#: Weights beyond this are taken for it.
_HEAVIEST: Final = 1_000_000


def weight(node: Node) -> int:
    """How much of the work ``node`` is to get, by its ``weight`` metadata.

    :returns: 0 for "only when nothing else is there"; 1 where none or nonsense is given.
    """
    given = node.metadata.get("weight")
    if given is None:
        return 1
    text = given.strip()
    if not (text.isascii() and text.isdigit()):
        return 1
    return min(int(text[:9]), _HEAVIEST)


@define(eq=False)
class Candidates:
    """The nodes of one service as a strategy sees them.

    :ivar nodes: those that share the work.
    :ivar weights: the weight of each of them; None where all weigh the same.
    :ivar reserve: those that get work only when no other is left.
    :ivar only: the one that shares the work alone, where it does.
    """

    nodes: tuple[Node, ...]
    weights: tuple[int, ...] | None
    reserve: tuple[Node, ...]
    cumulative: tuple[int, ...] = ()
    only: Node | None = field(init=False)
    #: A strategy's own notes about this service.
    turn: int = -1
    credits: list[int] = field(factory=list)
    #: The same without ejected nodes, and the generation of the ejections that it is true for.
    reduced: tuple[int, Candidates] | None = None
    _by_address: dict[tuple[str, int], Node] | None = None

    def __attrs_post_init__(self) -> None:
        self.only = self.nodes[0] if len(self.nodes) == 1 else None

    @property
    def by_address(self) -> dict[tuple[str, int], Node]:
        """One node for each address, of the reserve too."""
        if self._by_address is None:
            self._by_address = {(node.address, node.port): node for node in (*self.reserve, *self.nodes)}
        return self._by_address

    @classmethod
    def of(cls, nodes: tuple[Node, ...]) -> Candidates:
        weighed = [(node, weight(node)) for node in nodes]
        working = tuple(node for node, heavy in weighed if heavy)
        if not working:
            return cls(nodes, None, ())
        weights = tuple(heavy for _, heavy in weighed if heavy)
        reserve = tuple(node for node, heavy in weighed if not heavy)
        if len(set(weights)) == 1:
            return cls(working, None, reserve)
        return cls(working, weights, reserve, tuple(accumulate(weights)))


class Strategy(Protocol):
    """Chooses among candidates."""

    #: Whether it wants to be told when calls begin and end.
    counts: bool

    def first(self, candidates: Candidates) -> int:
        """:returns: the index in ``candidates.nodes`` of the node to try first."""

    def began(self, node: Node) -> None:
        """A call goes to ``node``."""

    def ended(self, node: Node) -> None:
        """It is over."""


@define(eq=False)
class RandomChoice:
    """Any node, by weight. It needs no memory, so many sidecars before the same nodes do not march in step."""

    _random: Random
    counts = False

    def first(self, candidates: Candidates) -> int:
        if candidates.weights is None:
            return int(self._random.random() * len(candidates.nodes))
        return bisect_right(candidates.cumulative, int(self._random.random() * candidates.cumulative[-1]))

    def began(self, node: Node) -> None:
        """Nothing to note."""

    def ended(self, node: Node) -> None:
        """Nothing to note."""


@define(eq=False)
class RoundRobin:
    """One after the other, from a random first one; by weight in nginx's smooth way, which spreads heavy ones."""

    _random: Random
    counts = False

    def first(self, candidates: Candidates) -> int:
        count = len(candidates.nodes)
        if candidates.weights is None:
            turn = candidates.turn
            candidates.turn = turn = int(self._random.random() * count) if turn < 0 else (turn + 1) % count
            return turn
        credits = candidates.credits
        if not credits:
            # Somewhere in the round, for the same reason.
            credits.extend(0 for _ in range(count))
            for _ in range(int(self._random.random() * count)):
                self._next(credits, candidates)
        return self._next(credits, candidates)

    @staticmethod
    def _next(credits: list[int], candidates: Candidates) -> int:
        assert candidates.weights is not None
        for index, heavy in enumerate(candidates.weights):
            credits[index] += heavy
        best = max(range(len(credits)), key=credits.__getitem__)
        credits[best] -= candidates.cumulative[-1]
        return best

    def began(self, node: Node) -> None:
        """Nothing to note."""

    def ended(self, node: Node) -> None:
        """Nothing to note."""


@define(eq=False)
class LeastBusy:
    """The node with the fewest of our calls in flight for its weight; among equals by chance."""

    _random: Random
    _busy: MutableMapping[str, int] = field(factory=dict, init=False)
    counts = True

    def first(self, candidates: Candidates) -> int:
        busy, weights = self._busy, candidates.weights
        best: list[int] = []
        least = float("inf")
        for index, node in enumerate(candidates.nodes):
            load = busy.get(node.id, 0) / (weights[index] if weights else 1)
            if load < least:
                best, least = [index], load
            elif load == least:
                best.append(index)
        return best[int(self._random.random() * len(best))]

    def began(self, node: Node) -> None:
        self._busy[node.id] = self._busy.get(node.id, 0) + 1

    def ended(self, node: Node) -> None:
        left = self._busy.get(node.id, 0) - 1
        if left > 0:
            self._busy[node.id] = left
        else:
            self._busy.pop(node.id, None)


#: By the name that ``--selector`` takes.
STRATEGIES: Final[Mapping[str, Callable[[Random], Strategy]]] = {
    "random": RandomChoice,
    "roundrobin": RoundRobin,
    "leastbusy": LeastBusy,
}


def rest(candidates: Candidates, tried: Node, random: Random) -> Iterator[Node]:
    """One node for each address but that of ``tried``: by chance those that share the work, then the reserve."""
    seen = {tried.hostport}
    for group in (candidates.nodes, candidates.reserve):
        for node in random.sample(group, len(group)):
            if node.hostport not in seen:
                seen.add(node.hostport)
                yield node
