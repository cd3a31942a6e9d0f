"""Several registries as one."""

from __future__ import annotations

from typing import Any

from attrs import evolve
from twisted.internet.defer import Deferred
from twisted.internet.defer import fail as failed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase, TestCase

from sidecar.errors import BadRequest, EngineUnavailable, NotFound
from sidecar.model import ANONYMOUS, UNSAID, Caller, Cause, Change, Node, Service
from sidecar.registry.memory import MemoryRegistry
from sidecar.registry.multi import RETRY, MultiRegistry
from sidecar.test.contracts.registry import RegistryContract
from sidecar.test.doubles.watcher import RecordingWatcher


class Unreliable(MemoryRegistry):
    """A memory registry whose engine can be away. :ivar refuses: raised for every request while it is set."""

    refuses: Exception | None = None

    def register(self, service: Service, ttl: float | None, caller: Caller, cause: Cause = UNSAID) -> Deferred[None]:
        return failed(self.refuses) if self.refuses else super().register(service, ttl, caller, cause)

    def deregister(self, service: Service, caller: Caller, cause: Cause = UNSAID) -> Deferred[None]:
        return failed(self.refuses) if self.refuses else super().deregister(service, caller, cause)

    def get(self, name: str) -> Deferred[tuple[Service, ...]]:
        return failed(self.refuses) if self.refuses else super().get(name)

    def list(self) -> Deferred[tuple[str, ...]]:
        return failed(self.refuses) if self.refuses else super().list()


AWAY = EngineUnavailable("away")


def foo(*ids: str, version: str = "") -> Service:
    return Service("foo", version, nodes=tuple(Node(id, "127.0.0.1", 9) for id in ids))


class Contract(RegistryContract, TestCase):
    """Two memory registries keep every promise that one keeps."""

    async def make_registry(self) -> Any:
        from twisted.internet import reactor

        clock: Any = reactor
        made = MultiRegistry((MemoryRegistry(clock), MemoryRegistry(clock)), clock)
        made.startService()
        return made


