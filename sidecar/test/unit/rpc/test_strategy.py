"""In which order nodes are tried."""

from __future__ import annotations

from collections import Counter
from random import Random

from twisted.trial.unittest import SynchronousTestCase

from sidecar.model import Node
from sidecar.rpc.strategy import STRATEGIES, Candidates, rest, weight


def nodes(*weights: str | None) -> tuple[Node, ...]:
    return tuple(
        Node(f"n{index}", "127.0.0.1", 9000 + index, {} if each is None else {"weight": each})
        for index, each in enumerate(weights)
    )


class Weights(SynchronousTestCase):
    def test_read(self) -> None:
        """A whole number counts; nonsense counts as none."""
        for given, read in (
            (None, 1),
            ("3", 3),
            (" 2 ", 2),
            ("0", 0),
            ("-1", 1),
            ("1.5", 1),
            ("x", 1),
            ("", 1),
            ("٣", 1),
        ):
            self.assertEqual(weight(nodes(given)[0]), read, given)
        self.assertEqual(weight(nodes("9" * 5000)[0]), 1_000_000)


class Orders(SynchronousTestCase):
    def firsts(self, name: str, candidates: Candidates, count: int) -> Counter[str]:
        strategy = STRATEGIES[name](Random(7))
        return Counter(candidates.nodes[strategy.first(candidates)].id for _ in range(count))

    def test_each_once(self) -> None:
        """Every strategy names each node once, those of weight 0 last."""
        candidates = Candidates.of(nodes("0", None, "5", "0", "1"))
        for name, make in STRATEGIES.items():
            for seed in range(20):
                random = Random(seed)
                first = candidates.nodes[make(random).first(candidates)]
                found = [node.id for node in (first, *rest(candidates, first, random))]
                self.assertEqual((sorted(found[:3]), sorted(found[3:])), (["n1", "n2", "n4"], ["n0", "n3"]), name)

    def test_each_address_once(self) -> None:
        """Two ids at one address are one place to go: where one failed, the other is not tried in its stead."""
        here, there = nodes(None, None)
        again = Node("again", here.address, here.port)
        for seed in range(20):
            found = list(rest(Candidates.of((here, again, there)), here, Random(seed)))
            self.assertEqual(found, [there])
            found = list(rest(Candidates.of((here, again, there)), there, Random(seed)))
            self.assertEqual([node.hostport for node in found], [here.hostport])

    def test_even(self) -> None:
        """Without weights the work is spread evenly."""
        for name in STRATEGIES:
            counts = self.firsts(name, Candidates.of(nodes(None, None, None, None)), 4000)
            self.assertTrue(all(850 < count < 1150 for count in counts.values()), (name, counts))
            self.assertEqual(len(counts), 4)

    def test_by_weight(self) -> None:
        """With weights, by weight; a node of weight 0 gets nothing while there are others."""
        for name in ("random", "roundrobin"):
            counts = self.firsts(name, Candidates.of(nodes("1", "3", "0")), 4000)
            self.assertTrue(900 < counts["n0"] < 1100 and 2900 < counts["n1"] < 3100 and not counts["n2"], counts)

    def test_reserve_alone(self) -> None:
        """Nodes of weight 0 work when there is nothing else."""
        counts = self.firsts("random", Candidates.of(nodes("0", "0")), 100)
        self.assertEqual(set(counts), {"n0", "n1"})

    def test_round(self) -> None:
        """Round robin goes round, from anywhere; a heavy node's turns are spread."""
        random = Random(1)
        strategy = STRATEGIES["roundrobin"](random)
        candidates = Candidates.of(nodes(None, None, None))
        turns = [candidates.nodes[strategy.first(candidates)].id for _ in range(9)]
        self.assertEqual(turns[:3] * 3, turns)
        self.assertEqual(sorted(turns[:3]), ["n0", "n1", "n2"])
        heavy = Candidates.of(nodes("4", "2", "1"))
        picks = "".join(heavy.nodes[strategy.first(heavy)].id[1] for _ in range(70))
        self.assertEqual(Counter(picks), Counter({"0": 40, "1": 20, "2": 10}))
        self.assertNotIn("000", picks)

    def test_least_busy(self) -> None:
        """The node with the fewest calls in flight for its weight is first."""
        strategy = STRATEGIES["leastbusy"](Random(1))
        candidates = Candidates.of(nodes(None, None, None))
        for index in (0, 0, 1, 2, 2):
            strategy.began(candidates.nodes[index])
        self.assertEqual(strategy.first(candidates), 1)
        strategy.ended(candidates.nodes[0])
        strategy.ended(candidates.nodes[0])
        self.assertEqual(strategy.first(candidates), 0)
        weighed = Candidates.of(nodes("1", "4"))
        other = STRATEGIES["leastbusy"](Random(1))
        load: Counter[str] = Counter()
        for _ in range(50):
            node = weighed.nodes[other.first(weighed)]
            other.began(node)
            load[node.id] += 1
        self.assertEqual(load, Counter({"n0": 10, "n1": 40}))

    def test_end_without_beginning(self) -> None:
        """An end too many is no credit for later."""
        strategy = STRATEGIES["leastbusy"](Random(1))
        candidates = Candidates.of(nodes(None, None))
        strategy.ended(candidates.nodes[0])
        strategy.began(candidates.nodes[0])
        self.assertEqual(strategy.first(candidates), 1)
