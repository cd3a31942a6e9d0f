"""Calls: attempts, deadlines, cancelling, counting. The transport is a double, the clock is ours."""

from __future__ import annotations

from random import Random
from typing import Any

from attrs import define, field
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from sidecar.errors import (
    BadAnswer,
    BadRequest,
    CallTimeout,
    ConnectFailed,
    ConnectionLost,
    Forbidden,
    NoNodes,
    NotFound,
    NotSent,
    Overloaded,
    ServiceFault,
    ShuttingDown,
    SidecarError,
)
from sidecar.interfaces import ICallObserver, IClient, IExchange, IExchangeListener, IPendingCall, ITransport
from sidecar.model import ANONYMOUS, Attempt, Call, Caller, CallPolicy, Fault, Node, Outcome, Reply, Service
from sidecar.rpc.client import Client
from sidecar.rpc.selector import Selector
from sidecar.stats.labelled import CallMetrics
from sidecar.test.unit.rpc.test_selector import Registry, service

HELLO = Call("foo", "Say.Hello")
REFUSED = ConnectFailed("connection refused")


@implementer(IExchange)
@define(eq=False)
class Try:
    """One attempt, to be ended by the test."""

    node: Node
    timeout: float
    listener: IExchangeListener
    started: bool = False
    cancelled: bool = False
    state: str = "no answer"
    at_once: SidecarError | None = None
    before: tuple[float, float] = (0.0, 0.0)

    def start(self) -> None:
        self.started = True
        if self.at_once is not None:
            self.listener.attempt_failed(self.at_once)

    def cancel(self) -> None:
        self.cancelled = True

    def before_sending(self, now: float) -> tuple[float, float]:
        return self.before

    def reply(self, body: bytes = b"1") -> None:
        self.listener.attempt_replied(Reply(body))

    def fail(self, error: SidecarError) -> None:
        self.listener.attempt_failed(error)


@implementer(ITransport)
@define(eq=False)
class Transport:
    """Keeps the attempts. :ivar refusing: ports at which nobody listens."""

    tries: list[Try] = field(factory=list)
    refusing: set[int] = field(factory=set)
    raising: Exception | None = None

    def exchange(self, node: Node, call: Call, timeout: float, listener: IExchangeListener) -> IExchange:
        if self.raising is not None:
            raise self.raising
        self.tries.append(Try(node, timeout, listener, at_once=REFUSED if node.port in self.refusing else None))
        return self.tries[-1]


def tell(reply: Deferred[Reply], answer: Reply | None, error: BaseException | None) -> None:
    """Tell the end of a call by a Deferred."""
    if answer is not None:
        reply.callback(answer)
    else:
        assert error is not None
        reply.errback(error)


@implementer(ICallObserver)
@define(eq=False)
class Observer:
    """Keeps what it is told."""

    detailed: bool = True
    told: list[Any] = field(factory=list)

    def began(self, call: Call, caller: Caller, policy: CallPolicy) -> None:
        self.told.append((call, caller))

    def attempted(self, call: Call, attempt: Attempt) -> None:
        self.told.append(attempt)

    def ended(
        self, call: Call, outcome: Outcome, error: BaseException | None, seconds: float, reply: Reply | None
    ) -> None:
        self.told.append((call, outcome, error))


class RecordingSelector(Selector):
    """The real one, which keeps what it was told of attempts: a node's id, and None or the outcome."""

    def __init__(self, *settings: Any) -> None:
        super().__init__(*settings)
        self.told: list[tuple[str, Outcome | None]] = []

    def began(self, node: Node) -> None:
        self.told.append((node.id, None))
        super().began(node)

    def ended(self, node: Node, outcome: Outcome) -> None:
        self.told.append((node.id, outcome))
        super().ended(node, outcome)


