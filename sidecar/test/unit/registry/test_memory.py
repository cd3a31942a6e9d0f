"""The embedded registry: the contract, and what only it can promise since its clock can be moved."""

from __future__ import annotations

from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase, TestCase

from sidecar.lifecycle import PauseDetector
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


class Pauses(SynchronousTestCase):
    """This process did not run for a while."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.registry = MemoryRegistry(self.clock, pauses=PauseDetector(self.clock))
        self.registry.startService()
        self.addCleanup(self.registry.stopService)

    def pass_time(self, seconds: float) -> None:
        for _ in range(round(seconds / 0.25)):
            self.clock.advance(0.25)

    def names(self) -> tuple[str, ...]:
        return self.successResultOf(self.registry.list())

    def test_grace(self) -> None:
        """What ran out while nobody could renew stays for half its TTL, a second at least, and goes then."""
        self.registry.register(a_service("brief"), 1.0, ANONYMOUS)
        self.registry.register(a_service("long"), 20.0, ANONYMOUS)
        self.registry.register(a_service("lasting"), 3600.0, ANONYMOUS)
        self.clock.advance(60)
        self.assertEqual(self.names(), ("brief", "lasting", "long"))
        self.pass_time(1.25)
        self.assertEqual(self.names(), ("lasting", "long"))
        self.pass_time(9)
        self.assertEqual(self.names(), ("lasting",))

    def test_asked_first(self) -> None:
        """So it is where somebody asks before any timer of ours runs."""
        self.registry.register(a_service("brief"), 2.0, ANONYMOUS)
        self.clock.rightNow += 60  # the moment after it runs again
        self.assertEqual(self.names(), ("brief",))

    def test_renewed(self) -> None:
        """Whoever renews within the grace stays."""
        service = a_service("brief")
        self.registry.register(service, 2.0, ANONYMOUS)
        self.clock.advance(60)
        self.pass_time(0.5)
        self.registry.register(service, 2.0, ANONYMOUS)
        self.pass_time(1.75)
        self.assertEqual(self.names(), ("brief",))
        self.pass_time(0.5)
        self.assertEqual(self.names(), ())

    def test_no_pause(self) -> None:
        """While it runs nothing is late: a TTL is exact."""
        self.registry.register(a_service("brief"), 2.0, ANONYMOUS)
        self.pass_time(2.0)
        self.assertEqual(self.names(), ())
