"""Leases, shelf, mirror and watchers: the pure parts under every registry."""

from __future__ import annotations

from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from sidecar.model import Change, Node, Service
from sidecar.registry.catalog import Catalog
from sidecar.registry.leases import Leases
from sidecar.registry.remote.mirror import MAX_COMPLAINTS, Mirror
from sidecar.registry.watchers import Watchers


class LeasesTest(SynchronousTestCase):
    @given(
        st.lists(
            st.tuples(st.sampled_from("hrx"), st.integers(0, 5), st.integers(1, 20)),
            max_size=60,
        )
    )
    def test_like_a_table(self, steps: list[tuple[str, int, int]]) -> None:
        """Whatever is held, released and expired in whatever order, the same is due as by a plain table."""
        leases: Leases[int] = Leases()
        table: dict[int, float] = {}
        now = 0.0
        for action, key, span in steps:
            if action == "h":
                leases.hold(key, now + span)
                table[key] = now + span
            elif action == "r":
                leases.release(key)
                table.pop(key, None)
            else:
                now += span / 4
                due = sorted(key for key, deadline in table.items() if deadline <= now)
                self.assertEqual(sorted(leases.expire(now)), due)
                for gone in due:
                    del table[gone]
            self.assertEqual(leases.next(), min(table.values(), default=None))
            self.assertEqual(len(leases), len(table))

    def test_stays_small(self) -> None:
        """A hundred thousand renewals, shortenings and releases of one key leave no heap behind."""
        leases: Leases[str] = Leases()
        for turn in range(100_000):
            leases.hold("a", 1e6 - turn)
            if turn % 3 == 0:
                leases.release("a")
        self.assertLess(len(leases._heap), 200)  # what it is for: memory has no public name

    def test_order(self) -> None:
        """The earliest comes first."""
        leases: Leases[str] = Leases()
        for key, deadline in (("c", 3.0), ("a", 1.0), ("b", 2.0)):
            leases.hold(key, deadline)
        self.assertEqual(leases.expire(2.5), ["a", "b"])
        self.assertEqual(leases.deadline("c"), 3.0)


def service(*ids: str, name: str = "s", version: str = "1", port: int = 1) -> Service:
    return Service(name, version, nodes=tuple(Node(identity, "h", port) for identity in ids))


def told(changes: list[Change]) -> list[tuple[str, str, str]]:
    return [
        (change.action, change.service.version, " ".join(node.id for node in change.service.nodes))
        for change in changes
    ]


