"""One member of a consumer group of JetStream's, and the events that wait for its word."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from attrs import define, evolve, field
from twisted.internet.defer import Deferred, succeed
from twisted.logger import Logger
from zope.interface import implementer

from sidecar.errors import BadRequest
from sidecar.interfaces import IDelivery, ISubscription
from sidecar.model import Message
from sidecar.net.nats.client import Interest
from sidecar.wire.broker import natsjs


class ISubscriptionOwner(Protocol):
    """Who speaks to JetStream for its subscriptions."""

    def left(self, subscription: EventSubscription) -> Deferred[None]:
        """It was cancelled. :returns: fires when JetStream knows."""

    def say(self, reply: str, word: bytes) -> None:
        """Tell JetStream what became of an event."""

    def skip(self, topic: str, reply: str, error: BadRequest) -> None:
        """What came is no event."""


@implementer(IDelivery)
@define(eq=False)
class EventDelivery:
    """An event that waits for its subscriber's word. Its first word counts."""

    topic: str
    message: Message
    redelivered: bool
    _say: Callable[[EventDelivery, bytes], None]
    reply: str

    def ack(self) -> None:
        self._say(self, natsjs.ACK)

    def requeue(self) -> None:
        self._say(self, natsjs.NAK)


@implementer(ISubscription)
@define(eq=False)
class EventSubscription:
    """One member of a consumer group.

    :ivar lasting: whether the group has a name, and so stays when its members leave.
    """

    log = Logger()
    topic: str
    group: str
    lasting: bool
    _take: Callable[[IDelivery], None]
    _events: ISubscriptionOwner
    stream: str = ""
    interest: Interest | None = None
    live: bool = True
    _waiting: dict[EventDelivery, None] = field(factory=dict, init=False)

    def cancel(self) -> Deferred[None]:
        if not self.live:
            return succeed(None)
        self.live = False
        return self._events.left(self)

    def requeue_all(self) -> None:
        """What was not acknowledged is for others."""
        for delivery in list(self._waiting):
            delivery.requeue()

    def arrived(self, _: str, reply: str, payload: bytes) -> None:
        """Called by the connection with each event."""
        if not self.live or not reply:
            return
        try:
            message = natsjs.decode(payload, self.topic)
        except BadRequest as error:
            self._events.skip(self.topic, reply, error)
            return
        redelivered = natsjs.deliveries(reply) > 1
        if redelivered:
            message = evolve(message, header={**message.header, natsjs.REDELIVERED: "true"})
        made = EventDelivery(self.topic, message, redelivered, self._said, reply)
        self._waiting[made] = None
        delivery: IDelivery = made
        try:
            self._take(delivery)
        except Exception:
            self.log.failure("A subscriber of the events of {topic} failed on one", topic=self.topic)

    def _said(self, delivery: EventDelivery, word: bytes) -> None:
        if delivery in self._waiting:
            del self._waiting[delivery]
            self._events.say(delivery.reply, word)
