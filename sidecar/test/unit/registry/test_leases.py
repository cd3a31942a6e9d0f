"""Leases, catalog, mirror and watchers: the pure parts under every registry."""

from __future__ import annotations

from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from sidecar.model import ANONYMOUS, Caller, Cause, Change, Node, Service
from sidecar.registry.catalog import Catalog
from sidecar.registry.leases import EXPIRED, Leases
from sidecar.registry.remote.mirror import MAX_MALFORMED, Mirror
from sidecar.registry.watchers import CallbackWatcher, Watchers
from sidecar.test.doubles.watcher import RecordingWatcher
from sidecar.waiting import Clocks


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
                leases.set(key, now + span)
                table[key] = now + span
            elif action == "r":
                leases.remove(key)
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
            leases.set("a", 1e6 - turn)
            if turn % 3 == 0:
                leases.remove("a")
        self.assertLess(len(leases._heap), 200)  # what it is for: memory has no public name

    def test_order(self) -> None:
        """The earliest comes first."""
        leases: Leases[str] = Leases()
        for key, deadline in (("c", 3.0), ("a", 1.0), ("b", 2.0)):
            leases.set(key, deadline)
        self.assertEqual(leases.expire(2.5), ["a", "b"])
        self.assertEqual(leases.deadline("c"), 3.0)


def service(*ids: str, name: str = "s", version: str = "1", port: int = 1) -> Service:
    return Service(name, version, nodes=tuple(Node(identity, "h", port) for identity in ids))


def told(changes: list[Change]) -> list[tuple[str, str, str]]:
    return [
        (change.action, change.service.version, " ".join(node.id for node in change.service.nodes))
        for change in changes
    ]


class CatalogTest(SynchronousTestCase):
    def test_changes(self) -> None:
        """Creation, renewal, alteration, moving and removal are told with just the nodes concerned."""
        catalog = Catalog()
        self.assertEqual(told(catalog.put(service("a", "b"))), [("create", "1", "a b")])
        self.assertEqual(told(catalog.put(service("a", "b"))), [])
        self.assertEqual(told(catalog.put(service("b", "c", port=2))), [("create", "1", "c"), ("update", "1", "b")])
        self.assertEqual(told(catalog.put(service("a", version="2"))), [("update", "2", "a")])
        self.assertEqual(
            [(each.version, [node.id for node in each.nodes]) for each in catalog.get("s")],
            [("1", ["b", "c"]), ("2", ["a"])],
        )
        self.assertEqual(told(catalog.drop("s", ["a", "b", "x"])), [("delete", "2", "a"), ("delete", "1", "b")])
        (gone,) = catalog.drop("s", ["c"], EXPIRED)
        self.assertEqual((gone.action, gone.reason, gone.by), ("delete", "expired", "ttl"))
        self.assertEqual((catalog.get("s"), catalog.names(), "s" in catalog), ((), (), False))

    def test_altered_head(self) -> None:
        """A version whose metadata changes is told as an update."""
        catalog = Catalog()
        catalog.put(service("a"))
        changes = catalog.put(evolve(service("a"), metadata={"k": "v"}))
        self.assertEqual(told(changes), [("update", "1", "a")])
        self.assertEqual(catalog.get("s")[0].metadata, {"k": "v"})

    def test_replace(self) -> None:
        """What is not said again is gone; a version may stand without nodes."""
        catalog = Catalog()
        catalog.put(service("a", "b"))
        changes = catalog.replace("s", [service("b"), service(version="2"), service("c", version="3")])
        self.assertEqual(told(changes), [("delete", "1", "a"), ("create", "3", "c")])
        self.assertEqual([(each.version, len(each.nodes)) for each in catalog.get("s")], [("1", 1), ("2", 0), ("3", 1)])
        self.assertTrue(catalog.has("s", "b"))
        self.assertFalse(catalog.has("s", "a"))
        self.assertEqual(told(catalog.replace("s", [])), [("delete", "1", "b"), ("delete", "3", "c")])
        self.assertEqual(len(catalog), 0)

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
        """Who applies the changes to nothing has what the catalog has."""
        catalog = Catalog()
        copy: dict[str, tuple[str, int]] = {}
        for action, nodes in steps:
            if action == "drop":
                changes = catalog.drop("s", [identity for identity, _, _ in nodes])
            elif action == "put":
                changes = [
                    c
                    for identity, version, port in nodes
                    for c in catalog.put(service(identity, version=version, port=port))
                ]
            else:
                wanted = {identity: service(identity, version=version, port=port) for identity, version, port in nodes}
                merged = Catalog()
                for each in wanted.values():
                    merged.put(each)
                changes = catalog.replace("s", merged.get("s"))
            for change in changes:
                for node in change.service.nodes:
                    if change.action == "delete":
                        del copy[node.id]
                    else:
                        self.assertEqual(change.action == "update", node.id in copy)
                        copy[node.id] = (change.service.version, node.port)
            found = {node.id: (each.version, node.port) for each in catalog.get("s") for node in each.nodes}
            self.assertEqual(found, copy)


