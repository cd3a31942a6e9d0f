"""What is remembered of nodes is bounded, and tells the last attempt in words."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from sidecar.interfaces import ICallObserver, IFailureObserver, IWatcher
from sidecar.model import Attempt, Call, Change, Node, Outcome, Service
from sidecar.stats.nodes import REMEMBERED, NodeCounters, NodeMemory

CALL = Call("foo", "A.B")


def attempt(outcome: Outcome, port: int = 1, ms: float = 2.0, detail: str = "") -> Attempt:
    node = Node(f"foo-{port}", "127.0.0.1", port)
    return Attempt(node, node.hostport, 0.0, 0.0, ms, outcome, detail)


class Nodes(SynchronousTestCase):
    def test_interfaces(self) -> None:
        """The one remembers what fails, the other observes all while somebody looks."""
        verifyObject(IFailureObserver, NodeMemory(lambda: 0.0))
        verifyObject(IWatcher, NodeMemory(lambda: 0.0))
        verifyObject(ICallObserver, NodeCounters(lambda: 0.0))

    def test_memory(self) -> None:
        """The last attempt that failed, in words, and since when a node is known."""
        memory = NodeMemory(lambda: 100.0)
        memory.attempt_failed(CALL, attempt(Outcome.REFUSED, detail="connection refused"))
        last = memory.last("127.0.0.1:1")
        assert last is not None
        self.assertEqual(last.ago(102.0), "refused 2 s ago: connection refused")
        self.assertEqual(last.told()["at"], "1970-01-01T00:01:40.000Z")
        node = Node("foo-1", "127.0.0.1", 1)
        memory.changed(Change("create", Service("foo", nodes=(node,)), "registered", by="caller me", time=50.0))
        told = memory.source("foo", node, "memory")
        self.assertEqual(told, {"engine": "memory", "since": "1970-01-01T00:00:50.000Z", "by": "caller me"})

    def test_bounded(self) -> None:
        """Those of which nothing was heard for longest are forgotten."""
        counters = NodeCounters(lambda: 0.0)
        for port in range(REMEMBERED + 5):
            counters.attempted(CALL, attempt(Outcome.ANSWERED, port))
        self.assertEqual(len(counters.numbers), REMEMBERED)
        self.assertNotIn(("foo", "127.0.0.1:1"), counters.numbers)
        counters.clear()
        self.assertFalse(counters.numbers)

    def test_counters(self) -> None:
        """Attempts by node: how many, how many went wrong (a caller who left is no error), how the last one went."""
        counters = NodeCounters(lambda: 7.0)
        for outcome in (Outcome.ANSWERED, Outcome.CANCELLED, Outcome.BROKEN):
            counters.attempted(CALL, attempt(outcome))
        numbers = counters.numbers["foo", "127.0.0.1:1"]
        last = counters.last(("foo", "127.0.0.1:1"), 100.0)
        assert last is not None
        self.assertEqual((numbers.calls, numbers.errors, last.outcome, last.at), (3, 1, Outcome.BROKEN, 100.0))
        self.assertEqual(sum(numbers.buckets), 3)
