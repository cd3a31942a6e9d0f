"""Spans of messages: published, and delivered to a subscriber."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

from attrs import define
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure
from zope.interface import alsoProvides, implementer

from sidecar.interfaces import IBroker, IDelivery, IDurableBroker, ISubscription
from sidecar.model import BackendState, Caller, Message, PublishOptions, SubscribeOptions
from sidecar.stats.tracing.parents import Parents
from sidecar.stats.tracing.spans import ISpans, Kind, Span, new_span_id
from sidecar.wire.tracing.traceparent import HEADER, TraceContext, parse


@implementer(IBroker)
@define(eq=False, slots=False)
class TracedBroker:
    """A broker as it was, that records the messages whose trace is sampled. It is not the service: that is the broker
    itself."""

    _broker: Any
    _spans: ISpans
    _parents: Parents
    _random: Random
    _wall: Callable[[], float]

    def __attrs_post_init__(self) -> None:
        if IDurableBroker.providedBy(self._broker):
            alsoProvides(self, IDurableBroker)

    def __getattr__(self, name: str) -> Any:
        """What it can beyond the seam is the broker's."""
        return getattr(self._broker, name)

    def publish(self, topic: str, message: Message, caller: Caller) -> Deferred[None]:
        message, ended = self._published(topic, message)
        publishing: Deferred[None] = self._broker.publish(topic, message, caller)
        return publishing if ended is None else publishing.addBoth(ended)

    def publish_with(self, topic: str, message: Message, options: PublishOptions, caller: Caller) -> Deferred[None]:
        """As :meth:`publish`."""
        message, ended = self._published(topic, message)
        publishing: Deferred[None] = self._broker.publish_with(topic, message, options, caller)
        return publishing if ended is None else publishing.addBoth(ended)

    def subscribe(
        self, topic: str, deliver: Callable[[str, Message], None], queue: str | None, caller: Caller
    ) -> Deferred[ISubscription]:
        def delivered(topic: str, message: Message) -> None:
            start = self._wall()
            deliver(topic, message)
            self._delivered(topic, message, start)

        subscribing: Deferred[ISubscription] = self._broker.subscribe(topic, delivered, queue, caller)
        return subscribing

    def consume(
        self, topic: str, take: Callable[[IDelivery], None], options: SubscribeOptions, caller: Caller
    ) -> Deferred[ISubscription]:
        """As :meth:`subscribe`."""

        def taken(delivery: IDelivery) -> None:
            start = self._wall()
            take(delivery)
            self._delivered(delivery.topic, delivery.message, start)

        consuming: Deferred[ISubscription] = self._broker.consume(topic, taken, options, caller)
        return consuming

    def state(self) -> BackendState:
        state: BackendState = self._broker.state()
        return state

    # --- Within -------------------------------------------------------------------------------------------------------

    def _published(self, topic: str, message: Message) -> tuple[Message, Callable[[Any], Any] | None]:
        """:returns: the message to publish, in whose header is the new span, and what is told of the end."""
        name, context = _context(message)
        if context is None:
            return message, None
        span_id, parent, start = new_span_id(self._random), self._parents.of_child(context.span_id), self._wall()
        child = TraceContext(context.trace_id, span_id, context.flags)

        def ended(result: Any) -> Any:
            error = str(result.value) if isinstance(result, Failure) else None
            self._add("publish", "producer", topic, context, span_id, parent, start, error)
            return result

        return Message({**message.header, name: str(child)}, message.body), ended

    def _delivered(self, topic: str, message: Message, start: float) -> None:
        _, context = _context(message)
        if context is not None:
            span_id = new_span_id(self._random)
            self._add("deliver", "consumer", topic, context, span_id, context.span_id, start, None)

    def _add(
        self,
        what: str,
        kind: Kind,
        topic: str,
        context: TraceContext,
        span_id: str,
        parent: str,
        start: float,
        error: str | None,
    ) -> None:
        told = {"messaging.system": self._broker.state().kind, "messaging.destination.name": topic}
        span = Span(f"{what} {topic}", kind, context.trace_id, span_id, parent, start, self._wall(), told, error)
        self._spans.add(span)


def _context(message: Message) -> tuple[str, TraceContext | None]:
    """:returns: the name of the header that tells a message's trace, and what it tells; None unless it is sampled."""
    for name in (HEADER, "traceparent"):
        told = message.header.get(name)
        if told is not None:
            found = parse(told)
            return name, found if found is not None and found.sampled else None
    return HEADER, None
