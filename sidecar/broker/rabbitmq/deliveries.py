"""A subscription whose messages are the server's until they are acknowledged: a queue, a channel, one who takes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from attrs import define, evolve, field
from twisted.internet.defer import Deferred, succeed
from twisted.logger import Logger
from zope.interface import implementer

from sidecar.broker.rabbitmq.consumer import Arrived, QueueConsumer
from sidecar.broker.rabbitmq.subscribers import MISFIT_PAUSE, read
from sidecar.broker.rabbitmq.topology import QueueShape
from sidecar.interfaces import IDelivery, ISubscription
from sidecar.model import Message
from sidecar.net.amqp.link import AmqpSession
from sidecar.wire.broker import rabbitmq


@implementer(IDelivery)
@define(eq=False)
class UnacknowledgedMessage:
    """A message that waits for its subscriber's word. Its first word counts."""

    topic: str
    message: Message
    redelivered: bool
    _arrived: Arrived | None

    def ack(self) -> None:
        arrived, self._arrived = self._arrived, None
        if arrived is not None:
            arrived.ack()

    def requeue(self) -> None:
        arrived, self._arrived = self._arrived, None
        if arrived is not None:
            arrived.requeue()


@implementer(ISubscription)
@define(eq=False)
class AcknowledgedSubscription:
    """Takes from a queue: a durable one, a group's, or one of its own.

    :ivar shape: the queue. :ivar topic: what it is bound to.
    """

    log = Logger()
    shape: QueueShape
    topic: str
    _take: Callable[[IDelivery], None]
    _clock: Any
    _left: Callable[[AcknowledgedSubscription], None]
    _consumer: QueueConsumer = field(init=False)
    _live: bool = field(default=True, init=False)

    def __attrs_post_init__(self) -> None:
        self._consumer = QueueConsumer(self.shape, self._arrived, True, self._clock)

    async def begin(self, session: AmqpSession) -> None:
        """Listen, from now on and on every connection that follows. :raises SidecarError: the server will not."""
        self._consumer.connected(session)
        await self._consumer.want([self.topic], 1)

    async def open(self, session: AmqpSession) -> None:
        """Begin on a new connection."""
        await self._consumer.open(session)

    def disconnected(self) -> None:
        """There is no connection."""
        self._consumer.connected(None)

    def cancel(self) -> Deferred[None]:
        if self._live:
            self._live = False
            self._consumer.close()  # what was not acknowledged goes back with the channel
            self._left(self)
        return succeed(None)

    def _arrived(self, arrived: Arrived) -> None:
        if not self._live:
            return
        topic = arrived.topic
        if not rabbitmq.matches(self.topic, topic) and not arrived.redelivered:
            # The queue is bound to another topic too: whoever listens for that one has the first choice.
            self._clock.callLater(MISFIT_PAUSE, arrived.requeue)
            return
        message = read(arrived)
        if arrived.redelivered:
            message = evolve(message, header={**message.header, rabbitmq.REDELIVERED: "true"})
        delivery: IDelivery = UnacknowledgedMessage(topic, message, arrived.redelivered, arrived)
        try:
            self._take(delivery)
        except Exception:
            self.log.failure("A subscriber of {topic} failed on a message", topic=topic)