class Calling(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(1000.0)
        self.registry = Registry()
        self.registry.put(service("foo", 1, 2))
        self.transport = Transport()
        self.client = self.make()

    def make(self, strategy: str = "random", any_address: bool = False) -> Client:
        self.selector = RecordingSelector(self.registry, strategy, Random(1), self.clock)
        self.selector.startService()
        self.counters = CallMetrics()
        client = Client(self.selector, self.transport, self.clock, Random(1), any_address, (self.counters,))
        client.startService()
        return client

    def call(self, call: Call = HELLO, **policy: Any) -> Deferred[Reply]:
        pending: IPendingCall | None = None
        reply: Deferred[Reply] = Deferred(lambda _: pending.cancel() if pending is not None else None)
        pending = self.client.start(call, CallPolicy(**policy), ANONYMOUS, tell, reply)
        return reply

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
        self.assertEqual((self.client.in_flight, self.counters.succeeded), (0, 1))
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
        self.assertEqual(self.counters.retried, 1)

    def waiting(self, patience: float = 0.25) -> Try:
        """The attempt that was made last, waiting for its connection."""
        last = self.transport.tries[-1]
        last.state = "no connection"
        last.listener.attempt_waits(patience)
        return last

    def test_slow_connection(self) -> None:
        """An attempt whose connection takes longer than it ever did is left for a node that is well; told as such."""
        observer = Observer()
        self.observing(observer)
        reply = self.call()
        slow = self.waiting()
        self.clock.advance(0.2)
        self.assertFalse(slow.cancelled)
        self.clock.advance(0.1)
        self.assertTrue(slow.cancelled)
        self.transport.tries[-1].reply(b"2")
        self.assertEqual(self.successResultOf(reply).body, b"2")
        self.assertNotEqual(self.transport.tries[-1].node, slow.node)
        left = next(each for each in observer.told if isinstance(each, Attempt))
        self.assertEqual((left.outcome, left.next), (Outcome.TIMED_OUT, "retry"))
        self.assertIn("no connection", left.detail)
        self.clock.advance(0.05)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_slow_connection_of_the_only_node(self) -> None:
        """It goes on where there is no other node, none that is well, no attempt left, or no retry at all."""
        for prepare, policy in (
            (lambda: self.registry.put(service("foo", 1)), {}),
            (lambda: None, {"retries": 0}),
            (lambda: None, {"retry": "never"}),
        ):
            self.setUp()
            prepare()
            reply = self.call(**policy)
            slow = self.waiting()
            self.clock.advance(1.0)
            slow.reply()
            self.successResultOf(reply)
            self.assertEqual((len(self.transport.tries), slow.cancelled), (1, False))

    def test_slow_connection_and_another_that_is_ejected(self) -> None:
        """It is not left for an address that is ejected; that one is still tried when it fails."""
        reply = self.call()
        slow = self.waiting()
        other = Node("foo-2", "127.0.0.1", 3 - slow.node.port)
        self.selector.ended(other, Outcome.REFUSED)
        self.clock.advance(1.0)
        self.assertFalse(slow.cancelled)
        slow.fail(REFUSED)
        self.transport.tries[-1].reply()
        self.successResultOf(reply)
        self.assertEqual([each.node.port for each in self.transport.tries], [slow.node.port, other.port])

    def test_slow_connection_that_came(self) -> None:
        """Once the request was sent, it is not left any more."""
        reply = self.call()
        slow = self.waiting()
        slow.state = "no answer"
        self.clock.advance(1.0)
        slow.reply()
        self.successResultOf(reply)
        self.assertEqual(len(self.transport.tries), 1)

    def test_slow_connections_and_the_budget(self) -> None:
        """Where too many calls are tried again already, each waits for its connection."""
        waiting = []
        for _ in range(300):
            self.call()
            waiting.append(self.waiting())
        self.clock.advance(0.3)
        left = [each for each in waiting if each.cancelled]
        self.assertGreater(len(left), 100)
        self.assertLess(len(left), 200)

    def test_slow_connection_of_a_call_that_is_cancelled(self) -> None:
        """Nothing is left behind."""
        reply = self.call()
        slow = self.waiting()
        reply.cancel()
        self.failureResultOf(reply, CancelledError)
        self.clock.advance(1.0)
        self.assertEqual((len(self.transport.tries), slow.cancelled), (1, True))

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

    def test_stale_ids_at_one_dead_address(self) -> None:
        """Three ids are left at an address where nobody listens, one node lives: of 400 calls none fails, and few try
        the dead address at all."""
        stale = tuple(Node(f"stale-{number}", "127.0.0.1", 1) for number in range(3))
        self.registry.put(Service("foo", "1", nodes=(*stale, Node("live", "127.0.0.1", 2))))
        self.transport.refusing = {1}
        for strategy in ("random", "roundrobin", "leastbusy"):
            self.client = self.make(strategy)
            self.transport.tries.clear()
            for _ in range(400):
                sent = self.call()
                self.transport.tries[-1].reply()
                self.successResultOf(sent)
                self.clock.advance(0.005)
            dead = [each for each in self.transport.tries if each.node.port == 1]
            self.assertLess(len(dead), 4, strategy)

    def test_told(self) -> None:
        """When all attempts fail, the caller reads which nodes were tried, and the last error's kind decides."""
        sent = self.call()
        self.transport.tries[0].fail(REFUSED)
        self.transport.tries[1].fail(ConnectionLost("closed"))
        error = self.failureResultOf(sent, ConnectionLost).value
        assert isinstance(error, ConnectionLost)
        self.assertEqual([attempt.detail for attempt in error.attempts], ["connection refused", "closed"])
        self.assertIn("2 attempts failed", str(error))
        self.assertEqual((self.counters.failed, self.client.in_flight), (1, 0))

    def test_fault(self) -> None:
        """An error of the service is its own."""
        sent = self.call()
        fault = Fault("srv", 400, "bad John", "Bad Request")
        self.transport.tries[0].fail(ServiceFault(fault))
        error = self.failureResultOf(sent, ServiceFault).value
        assert isinstance(error, ServiceFault)
        self.assertEqual((error.fault, self.counters.faulted), (fault, 1))

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
        self.assertEqual((self.counters.timed_out, self.client.in_flight), (1, 0))

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
        self.assertEqual((len(self.transport.tries), self.client.in_flight, self.counters.cancelled), (1, 0, 1))

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

    def test_every_attempt_is_ended_once(self) -> None:
        """The selector hears each beginning and each end once, with its outcome, whatever the strategy and the end."""
        fault, proxy = (
            ServiceFault(Fault("a", 500, "x", "")),
            ServiceFault(Fault("a", 503, "<html>", ""), enveloped=False),
        )
        ends: dict[Outcome, list[SidecarError]] = {
            Outcome.REFUSED: [REFUSED, NotSent("GOAWAY")],
            Outcome.BROKEN: [ConnectionLost("closed"), BadAnswer("garbage"), proxy],
            Outcome.FAULT: [fault],
            Outcome.CANCELLED: [Overloaded("full"), BadRequest("method")],
        }
        for strategy in ("random", "roundrobin", "leastbusy"):
            self.client = self.make(strategy)
            told = self.selector.told
            for outcome, errors in ends.items():
                for error in errors:
                    told.clear()
                    self.call(retries=0).addErrback(lambda _: None)
                    self.transport.tries[-1].fail(error)
                    self.transport.tries[-1].fail(error)
                    node = self.transport.tries[-1].node.id
                    self.assertEqual(told, [(node, None), (node, outcome)], (strategy, error))
            for outcome in (Outcome.ANSWERED, Outcome.TIMED_OUT, Outcome.CANCELLED):
                told.clear()
                sent = self.call(timeout=0.1).addErrback(lambda _: None)
                if outcome is Outcome.ANSWERED:
                    self.transport.tries[-1].reply()
                elif outcome is Outcome.CANCELLED:
                    sent.cancel()
                self.clock.pump([0.05] * 4)
                self.transport.tries[-1].reply()
                self.assertEqual([how for _, how in told], [None, outcome], strategy)

    def observing(self, *observers: Observer) -> None:
        self.client = Client(self.selector, self.transport, self.clock, Random(1), observers=observers)

    def test_observed(self) -> None:
        """An observer hears the call, each attempt with its times and what came next and why, and the end."""
        observer = Observer()
        self.observing(observer)
        sent = self.call()
        self.clock.advance(0.5)
        self.transport.tries[0].before = (0.1, 0.3)
        self.transport.tries[0].fail(REFUSED)
        self.clock.advance(0.25)
        self.transport.tries[1].reply()
        self.successResultOf(sent)
        began, first, second, ended = observer.told
        self.assertEqual((began, ended), ((HELLO, ANONYMOUS), (HELLO, Outcome.ANSWERED, None)))
        self.assertEqual((first.node, first.address), (self.transport.tries[0].node, first.node.hostport))
        self.assertEqual([round(each) for each in (first.queued, first.connecting, first.waiting)], [100, 300, 100])
        self.assertEqual((first.outcome, first.detail, first.next), (Outcome.REFUSED, "connection refused", "retry"))
        self.assertEqual(first.why, "there is another address")
        self.assertEqual((round(second.waiting), second.outcome, second.next), (250, Outcome.ANSWERED, "answer"))

    def test_observed_ends(self) -> None:
        """However a call ends, its observer hears one end, and of the attempt that was under way."""
        observer = Observer()
        self.observing(observer)
        for end in ("fail", "timeout", "cancel", "stop", "unknown"):
            observer.told.clear()
            sent = self.call(Call("bar", "A.B") if end == "unknown" else HELLO, timeout=0.1, retries=0)
            if end == "fail":
                self.transport.tries[-1].fail(ConnectionLost("closed"))
            elif end == "cancel":
                sent.cancel()
            elif end == "stop":
                self.client.stopService()
            self.clock.pump([0.05] * 4)
            sent.addErrback(lambda _: None)
            outcomes = {"fail": Outcome.BROKEN, "timeout": Outcome.TIMED_OUT, "cancel": Outcome.CANCELLED}
            _, *attempts, (_, outcome, error) = observer.told
            self.assertEqual([attempt.next for attempt in attempts], [] if end == "unknown" else ["give up"], end)
            self.assertEqual(outcome, outcomes.get(end, Outcome.REFUSED))
            self.assertEqual(error is None, end == "cancel")

    def test_not_detailed(self) -> None:
        """Who wants no details hears of attempts that failed only, and the clock is not asked for the others."""
        plain, detailed = Observer(detailed=False), Observer()
        for observers in ((plain,), (plain, detailed)):
            self.observing(*observers)
            sent = self.call()
            self.transport.tries[-1].reply()
            self.successResultOf(sent)
        self.assertEqual(len([each for each in plain.told if isinstance(each, Attempt)]), 0)
        self.assertEqual(len([each for each in detailed.told if isinstance(each, Attempt)]), 1)

    def test_version(self) -> None:
        """A call for one version goes to nodes of that version, and a version that is not there is not found."""
        self.registry.put(service("foo", 1), Service("foo", "2", nodes=service("foo", 7).nodes))
        for _ in range(10):
            sent = self.call(Call("foo", "A.B", version="2"))
            self.assertEqual(self.transport.tries[-1].node.port, 7)
            self.transport.tries[-1].reply()
            self.successResultOf(sent)
        error = self.failureResultOf(self.call(Call("foo", "A.B", version="3")), NotFound).value
        self.assertEqual(str(error), "foo: no node of version 3; there are nodes of 1, 2")
        self.failureResultOf(self.call(Call("foo", "A.B", address="127.0.0.1:1", version="2")), Forbidden)

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
