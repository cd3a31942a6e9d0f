"""The embedded registry: the contract, and what only it can promise since its clock can be moved."""

from __future__ import annotations

from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase, TestCase

from sidecar.model import ANONYMOUS, BackendOptions, Change, Node, Service
from sidecar.registry.memory import MemoryRegistry, build
from sidecar.test.contracts.registry import RegistryContract, a_service
from sidecar.test.doubles.watcher import RecordingWatcher


class Contract(RegistryContract, TestCase):
    """The contract, over memory."""

    def setUp(self) -> None:
        self.clock = Clock()

    async def make_registry(self) -> Any:
        registry = MemoryRegistry(self.clock)
        registry.startService()
        return registry

    async def pass_time(self, seconds: float) -> None:
        self.clock.advance(seconds)


class Expiry(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.registry = MemoryRegistry(self.clock)
        self.seen: list[Change] = []
        self.registry.watch(RecordingWatcher(self.seen))

    def test_exact(self) -> None:
        """Expiry comes at the deadline itself, by a single timer, without anybody asking."""
        self.registry.register(a_service("slow"), 10.0, ANONYMOUS)
        self.registry.register(a_service("quick"), 2.5, ANONYMOUS)
        self.assertEqual(len([call for call in self.clock.getDelayedCalls() if call.getTime() > 0]), 1)
        self.clock.advance(2.4999)
        self.assertNotIn("expired", [change.reason for change in self.seen])
        self.clock.advance(0.0001)
        self.clock.advance(0)
        self.assertEqual([(c.reason, c.service.name) for c in self.seen[2:]], [("expired", "quick")])
        self.clock.advance(7.5)
        self.clock.advance(0)
        self.assertEqual([(c.reason, c.service.name) for c in self.seen[3:]], [("expired", "slow")])

    def test_very_long(self) -> None:
        """A TTL of a century sets no timer that a reactor could not wait for."""
        self.registry.register(a_service("old"), 3e9, ANONYMOUS)
        self.assertTrue(all(call.getTime() <= 86400 for call in self.clock.getDelayedCalls()))
        self.clock.advance(86400)
        self.assertEqual(self.successResultOf(self.registry.list()), ("old",))

    def test_what_a_version_is_known_for(self) -> None:
        """A node that is added or renewed without endpoints wipes none; the last one of a version may."""
        first = a_service()
        bare = Service(first.name, first.version, nodes=(Node("other", "127.0.0.1", 9),))
        self.registry.register(first, None, ANONYMOUS)
        self.registry.register(bare, None, ANONYMOUS)
        (found,) = self.successResultOf(self.registry.get(first.name))
        self.assertEqual(found.endpoints, first.endpoints)
        self.assertEqual({node.id for node in found.nodes}, {"other", *(node.id for node in first.nodes)})
        self.clock.advance(0)
        told = len(self.seen)
        self.registry.register(bare, None, ANONYMOUS)
        self.clock.advance(0)
        self.assertEqual(self.seen[told:], [])
        self.registry.deregister(first, ANONYMOUS)
        self.registry.register(bare, None, ANONYMOUS)
        (found,) = self.successResultOf(self.registry.get(first.name))
        self.assertEqual(found, bare)

    def test_stops_clean(self) -> None:
        """Stopping leaves no timer behind."""
        self.registry.register(a_service(), 5.0, ANONYMOUS)
        self.clock.advance(0)
        self.registry.stopService()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_build(self) -> None:
        """The backend's factory takes the reactor as its clock."""
        registry = build(BackendOptions(reactor=self.clock))
        self.assertEqual(registry.state().kind, "memory")
