"""Calls: attempts, deadlines, cancelling, counting. The transport is a double, the clock is ours."""

from __future__ import annotations

from random import Random
from typing import Any

from attrs import define, field
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from sidecar.errors import (
    BadRequest,
    CallTimeout,
    ConnectFailed,
    ConnectionLost,
    Forbidden,
    NoNodes,
    NotFound,
    ServiceFault,
    ShuttingDown,
    SidecarError,
)
from sidecar.interfaces import IClient
from sidecar.model import Call, CallPolicy, Fault, Node, Reply, Service
from sidecar.rpc.client import Client
from sidecar.rpc.dialects import Exchange, Listener
from sidecar.rpc.selector import Selector
from sidecar.test.unit.rpc.test_selector import Registry, service

HELLO = Call("foo", "Say.Hello")
REFUSED = ConnectFailed("connection refused")


@define(eq=False)
class Try:
    """One attempt, to be ended by the test."""

    node: Node
    timeout: float
    listener: Listener
    started: bool = False
    cancelled: bool = False
    state: str = "no answer"
    at_once: SidecarError | None = None

    def start(self) -> None:
        self.started = True
        if self.at_once is not None:
            self.listener.attempt_failed(self.at_once)

    def cancel(self) -> None:
        self.cancelled = True

    def reply(self, body: bytes = b"1") -> None:
        self.listener.attempt_replied(Reply(body))

    def fail(self, error: SidecarError) -> None:
        self.listener.attempt_failed(error)


@define(eq=False)
class Transport:
    """Keeps the attempts. :ivar refusing: ports at which nobody listens."""

    tries: list[Try] = field(factory=list)
    refusing: set[int] = field(factory=set)
    raising: Exception | None = None

    def exchange(self, node: Node, call: Call, timeout: float, listener: Listener) -> Exchange:
        if self.raising is not None:
            raise self.raising
        self.tries.append(Try(node, timeout, listener, at_once=REFUSED if node.port in self.refusing else None))
        return self.tries[-1]


