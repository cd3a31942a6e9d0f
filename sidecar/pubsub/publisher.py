"""Publishes what a client sends over its connection, and tells it what could not be published."""

from __future__ import annotations

from collections.abc import Callable

from attrs import define, field
from twisted.python.failure import Failure

from sidecar.errors import Forbidden
from sidecar.interfaces import IBroker
from sidecar.model import Message
from sidecar.pubsub.abilities import able
from sidecar.pubsub.counters import PubSubCounters, TopicTraffic
from sidecar.pubsub.subscriber import SubscribeRequest
from sidecar.wire import messages
from sidecar.wire.tracing.traceparent import HEADER as TRACE

#: Messages of one publisher that the broker has not answered for yet. With more nothing is read from it for a while.
MAX_PENDING = 512


@define(eq=False)
class Publisher:
    """Publishes to one topic.

    :ivar asked: its topic, and the content type of all that it publishes, or None to look at each message.
    :ivar refused: called with what went wrong for each message that the broker did not take.
    :ivar pause: called with True when the broker is slow, so that nothing more is read, and with False when it is not.
    """

    _broker: IBroker
    _asked: SubscribeRequest
    _ids: Callable[[], str]
    _refused: Callable[[BaseException], None]
    _pause: Callable[[bool], None]
    _counters: PubSubCounters
    _pending: int = 0
    _paused: bool = False
    _traffic: TopicTraffic = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._traffic = self._counters.topic(self._asked.topic)

    def publish(self, body: bytes) -> None:
        """Hand a message over, its body as it came."""
        asked = self._asked
        if "publish" not in asked.caller.roles:
            self._counters.failed += 1
            self._refused(Forbidden(f"{asked.caller.name or 'this caller'} has not the role publish"))
            return
        kind = asked.content_type or messages.content_type(body)
        header = {messages.CONTENT_TYPE: kind, messages.TOPIC: asked.topic, messages.ID: self._ids()}
        if asked.trace:
            header[TRACE] = asked.trace
        message = Message(header, body)
        if asked.publishing.plain:
            publishing = self._broker.publish(asked.topic, message, asked.caller)
        else:
            broker = able(self._broker, asked.publishing.asked)
            publishing = broker.publish_with(asked.topic, message, asked.publishing, asked.caller)
        if publishing.called and not publishing.paused and publishing.result is None:
            self._counters.published += 1
            self._traffic.published += 1
            return  # taken at once, as the memory broker does: callbacks would cost more than it
        self._pending += 1
        publishing.addCallbacks(self._taken, self._failed)
        if self._pending >= MAX_PENDING and not self._paused:
            self._paused = True
            self._pause(True)

    def _taken(self, _: object) -> None:
        self._counters.published += 1
        self._traffic.published += 1
        self._answered()

    def _failed(self, failure: Failure) -> None:
        self._counters.failed += 1
        self._answered()
        assert failure.value is not None
        self._refused(failure.value)

    def _answered(self) -> None:
        self._pending -= 1
        if self._paused and self._pending <= MAX_PENDING // 2:
            self._paused = False
            self._pause(False)