class Several(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.first, self.second = Unreliable(self.clock), Unreliable(self.clock)
        self.both = MultiRegistry((self.first, self.second), self.clock)
        self.both.startService()
        self.addCleanup(self.both.stopService)
        self.changes: list[Change] = []
        self.watcher = RecordingWatcher(self.changes)
        self.both.watch(self.watcher)

    def get(self, registry: Any) -> tuple[str, ...]:
        found = self.successResultOf(registry.get("foo"))
        return tuple(node.id for each in found for node in each.nodes)

    def test_written_to_all(self) -> None:
        """A registration is in each of them, and read once."""
        self.successResultOf(self.both.register(foo("a"), None, ANONYMOUS))
        self.assertEqual((self.get(self.first), self.get(self.second), self.get(self.both)), (("a",), ("a",), ("a",)))

    def test_read_from_all(self) -> None:
        """What only one knows is found, versions are kept apart, the same node stands once."""
        self.successResultOf(self.first.register(foo("a", "b"), None, ANONYMOUS))
        self.successResultOf(self.second.register(foo("b", "c"), None, ANONYMOUS))
        self.successResultOf(self.second.register(foo("d", version="2"), None, ANONYMOUS))
        found = self.successResultOf(self.both.get("foo"))
        self.assertEqual(
            [(each.version, sorted(node.id for node in each.nodes)) for each in found],
            [("", ["a", "b", "c"]), ("2", ["d"])],
        )

    def test_one_down_hides_nothing(self) -> None:
        """While one is away the other's services are found and listed."""
        self.successResultOf(self.second.register(foo("a"), None, ANONYMOUS))
        self.first.refuses = AWAY
        self.assertEqual(self.get(self.both), ("a",))
        self.assertEqual(self.successResultOf(self.both.list()), ("foo",))

    def test_unknown(self) -> None:
        """Nobody knows it: not found. One cannot say: unavailable, since it may well be there."""
        self.failureResultOf(self.both.get("foo"), NotFound)
        self.first.refuses = AWAY
        self.failureResultOf(self.both.get("foo"), EngineUnavailable)

    def test_missed_write_is_brought(self) -> None:
        """A write holds when one took it, and reaches the other when that is back."""
        self.second.refuses = AWAY
        self.successResultOf(self.both.register(foo("a"), None, ANONYMOUS))
        self.second.refuses = None
        self.clock.advance(RETRY)
        self.assertEqual(self.get(self.second), ("a",))

    def test_missed_deregistration_is_brought(self) -> None:
        """So does a deregistration, and it overtakes a registration that was missed before."""
        self.successResultOf(self.both.register(foo("a"), None, ANONYMOUS))
        self.second.refuses = AWAY
        self.successResultOf(self.both.register(foo("a"), None, ANONYMOUS))
        self.successResultOf(self.both.deregister(foo("a"), ANONYMOUS))
        self.second.refuses = None
        self.clock.advance(RETRY)
        self.failureResultOf(self.second.get("foo"), NotFound)

    def test_missed_write_that_expired(self) -> None:
        """A registration whose time ran out meanwhile is not brought any more."""
        self.second.refuses = AWAY
        self.successResultOf(self.both.register(foo("a"), 1.0, ANONYMOUS))
        self.clock.advance(1.5)
        self.second.refuses = None
        self.clock.advance(RETRY)
        self.failureResultOf(self.second.get("foo"), NotFound)

    def test_none_takes_it(self) -> None:
        """Where all are away the writer is told."""
        self.first.refuses = self.second.refuses = AWAY
        self.failureResultOf(self.both.register(foo("a"), None, ANONYMOUS), EngineUnavailable)

    def test_one_will_never_take_it(self) -> None:
        """What one engine cannot keep is kept by the other, and not repeated."""
        self.second.refuses = BadRequest("not for me")
        self.successResultOf(self.both.register(foo("a"), None, ANONYMOUS))
        self.second.refuses = None
        self.clock.advance(RETRY)
        self.failureResultOf(self.second.get("foo"), NotFound)

    def test_told_once(self) -> None:
        """A node that two engines have comes once, and is gone when the last of them lost it."""
        self.successResultOf(self.both.register(foo("a"), None, ANONYMOUS))
        self.clock.pump([0.01] * 3)
        self.assertEqual([change.action for change in self.changes], ["create"])
        self.successResultOf(self.first.deregister(foo("a"), ANONYMOUS))
        self.clock.pump([0.01] * 3)
        self.assertEqual(len(self.changes), 1)
        self.successResultOf(self.second.deregister(foo("a"), ANONYMOUS))
        self.clock.pump([0.01] * 3)
        self.assertEqual([change.action for change in self.changes], ["create", "delete"])

    def test_state(self) -> None:
        """The state names both, and is as bad as the worse one's."""
        self.assertEqual((self.both.state().kind, self.both.state().connected), ("memory,memory", True))
        worse = evolve(self.second.state(), connected=False, stale_since=5.0, detail="away")
        self.patch(self.second, "state", lambda: worse)
        state = self.both.state()
        self.assertEqual((state.connected, state.stale_since, state.detail), (False, 5.0, "memory: away"))

    def test_invalidated(self) -> None:
        """That a name is to be forgotten is told on, whichever engine says so."""
        self.second._watchers.invalidate("foo")
        self.clock.pump([0.01] * 3)
        self.assertEqual((self.watcher.names, self.changes), (["foo"], []))

    def test_reasons(self) -> None:
        """Why and by whom is told on as it was told by the engine that counts, and brought to one that missed it."""
        checked = Cause("check failed", "answered 503", "check")
        self.successResultOf(self.both.register(foo("a"), None, Caller("alice")))
        self.clock.pump([0.01] * 3)
        self.second.refuses = AWAY
        self.successResultOf(self.both.deregister(foo("a"), ANONYMOUS, checked))
        self.second.refuses = None
        self.clock.advance(RETRY)
        self.clock.pump([0.01] * 3)
        self.assertEqual(
            [(change.action, change.reason, change.detail, change.by) for change in self.changes],
            [("create", "registered", "", "caller alice"), ("delete", "check failed", "answered 503", "check")],
        )