class Calling(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(1000.0)
        self.registry = Registry()
        self.registry.put(service("foo", 1, 2))
        self.transport = Transport()
        self.client = self.make()

    def make(self, strategy: str = "random", any_address: bool = False) -> Client:
        self.selector = Selector(self.registry, strategy, Random(1))  # type: ignore[arg-type]  # it is a registry
        self.selector.startService()
        client = Client(self.selector, self.transport, self.clock, Random(1), any_address)
        client.startService()
        return client

    def call(self, call: Call = HELLO, **policy: Any) -> Deferred[Reply]:
        return self.client.call(call, CallPolicy(**policy))

    def test_interface(self) -> None:
        """It is an IClient."""
        verifyObject(IClient, self.client)

    def test_answered(self) -> None:
        """A call is one attempt, and its answer is the caller's."""
        sent = self.call()
        self.assertEqual(self.client.in_flight, 1)
        self.assertEqual(self.transport.tries[0].timeout, 5.0)
        self.transport.tries[0].reply(b'{"a":1}')
        self.assertEqual(self.successResultOf(sent), Reply(b'{"a":1}'))
        self.assertEqual((self.client.in_flight, self.client.succeeded), (0, 1))
        self.clock.advance(1)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_another_node(self) -> None:
        """A node that refuses costs one attempt; the other one is tried at once."""
        sent = self.call()
        first = self.transport.tries[0]
        first.fail(REFUSED)
        second = self.transport.tries[1]
        self.assertEqual({first.node.port, second.node.port}, {1, 2})
        second.reply()
        self.successResultOf(sent)
        self.assertEqual(self.client.retried, 1)

    def test_the_only_node(self) -> None:
        """Where there is no other node the same one is tried again, after a pause."""
        self.registry.put(service("foo", 1))
        sent = self.call()
        self.transport.tries[0].fail(REFUSED)
        self.assertEqual(len(self.transport.tries), 1)
        self.clock.advance(0.011)
        self.transport.tries[1].reply()
        self.successResultOf(sent)

    def test_one_of_two_refuses(self) -> None:
        """One node of two refuses connections: of a thousand calls none fails."""
        self.transport.refusing = {1}
        for strategy in ("random", "roundrobin", "leastbusy"):
            self.client = self.make(strategy)
            for _ in range(1000):
                sent = self.call()
                self.transport.tries[-1].reply()
                self.successResultOf(sent)
                self.transport.tries.clear()

    def test_told(self) -> None:
        """When all attempts fail, the caller reads which nodes were tried, and the last error's kind decides."""
        sent = self.call()
        self.transport.tries[0].fail(REFUSED)
        self.transport.tries[1].fail(ConnectionLost("closed"))
        error = self.failureResultOf(sent, ConnectionLost).value
        assert isinstance(error, ConnectionLost)
        self.assertEqual([attempt.outcome for attempt in error.attempts], ["connection refused", "closed"])
        self.assertIn("2 attempts failed", str(error))
        self.assertEqual((self.client.failed, self.client.in_flight), (1, 0))

    def test_fault(self) -> None:
        """An error of the service is its own."""
        sent = self.call()
        fault = Fault("srv", 400, "bad John", "Bad Request")
        self.transport.tries[0].fail(ServiceFault(fault))
        error = self.failureResultOf(sent, ServiceFault).value
        assert isinstance(error, ServiceFault)
        self.assertEqual((error.fault, self.client.faulted), (fault, 1))

    def test_deadline(self) -> None:
        """The whole call is over at its deadline, whatever it is doing, and its attempt is ended."""
        sent = self.call(timeout=0.3)
        self.clock.pump([0.01] * 29)
        self.assertNoResult(sent)
        self.clock.pump([0.01] * 3)
        error = self.failureResultOf(sent, CallTimeout).value
        told = r"timed out after 0.3 s: 1 attempt failed: 127.0.0.1:\d \(foo-\d\): no answer in 0.3\d* s$"
        self.assertRegex(str(error), "^foo Say.Hello: " + told)
        self.assertTrue(self.transport.tries[0].cancelled)
        self.assertEqual((self.client.timed_out, self.client.in_flight), (1, 0))

    def test_deadline_spans_attempts(self) -> None:
        """Attempts and pauses all come out of the same time, and the node is told what is left."""
        sent = self.call(timeout=1.0, retries=9)
        self.clock.advance(0.4)
        self.transport.tries[0].fail(REFUSED)
        self.assertAlmostEqual(self.transport.tries[1].timeout, 0.6)
        self.clock.pump([0.05] * 20)
        self.failureResultOf(sent, CallTimeout)

    def test_no_pause_beyond_the_deadline(self) -> None:
        """Where a pause would not end in time the caller is told at once what happened."""
        self.registry.put(service("foo", 1))
        sent = self.call(timeout=0.005)
        self.transport.tries[0].fail(REFUSED)
        self.failureResultOf(sent, ConnectFailed)

    def test_unknown(self) -> None:
        """No such service, and a service without nodes, are told apart."""
        self.failureResultOf(self.call(Call("bar", "A.B")), NotFound)
        self.registry.put(Service("bar", "1"))
        self.failureResultOf(self.call(Call("bar", "A.B")), NoNodes)
        self.assertEqual(self.client.in_flight, 0)

    def test_slow_registry(self) -> None:
        """The call goes on when the registry answers, and its deadline counts meanwhile."""
        self.registry.held = []
        sent, late = self.call(), self.call(timeout=0.1)
        self.clock.pump([0.05] * 4)
        self.assertIn("the registry did not answer", str(self.failureResultOf(late, CallTimeout).value))
        self.registry.release()
        self.transport.tries[0].reply()
        self.successResultOf(sent)
        self.assertEqual(len(self.transport.tries), 1)

    def test_cancelled(self) -> None:
        """The caller leaves: the attempt is ended, nothing goes on, nobody is told anything else."""
        sent = self.call()
        sent.cancel()
        self.failureResultOf(sent, CancelledError)
        self.assertTrue(self.transport.tries[0].cancelled)
        self.transport.tries[0].fail(REFUSED)
        self.assertEqual((len(self.transport.tries), self.client.in_flight, self.client.cancelled), (1, 0, 1))

    def test_cancelled_while_pausing(self) -> None:
        """Also while it pauses between attempts, or waits for the registry."""
        self.registry.put(service("foo", 1))
        sent = self.call()
        self.transport.tries[0].fail(REFUSED)
        sent.cancel()
        self.failureResultOf(sent, CancelledError)
        self.registry.held = []
        self.registry.put(service("foo", 1))
        sent = self.call()
        sent.cancel()
        self.failureResultOf(sent, CancelledError)
        self.registry.release()
        self.clock.advance(1.0)
        self.assertEqual((len(self.transport.tries), self.clock.getDelayedCalls()), (1, []))

    def test_address(self) -> None:
        """A call to an address goes there and nowhere else, if a node of the service is there."""
        sent = self.call(Call("foo", "A.B", address="127.0.0.1:2"))
        self.assertEqual(self.transport.tries[0].node.id, "foo-2")
        self.transport.tries[0].fail(REFUSED)
        self.clock.advance(0.02)
        self.assertEqual(self.transport.tries[1].node.id, "foo-2")
        self.transport.tries[1].reply()
        self.successResultOf(sent)

    def test_strange_address(self) -> None:
        """Anywhere else is refused, so that nobody reaches through us what he cannot reach himself."""
        self.failureResultOf(self.call(Call("foo", "A.B", address="127.0.0.1:3")), Forbidden)
        self.failureResultOf(self.call(Call("bar", "A.B", address="127.0.0.1:1")), NotFound)
        for address in ("127.0.0.1", ":1", "h:", "h:0", "h:65536", "h:x", "h:1:", "h:٣"):
            error = self.failureResultOf(self.call(Call("foo", "A.B", address=address)), BadRequest)
            self.assertIn("address", str(error.value), address)
        self.assertEqual(self.transport.tries, [])

    def test_any_address(self) -> None:
        """Unless it was allowed; then the service need not be known at all."""
        self.client = self.make(any_address=True)
        for name, address, host, port in (("foo", "10.1.1.1:3", "10.1.1.1", 3), ("bar", "[::1]:4", "::1", 4)):
            sent = self.call(Call(name, "A.B", address=address))
            node = self.transport.tries[-1].node
            self.assertEqual((node.address, node.port), (host, port))
            self.transport.tries[-1].reply()
            self.successResultOf(sent)

    def test_slow_registry_and_address(self) -> None:
        """The same while the registry takes its time."""
        self.registry.held = []
        good, bad = self.call(Call("foo", "A.B", address="127.0.0.1:2")), self.call(Call("no", "A.B", address="h:1"))
        self.registry.release()
        self.transport.tries[0].reply()
        self.successResultOf(good)
        self.failureResultOf(bad, NotFound)

    def test_call_that_cannot_be_written(self) -> None:
        """What is wrong with the call itself is the caller's, and is not tried again."""
        self.transport.raising = BadRequest("metadata X: holds a control character")
        self.failureResultOf(self.call(), BadRequest)
        self.transport.raising = None
        sent = self.call()
        self.transport.tries[0].fail(BadRequest("method: x is not Type.Method"))
        self.failureResultOf(sent, BadRequest)
        self.assertEqual((len(self.transport.tries), self.client.in_flight), (1, 0))

    def test_least_busy_counts(self) -> None:
        """Every beginning has its end, however an attempt ends."""
        self.client = self.make("leastbusy")
        for end in ("reply", "fail", "timeout", "cancel", "retry"):
            sent = self.call(timeout=0.1, retries=1 if end == "retry" else 0)
            if end == "reply":
                self.transport.tries[-1].reply()
            elif end == "cancel":
                sent.cancel()
            elif end != "timeout":
                self.transport.tries[-1].fail(REFUSED)
                if end == "retry":
                    self.transport.tries[-1].fail(REFUSED)
            self.clock.pump([0.05] * 4)
            sent.addErrback(lambda _: None)
        strategy: Any = self.selector._strategy
        self.assertEqual(strategy._busy, {})

    def test_stop(self) -> None:
        """Stopping ends what is in flight, tells it why, and takes no more."""
        sent = self.call()
        self.client.stopService()
        self.failureResultOf(sent, ShuttingDown)
        self.assertTrue(self.transport.tries[0].cancelled)
        self.failureResultOf(self.call(), ShuttingDown)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(self.client.in_flight, 0)

    def test_another_round(self) -> None:
        """With more attempts than nodes every node gets its turn again."""
        sent = self.call(retries=7, timeout=60.0)
        for number in range(7):
            self.transport.tries[number].fail(REFUSED)
            self.clock.pump([0.1] * 11)
        self.assertEqual({attempt.node.port for attempt in self.transport.tries[2:]}, {1, 2})
        self.transport.tries[7].reply()
        self.successResultOf(sent)
