"""The memory broker, judged by the contract and by what only it promises."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from sidecar.broker import memory
from sidecar.errors import EngineUnavailable
from sidecar.interfaces import IBroker
from sidecar.model import ANONYMOUS, BackendOptions, Message
from sidecar.test.contracts import broker as contract


class MemoryBrokerContract(contract.BrokerContract):
    """The contract, in virtual time."""

    def make_broker(self) -> IBroker:
        self.clock = Clock()
        broker = memory.MemoryBroker(self.clock)
        broker.startService()
        return broker

    def until(self, reached: Callable[[], object], what: str, patience: float = 30.0) -> Deferred[None]:
        turns = 0
        while not reached():
            self.assertLess(turns := turns + 1, 100, f"never: {what}")
            self.clock.advance(0)
        return succeed(None)

    def quiet(self, seconds: float = 0.2) -> Deferred[None]:
        self.clock.advance(seconds)
        return succeed(None)


class MemoryBroker(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.broker = memory.MemoryBroker(self.clock)
        self.broker.startService()

    def test_queue_is_spread_evenly(self) -> None:
        """Each of three members gets a third."""
        subs = [contract.Collector() for _ in range(3)]
        for sub in subs:
            self.successResultOf(self.broker.subscribe("t", sub, "q", ANONYMOUS))
        for _ in range(30):
            self.successResultOf(self.broker.publish("t", Message({}, b"x"), ANONYMOUS))
        self.clock.advance(0)
        self.assertEqual([len(sub.messages) for sub in subs], [10, 10, 10])

    def test_one_call_a_turn(self) -> None:
        """However many messages a turn brings, the reactor is asked for one call."""
        self.broker.subscribe("t", contract.Collector(), None, ANONYMOUS)
        for _ in range(5):
            self.broker.publish("t", Message({}, b"x"), ANONYMOUS)
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)

    def test_bounded(self) -> None:
        """A publisher that never lets the reactor run is refused at a bound, and welcome again after it."""
        self.patch(memory, "MAX_WAITING_MESSAGES", 3)
        sub = contract.Collector()
        self.broker.subscribe("t", sub, None, ANONYMOUS)
        for _ in range(3):
            self.successResultOf(self.broker.publish("t", Message({}, b"x"), ANONYMOUS))
        self.failureResultOf(self.broker.publish("t", Message({}, b"x"), ANONYMOUS), EngineUnavailable)
        self.clock.advance(0)
        self.successResultOf(self.broker.publish("t", Message({}, b"x"), ANONYMOUS))
        self.clock.advance(0)
        self.assertEqual(len(sub.messages), 4)

    def test_leaves_nothing_behind(self) -> None:
        """Topics without subscribers take no memory."""
        for number in range(100):
            place = self.successResultOf(
                self.broker.subscribe(f"t{number}", contract.Collector(), "q" if number % 2 else None, ANONYMOUS)
            )
            self.successResultOf(place.cancel())
        self.assertEqual(len(self.broker._topics), 0)

    def test_build(self) -> None:
        """The entry point gives a broker on the reactor of its options."""
        self.assertEqual(memory.build(BackendOptions(self.clock)).state().kind, "memory")
