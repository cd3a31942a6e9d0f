"""What is recorded: calls, attempts, messages, checks, each where it belongs in its trace."""

from __future__ import annotations

from random import Random
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from sidecar.broker.memory import MemoryBroker
from sidecar.errors import CallTimeout, EngineUnavailable
from sidecar.health.threshold import CheckResult
from sidecar.interfaces import IBroker, ICallObserver
from sidecar.model import ANONYMOUS, Attempt, Call, CallPolicy, Message, Node, Outcome
from sidecar.stats.tracing.calls import CallTracer
from sidecar.stats.tracing.checks import TracedProbe
from sidecar.stats.tracing.messages import TracedBroker
from sidecar.stats.tracing.parents import Parents
from sidecar.stats.tracing.spans import Span
from sidecar.wire.tracing.traceparent import parse

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
SAMPLED = {"Traceparent": f"00-{TRACE}-{SPAN}-01"}


class Kept:
    """Keeps spans."""

    def __init__(self) -> None:
        self.spans: list[Span] = []

    def add(self, span: Span) -> None:
        self.spans.append(span)


class Recording(SynchronousTestCase):
    def setUp(self) -> None:
        self.kept, self.parents, self.clock = Kept(), Parents(), Clock()
        self.shared: Any = (self.kept, self.parents, Random(1), self.clock.seconds)

    def test_calls(self) -> None:
        """A call is a child of its caller's span, and its attempts of the call."""
        tracer = CallTracer(*self.shared)
        verifyObject(ICallObserver, tracer)
        self.parents.put(SPAN, "c" * 16)
        call = Call("foo", "A.B", metadata=SAMPLED)
        node = Node("foo-1", "127.0.0.1", 1)
        self.clock.advance(10)
        tracer.began(call, ANONYMOUS, CallPolicy())
        self.clock.advance(1)
        tracer.attempted(call, Attempt(node, node.hostport, 0, 200, 800, Outcome.TIMED_OUT, "no answer"))
        tracer.ended(call, Outcome.TIMED_OUT, CallTimeout("too late"), 1.0, None)
        attempt, whole = self.kept.spans
        self.assertEqual((attempt.trace_id, attempt.parent, attempt.error), (TRACE, SPAN, "no answer"))
        self.assertEqual((attempt.start, attempt.end, whole.start, whole.end), (10.0, 11.0, 10.0, 11.0))
        self.assertEqual((whole.span_id, whole.parent, whole.error), (SPAN, "c" * 16, "too late"))

    def test_not_sampled(self) -> None:
        """Of a call that is not sampled, or began before anybody looked, nothing is recorded."""
        tracer = CallTracer(*self.shared)
        for call in (Call("foo", "A.B"), Call("foo", "A.B", metadata={"Traceparent": f"00-{TRACE}-{SPAN}-00"})):
            tracer.began(call, ANONYMOUS, CallPolicy())
            tracer.ended(call, Outcome.ANSWERED, None, 1.0, None)
        tracer.ended(Call("foo", "A.B", metadata=SAMPLED), Outcome.ANSWERED, None, 1.0, None)
        self.assertEqual(self.kept.spans, [])

    def test_messages(self) -> None:
        """What is delivered is a child of what was published; others than sampled ones pass as they are."""
        memory = MemoryBroker(self.clock)
        broker = TracedBroker(memory, *self.shared)
        verifyObject(IBroker, broker)
        heard: list[Message] = []
        self.successResultOf(broker.subscribe("news", lambda topic, message: heard.append(message), None, ANONYMOUS))
        plain = Message({"A": "b"}, b"1")
        for message in (Message(SAMPLED, b"2"), plain):
            self.successResultOf(broker.publish("news", message, ANONYMOUS))
        self.clock.advance(0)
        published, delivered = self.kept.spans
        self.assertEqual((published.trace_id, published.parent, published.name), (TRACE, SPAN, "publish news"))
        self.assertEqual((delivered.parent, delivered.name), (published.span_id, "deliver news"))
        context = parse(heard[0].header["Traceparent"])
        assert context is not None
        self.assertEqual((context.span_id, heard[1]), (published.span_id, plain))

    def test_not_published(self) -> None:
        """A message that was not taken says so in its span, and to its publisher as before."""

        class Away(MemoryBroker):
            def publish(self, topic: str, message: Message, caller: object) -> Deferred[None]:
                failing: Deferred[None] = Deferred()
                failing.errback(EngineUnavailable("away"))
                return failing

        broker = TracedBroker(Away(self.clock), *self.shared)
        self.failureResultOf(broker.publish("news", Message(SAMPLED, b""), ANONYMOUS), EngineUnavailable)
        self.assertEqual(self.kept.spans[0].error, "away")

    def test_checks(self) -> None:
        """Each check is a trace of its own, and an error where it fails."""

        class Probe:
            def check(self) -> Deferred[CheckResult]:
                return succeed(CheckResult(False, "answered 503"))

        spans, _, random, wall = self.shared
        probe = TracedProbe(Probe(), "http", spans, random, wall)
        for _ in range(2):
            self.assertEqual(self.successResultOf(probe.check()).detail, "answered 503")
        first, second = self.kept.spans
        self.assertNotEqual(first.trace_id, second.trace_id)
        self.assertEqual((first.parent, first.error), ("", "answered 503"))