class MirrorTest(SynchronousTestCase):
    def test_staleness(self) -> None:
        """Loss and return are news once."""
        mirror = Mirror()
        self.assertEqual([mirror.lost(5.0), mirror.lost(6.0), mirror.stale_since], [True, False, 5.0])
        self.assertEqual([mirror.found(), mirror.found(), mirror.stale_since], [True, False, None])

    def test_malformed(self) -> None:
        """A malformed record is news once, until it was well; the memory of them is bounded."""
        mirror = Mirror()
        news = [mirror.report_malformed("a", why) for why in ("x", "x", "y")]
        self.assertEqual(news, [True, False, True])
        mirror.clear_malformed("a")
        self.assertTrue(mirror.report_malformed("a", "y"))
        for number in range(2 * MAX_MALFORMED):
            mirror.report_malformed(str(number), "x")
        self.assertEqual(len(mirror._malformed), MAX_MALFORMED)

    def test_forget(self) -> None:
        """A service that is forgotten is known no more."""
        mirror = Mirror()
        mirror.put(service("a"))
        mirror.forget("s")
        self.assertEqual((mirror.get("s"), mirror.names()), ((), ()))


class WatchersTest(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.watchers = Watchers(self.clock)
        self.seen: list[Change] = []
        self.change = Change.of("create", service("a"))
        self.watcher = RecordingWatcher(self.seen)

    def test_next_turn(self) -> None:
        """A watcher hears in the next turn, in order, what happened while it watched."""
        self.watchers.tell([self.change])
        self.watchers.add(self.watcher)
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

        self.watchers.add(CallbackWatcher(first, self.watcher.invalidated))
        other = self.watchers.add(self.watcher)
        self.watchers.tell([self.change])
        self.clock.advance(0)
        self.assertEqual((self.seen, len(self.watchers)), ([], 1))

    def test_failure(self) -> None:
        """What a watcher raises is logged."""
        self.watchers.add(CallbackWatcher(lambda change: 1 / 0, lambda name: 1 / 0))  # type: ignore[arg-type]  # it never returns
        self.watchers.add(self.watcher)
        self.watchers.tell([self.change])
        self.clock.advance(0)
        self.assertEqual(len(self.seen), 1)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_invalidated(self) -> None:
        """A name to forget is told in its place among the changes, to those who watched then."""
        order: list[str] = []
        self.watchers.add(CallbackWatcher(lambda change: order.append(change.action), order.append))
        self.watchers.tell([self.change])
        self.watchers.invalidate("s")
        self.watchers.tell([Change.of("delete", service("a"))])
        self.assertEqual(order, [])
        self.clock.advance(0)
        self.assertEqual(order, ["create", "s", "delete"])

    def test_time(self) -> None:
        """Each change is told with its date; one that has a date keeps it."""
        watchers = Watchers(Clocks(self.clock, lambda: 1_700_000_000.0))
        watchers.add(self.watcher)
        watchers.tell([self.change, evolve(self.change, time=5.0)])
        self.clock.advance(0)
        self.assertEqual([change.time for change in self.seen], [1_700_000_000.0, 5.0])


class ChangeTest(SynchronousTestCase):
    def test_has_nodes(self) -> None:
        """There is no change without nodes; the refusal says what to call instead."""
        error = self.assertRaises(ValueError, Change, "update", Service("s"), "engine")
        self.assertIn("invalidated", str(error))

    def test_reason(self) -> None:
        """Where nobody says why, the action does; who did it is the caller unless it is said."""
        self.assertEqual(Change.of("delete", service("a")).reason, "deregistered")
        self.assertEqual(Change.of("create", service("a"), Cause("restored")).reason, "restored")
        cause = Cause().asked_by(Caller("alice", address="10.0.0.1"))
        self.assertEqual(cause.by, "caller alice")
        self.assertEqual(Cause().asked_by(Caller(address="10.0.0.1")).by, "caller 10.0.0.1")
        self.assertEqual(Cause(by="check").asked_by(ANONYMOUS).by, "check")
