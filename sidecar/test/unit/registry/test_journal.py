"""The journal: what is kept, for how long, how it was, and who is woken."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import CancelledError
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from sidecar.interfaces import IWatcher
from sidecar.model import ANONYMOUS, Caller, Cause, Change, Node, Service
from sidecar.registry.catalog import Catalog
from sidecar.registry.journal import Journal, JournalEntry
from sidecar.registry.memory import MemoryRegistry
from sidecar.waiting import Clocks

START = 1_700_000_000.0


def service(name: str, *ids: str, version: str = "1") -> Service:
    return Service(name, version, nodes=tuple(Node(identity, "h", 1) for identity in ids))


class JournalCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.timer = Clock()
        self.offset = START
        self.clock = Clocks(self.timer, lambda: self.timer.seconds() + self.offset)
        self.journal = Journal(self.clock)

    def tell(self, action: Any, told: Service, cause: Cause = Cause()) -> None:  # noqa: B008  # it is frozen
        self.journal.changed(Change.of(action, told, cause))


class Entries(JournalCase):
    def test_what_happened(self) -> None:
        """Each change of a registry is an entry with its time, why, by whom, and just the nodes that changed."""
        verifyObject(IWatcher, self.journal)
        registry = MemoryRegistry(self.clock)
        registry.watch(self.journal)
        registry.register(service("foo", "a", "b"), 10.0, Caller("alice"))
        self.timer.advance(1)
        registry.deregister(service("foo", "a"), ANONYMOUS, Cause("check failed", "answered 503", "check"))
        self.timer.advance(9)
        self.timer.advance(0)
        self.assertEqual(
            [
                (e.time - START, e.action, e.reason, e.detail, e.by, [node.id for node in e.service.nodes])
                for e in self.journal.find()
            ],
            [
                (0, "create", "registered", "", "caller alice", ["a", "b"]),
                (1, "delete", "check failed", "answered 503", "check", ["a"]),
                (10, "delete", "expired", "", "ttl", ["b"]),
            ],
        )

    def test_index(self) -> None:
        """Without anything restored it counts from the time of its start, up by one for each entry; a service has the
        index of its last one, the whole of the last of all, and who has none that of the start."""
        start = int(START * 1e6)
        self.assertEqual((self.journal.index, self.journal.index_of("foo")), (start, start))
        self.tell("create", service("foo", "a"))
        self.tell("create", service("bar", "b"))
        self.assertEqual(
            (self.journal.index, self.journal.index_of("foo"), self.journal.index_of("nobody")),
            (start + 2, start + 1, start),
        )
        self.assertTrue(self.journal.knows(start))
        self.assertFalse(self.journal.knows(start - 1))
        self.assertFalse(self.journal.knows(start + 3))
        self.assertEqual([entry.service.name for entry in self.journal.after(start)], ["foo", "bar"])
        self.assertEqual([entry.service.name for entry in self.journal.after(start, "bar")], ["bar"])
        self.assertEqual(list(self.journal.after(start + 2)), [])

    def test_find(self) -> None:
        """Entries are found by service, time and reason, and the newest where there are too many."""
        for number in range(5):
            self.tell("create", service("foo", f"n{number}"))
            self.timer.advance(10)
        self.tell("delete", service("foo", "n0"), Cause("expired"))
        self.tell("create", service("bar", "b"))

        def ids(**asked: Any) -> list[str]:
            return [entry.service.nodes[0].id for entry in self.journal.find(**asked)]

        self.assertEqual(ids(name="bar"), ["b"])
        self.assertEqual(ids(name="nobody"), [])
        self.assertEqual(ids(since=START + 30), ["n3", "n4", "n0", "b"])
        self.assertEqual(ids(reason="expired"), ["n0"])
        self.assertEqual(ids(name="foo", limit=2), ["n4", "n0"])

    def test_bounded_by_count(self) -> None:
        """No more entries are kept than that; how it was before them is known no more, and it says since when it is."""
        self.journal.entries = 3
        for number in range(5):
            self.timer.advance(10)
            self.tell("create", service("foo", f"n{number}"))
        self.assertEqual([entry.service.nodes[0].id for entry in self.journal.find()], ["n2", "n3", "n4"])
        self.assertEqual(self.journal.began, START + 20)
        self.assertIsNone(self.journal.at("foo", START + 15))
        (found,) = self.journal.at("foo", START + 30) or ()
        self.assertEqual([node.id for node in found.nodes], ["n0", "n1", "n2"])
        self.assertFalse(self.journal.knows(self.journal.index - 4))

    def test_bounded_by_age(self) -> None:
        """Entries that are too old go, also when nothing happens any more."""
        self.journal.age = 60.0
        self.tell("create", service("foo", "a"))
        self.timer.advance(59)
        self.assertEqual(len(self.journal.find()), 1)
        self.timer.advance(2)
        self.assertEqual(self.journal.find(), [])
        (found,) = self.journal.at("foo", START + 61) or ()
        self.assertEqual([node.id for node in found.nodes], ["a"])

    def test_gone_services_are_forgotten(self) -> None:
        """Of services that came and went long ago nothing is kept, however many there were."""
        self.journal.entries = 10
        for number in range(1000):
            self.tell("create", service(f"s{number}", "a"))
            self.tell("delete", service(f"s{number}", "a"))
        self.assertLess(len(self.journal._services), 20)  # what it is for: memory has no public name
        self.assertGreaterEqual(self.journal.index_of("s0"), int(START * 1e6) + 2)

    def test_wall_clock_set_back(self) -> None:
        """A wall clock that is set back loses nothing, and the index goes up all the same."""
        self.tell("create", service("foo", "a"))
        self.offset -= 7200
        self.tell("create", service("foo", "b"))
        first, second = self.journal.find()
        self.assertEqual(second.index, first.index + 1)
        self.assertLess(second.time, first.time)

    @given(
        st.lists(
            st.tuples(
                st.sampled_from(["create", "delete"]),
                st.sampled_from(["x", "y"]),
                st.sampled_from("abc"),
                st.integers(0, 5),
            ),
            max_size=40,
        ),
        st.integers(1, 10),
    )
    def test_as_it_was(self, steps: list[tuple[Any, str, str, int]], entries: int) -> None:
        """At each time that the journal goes back to, every service is as it was then."""
        self.setUp()
        self.journal.entries = entries
        catalog = Catalog()
        then: dict[float, dict[str, set[str]]] = {}
        for action, name, identity, pause in steps:
            self.timer.advance(pause + 1)
            told = service(name, identity)
            changes = catalog.put(told) if action == "create" else catalog.drop(name, [identity])
            for change in changes:
                self.journal.changed(change)
            then[self.clock.wall()] = {
                each: {node.id for version in catalog.get(each) for node in version.nodes} for each in catalog.names()
            }
        present: dict[str, set[str]] = {}
        for each in self.journal.present():
            present.setdefault(each.name, set()).update(node.id for node in each.nodes)
        self.assertEqual(present, list(then.values())[-1] if then else {})
        for time, expected in then.items():
            names = self.journal.names_at(time)
            if names is None:
                self.assertLess(time, self.journal.began)
                continue
            found = {
                name: {node.id for each in self.journal.at(name, time) or () for node in each.nodes} for name in names
            }
            self.assertEqual(found, expected)


class Restored(JournalCase):
    def test_goes_on(self) -> None:
        """What an earlier life kept is there, its indices stay, and new entries go on from them."""
        kept: list[tuple[JournalEntry, int]] = []
        self.journal.keep = lambda entry, trimmed: kept.append((entry, trimmed))
        self.journal.entries = 2
        for number in range(3):
            self.timer.advance(10)
            self.tell("create", service("foo", f"n{number}"))
        self.assertEqual([trimmed for _, trimmed in kept], [0, 0, kept[1][0].index])
        self.timer.advance(3600)
        again = Journal(self.clock)
        again.restore([entry for entry, _ in kept[1:]], self.journal.before(), self.journal.began)
        self.assertEqual(again.find(), [entry for entry, _ in kept[1:]])
        self.assertEqual((again.index, again.index_of("foo")), (kept[2][0].index, kept[2][0].index))
        self.assertEqual(again.began, self.journal.began)
        (found,) = again.at("foo", START + 25) or ()
        self.assertEqual([node.id for node in found.nodes], ["n0", "n1"])
        again.changed(Change.of("delete", service("foo", "n0")))
        self.assertEqual(again.index, kept[2][0].index + 1)

    def test_nothing_restored(self) -> None:
        """Without entries it counts from its own start, after everything that an earlier life counted."""
        self.journal.restore([], [service("foo", "a")], START - 100)
        self.assertEqual(self.journal.index, int(START * 1e6))
        (found,) = self.journal.at("foo", START - 50) or ()
        self.assertEqual([node.id for node in found.nodes], ["a"])


class Waiting(JournalCase):
    def test_woken(self) -> None:
        """Who waits for a service is woken by it and by no other; who waits for all by any."""
        index = self.journal.index
        foo, anything = self.journal.wait("foo", index), self.journal.wait(None, index)
        self.tell("create", service("bar", "b"))
        self.assertNoResult(foo)
        self.successResultOf(anything)
        self.tell("create", service("foo", "a"))
        self.successResultOf(foo)

    def test_known_already(self) -> None:
        """Who asks by an index of before, of the future or of another life does not wait; who has seen others' entries
        since, and none of this service's, does."""
        self.tell("create", service("foo", "a"))
        index = self.journal.index_of("foo")
        for asked in (index - 1, index + 1, 0, 7):
            self.successResultOf(self.journal.wait("foo", asked))
        self.assertNoResult(self.journal.wait("foo", index))
        self.tell("create", service("bar", "b"))
        later = self.journal.wait("foo", index + 1)
        self.assertNoResult(later)
        self.tell("create", service("foo", "c"))
        self.successResultOf(later)

    def test_present_and_old(self) -> None:
        """A service that is there keeps its index however long ago its last entry was, also when somebody waited for it
        in vain, and also in the next life: what happens to others moves it not."""
        self.journal.entries = 2
        self.tell("create", service("foo", "a"))
        index = self.journal.index_of("foo")
        for number in range(5):
            self.tell("create", service("bar", f"n{number}"))
        waiting = self.journal.wait("foo", index)
        self.assertNoResult(waiting)
        waiting.cancel()
        self.failureResultOf(waiting, CancelledError)
        self.assertEqual(self.journal.index_of("foo"), index)
        again = Journal(self.clock, 2)
        again.restore(self.journal.find(), list(self.journal.before()), self.journal.began)
        before = again.index_of("foo")
        for number in range(5):
            again.changed(Change.of("create", service("bar", f"m{number}")))
        self.assertEqual(again.index_of("foo"), before)
        again.changed(Change.of("delete", service("foo", "a")))
        self.assertEqual(again.index_of("foo"), again.index)

    def test_gives_up(self) -> None:
        """Who gives up leaves nothing behind."""
        for name in ("foo", None):
            waiting = self.journal.wait(name, self.journal.index)
            waiting.cancel()
            self.failureResultOf(waiting, CancelledError)
        self.assertEqual((self.journal._services, len(self.journal._waiters)), ({}, 0))  # memory has no public name

    def test_waits_again(self) -> None:
        """Who is woken may wait again at once, and is not woken by the same entry."""
        woken: list[int] = []

        def again(_: object) -> None:
            woken.append(self.journal.index_of("foo"))
            self.journal.wait("foo", woken[-1]).addCallback(again)

        self.journal.wait("foo", self.journal.index_of("foo")).addCallback(again)
        for number in range(3):
            self.tell("create", service("foo", f"n{number}"))
        self.assertEqual(woken, [int(START * 1e6) + number for number in (1, 2, 3)])

    def test_follow(self) -> None:
        """A follower hears of each entry until it has enough."""
        seen: list[int] = []
        enough = self.journal.follow(lambda entry: seen.append(entry.index))
        self.tell("create", service("foo", "a"))
        enough()
        enough()
        self.tell("create", service("foo", "b"))
        self.assertEqual(seen, [int(START * 1e6) + 1])
