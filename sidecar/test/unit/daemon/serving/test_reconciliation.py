"""After a restart the journal hears of what left meanwhile, and of nothing else."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred, fail
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from sidecar.daemon.serving.reconciliation import DETAIL, PAUSE, Reconciliation
from sidecar.errors import EngineUnavailable
from sidecar.model import ANONYMOUS, Change, Node, Service
from sidecar.registry.journal import Journal
from sidecar.registry.memory import MemoryRegistry


def service(name: str, *ids: str) -> Service:
    return Service(name, "1", nodes=tuple(Node(identity, "h", 1) for identity in ids))


class AwayRegistry(MemoryRegistry):
    """One whose engine is away. :ivar away: whether it is."""

    away = False

    def get(self, name: str) -> Deferred[Any]:
        return fail(EngineUnavailable("away")) if self.away else super().get(name)


class Reconciling(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.registry = AwayRegistry(self.clock)
        earlier = Journal(self.clock)
        for told in (service("foo", "a", "b"), service("bar", "c"), service("baz", "d")):
            earlier.changed(Change.of("create", told))
        self.journal = Journal(self.clock)
        self.journal.restore(earlier.find(), earlier.before(), earlier.began)
        self.index = self.journal.index
        for there in (service("foo", "b", "new"), service("baz", "d")):
            self.registry.register(there, None, ANONYMOUS)
        self.reconciliation = Reconciliation(self.registry, self.journal, self.clock)

    def told(self) -> list[tuple[str, str, str, str]]:
        return [
            (entry.action, entry.reason, entry.detail, ",".join(node.id for node in entry.service.nodes))
            for entry in self.journal.after(self.index)
        ]

    def test_gone(self) -> None:
        """What is gone is told of as gone, once; what is there is not told of."""
        self.reconciliation.startService()
        self.assertEqual(self.told(), [("delete", "restored", DETAIL, "c"), ("delete", "restored", DETAIL, "a")])
        self.assertEqual([each.name for each in self.journal.present()], ["baz", "foo"])

    def test_engine_away(self) -> None:
        """While the engine is away nothing is known to be gone; it is asked again until it answers."""
        self.registry.away = True
        self.reconciliation.startService()
        self.clock.advance(PAUSE)
        self.assertEqual(self.told(), [])
        self.registry.away = False
        self.clock.advance(PAUSE)
        self.assertEqual(len(self.told()), 2)

    def test_stopping(self) -> None:
        """A stop meanwhile leaves nothing behind."""
        self.registry.away = True
        self.reconciliation.startService()
        self.successResultOf(Deferred.fromCoroutine(self.reconciliation.stopService()))
        self.assertEqual(self.clock.getDelayedCalls(), [])