class ShelfTest(SynchronousTestCase):
    def test_changes(self) -> None:
        """Creation, renewal, alteration, moving and removal are told with just the nodes concerned."""
        shelf = Catalog()
        self.assertEqual(told(shelf.put(service("a", "b"))), [("create", "1", "a b")])
        self.assertEqual(told(shelf.put(service("a", "b"))), [])
        self.assertEqual(told(shelf.put(service("b", "c", port=2))), [("create", "1", "c"), ("update", "1", "b")])
        self.assertEqual(told(shelf.put(service("a", version="2"))), [("update", "2", "a")])
        self.assertEqual(
            [(each.version, [node.id for node in each.nodes]) for each in shelf.get("s")],
            [("1", ["b", "c"]), ("2", ["a"])],
        )
        self.assertEqual(told(shelf.drop("s", ["a", "b", "x"], "delete")), [("delete", "2", "a"), ("delete", "1", "b")])
        self.assertEqual(told(shelf.drop("s", ["c"], "expired")), [("expired", "1", "c")])
        self.assertEqual((shelf.get("s"), shelf.names(), "s" in shelf), ((), (), False))

    def test_altered_head(self) -> None:
        """A version whose metadata changes is told as an update."""
        shelf = Catalog()
        shelf.put(service("a"))
        changes = shelf.put(evolve(service("a"), metadata={"k": "v"}))
        self.assertEqual(told(changes), [("update", "1", "a")])
        self.assertEqual(shelf.get("s")[0].metadata, {"k": "v"})

    def test_replace(self) -> None:
        """What is not said again is gone; a version may stand without nodes."""
        shelf = Catalog()
        shelf.put(service("a", "b"))
        changes = shelf.replace("s", [service("b"), service(version="2"), service("c", version="3")])
        self.assertEqual(told(changes), [("delete", "1", "a"), ("create", "3", "c")])
        self.assertEqual([(each.version, len(each.nodes)) for each in shelf.get("s")], [("1", 1), ("2", 0), ("3", 1)])
        self.assertTrue(shelf.has("s", "b"))
        self.assertFalse(shelf.has("s", "a"))
        self.assertEqual(told(shelf.replace("s", [])), [("delete", "1", "b"), ("delete", "3", "c")])
        self.assertEqual(len(shelf), 0)

    @given(
        st.lists(
            st.tuples(
                st.sampled_from(["put", "drop", "replace"]),
                st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("12"), st.integers(1, 2)), max_size=3),
            ),
            max_size=15,
        )
    )
    def test_changes_add_up(self, steps: list[tuple[str, list[tuple[str, str, int]]]]) -> None:
        """Who applies the changes to nothing has what the shelf has."""
        shelf = Catalog()
        copy: dict[str, tuple[str, int]] = {}
        for action, nodes in steps:
            if action == "drop":
                changes = shelf.drop("s", [identity for identity, _, _ in nodes], "delete")
            elif action == "put":
                changes = [
                    c
                    for identity, version, port in nodes
                    for c in shelf.put(service(identity, version=version, port=port))
                ]
            else:
                wanted = {identity: service(identity, version=version, port=port) for identity, version, port in nodes}
                merged = Catalog()
                for each in wanted.values():
                    merged.put(each)
                changes = shelf.replace("s", merged.get("s"))
            for change in changes:
                for node in change.service.nodes:
                    if change.action == "delete":
                        del copy[node.id]
                    else:
                        self.assertEqual(change.action == "update", node.id in copy)
                        copy[node.id] = (change.service.version, node.port)
            found = {node.id: (each.version, node.port) for each in shelf.get("s") for node in each.nodes}
            self.assertEqual(found, copy)


class MirrorTest(SynchronousTestCase):
    def test_staleness(self) -> None:
        """Loss and return are news once."""
        mirror = Mirror()
        self.assertEqual([mirror.lost(5.0), mirror.lost(6.0), mirror.stale_since], [True, False, 5.0])
        self.assertEqual([mirror.found(), mirror.found(), mirror.stale_since], [True, False, None])

    def test_complaints(self) -> None:
        """A malformed record is news once, until it was well; the memory of them is bounded."""
        mirror = Mirror()
        self.assertEqual(
            [mirror.complain("a", "x"), mirror.complain("a", "x"), mirror.complain("a", "y")], [True, False, True]
        )
        mirror.content("a")
        self.assertTrue(mirror.complain("a", "y"))
        for number in range(2 * MAX_COMPLAINTS):
            mirror.complain(str(number), "x")
        self.assertEqual(len(mirror._complaints), MAX_COMPLAINTS)

    def test_forget(self) -> None:
        """To forget a service is to tell its deletion."""
        mirror = Mirror()
        mirror.put(service("a"))
        self.assertEqual(told(mirror.forget("s")), [("delete", "1", "a")])


class WatchersTest(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.watchers = Watchers(self.clock)
        self.seen: list[Change] = []
        self.change = Change("create", service("a"))

    def test_next_turn(self) -> None:
        """A watcher hears in the next turn, in order, what happened while it watched."""
        self.watchers.tell([self.change])
        self.watchers.add(self.seen.append)
        self.watchers.tell([self.change, self.change])
        self.assertEqual(self.seen, [])
        self.clock.advance(0)
        self.assertEqual(len(self.seen), 2)

    def test_cancel_within(self) -> None:
        """A watcher that cancels another in the middle of the news spares it the rest."""
        other = None

        def first(change: Change) -> None:
            assert other is not None
            other.cancel()

        self.watchers.add(first)
        other = self.watchers.add(self.seen.append)
        self.watchers.tell([self.change])
        self.clock.advance(0)
        self.assertEqual((self.seen, len(self.watchers)), ([], 1))

    def test_failure(self) -> None:
        """What a watcher raises is logged."""
        self.watchers.add(lambda change: 1 / 0)  # type: ignore[arg-type]  # it never returns
        self.watchers.add(self.seen.append)
        self.watchers.tell([self.change])
        self.clock.advance(0)
        self.assertEqual(len(self.seen), 1)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
