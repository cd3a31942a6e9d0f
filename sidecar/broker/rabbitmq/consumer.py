"""One queue that we take messages from, on a channel of its own, whatever becomes of channel and connection."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from attrs import define, field
from twisted.internet.defer import CancelledError, Deferred, DeferredLock, ensureDeferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from sidecar.broker.rabbitmq.topology import QueueShape, bind, declare_queue, refusal
from sidecar.net.amqp.link import AmqpSession, words
from sidecar.wire.broker.rabbitmq import EXCHANGE

if TYPE_CHECKING:
    from pika.adapters.twisted_connection import TwistedChannel

#: Messages that the server lets wait for our word, for each consumer.
PREFETCH = 128
#: Seconds before a queue is asked for again that was refused while its connection stands: at first, and at most.
FIRST_WAIT, LAST_WAIT = 0.1, 5.0


@define(eq=False)
class Arrived:
    """A message as it came. :ivar channel: where its tag means something, until that is closed."""

    topic: str
    headers: dict[str, Any] | None
    content_type: str | None
    body: bytes
    redelivered: bool
    tag: int
    channel: TwistedChannel

    def ack(self) -> None:
        """Have the server forget it."""
        if self.channel.is_open:
            self.channel.basic_ack(self.tag)

    def requeue(self) -> None:
        """Have the server deliver it again."""
        if self.channel.is_open:
            self.channel.basic_nack(self.tag, requeue=True)


@define(eq=False)
class QueueConsumer:
    """Keeps ``count`` consumers of a queue, and its bindings, on each connection that there is.

    :ivar arrived: called with each message.
    :ivar manual: whether messages are to be acknowledged.
    """

    log = Logger()
    shape: QueueShape
    arrived: Callable[[Arrived], None]
    manual: bool
    _clock: Any
    _prefetch: int = PREFETCH
    _topics: dict[str, None] = field(factory=dict, init=False)
    _count: int = field(default=0, init=False)
    _tags: list[str] = field(factory=list, init=False)
    _session: AmqpSession | None = field(default=None, init=False)
    _channel: TwistedChannel | None = field(default=None, init=False)
    _queue: str = field(default="", init=False)
    _lock: DeferredLock = field(factory=DeferredLock, init=False)
    _wait: float = field(default=FIRST_WAIT, init=False)
    _again: Any = field(default=None, init=False)
    _closed: bool = field(default=False, init=False)

    # --- What the broker wants ----------------------------------------------------------------------------------------

    async def want(self, topics: Iterable[str], count: int) -> None:
        """Have the queue bound to ``topics``, more than before, and listened to by ``count`` consumers.

        Without a connection it is only noted.

        :raises SidecarError: the server will not; then all is as it was before.
        """
        await self._lock.acquire()
        topics_before, count_before = dict(self._topics), self._count
        try:
            self._topics.update(dict.fromkeys(topics))
            self._count = count
            await self._reconcile([topic for topic in self._topics if topic not in topics_before])
        except Exception as error:
            if self._refused(error):
                self._topics, self._count = topics_before, count_before
                if self._count:
                    self._try_again(error)  # the refusal has cost those who listened their channel
                raise refusal(error, self.shape) from error
            if self._session is not None and not self._session.ended:
                self._session.abort()  # no answer: what it would mean now is not known, so it is all asked for again
        finally:
            self._lock.release()

    async def unbind(self, topics: Iterable[str]) -> None:
        """Have the queue bound to ``topics`` no more. Not for durable ones."""
        await self._lock.acquire()
        try:
            for topic in topics:
                self._topics.pop(topic, None)
                if self._channel is not None and self._channel.is_open and self._session is not None:
                    await self._session.within(self._channel.queue_unbind(self._queue, EXCHANGE, topic))
        except Exception as error:
            self.log.debug("Unbinding {queue}: {error}", queue=self._queue, error=words(error))
        finally:
            self._lock.release()

    async def only_ours(self) -> bool:
        """Whether all consumers of the queue are these here."""
        channel, session = self._channel, self._session
        if channel is None or session is None or not channel.is_open:
            return False
        declared = await session.within(channel.queue_declare(self._queue, passive=True))
        return bool(declared.method.consumer_count <= len(self._tags))

    async def caught_up(self) -> None:
        """Done when all that the queue held when this was asked has arrived here."""
        channel, session = self._channel, self._session
        if channel is not None and session is not None and channel.is_open:
            await session.within(channel.queue_declare(self._queue, passive=True))

    def connected(self, session: AmqpSession | None) -> None:
        """There is this connection, for what will be wanted, or none."""
        self._session, self._channel, self._tags = session, None, []
        self._cancel_reopening()

    async def open(self, session: AmqpSession) -> None:
        """Begin on a new connection. :raises Exception: it was lost."""
        await self._lock.acquire()
        try:
            self._session, self._channel, self._tags = session, None, []
            await self._reconcile(())
        except Exception as error:
            if session.ended or not self._refused(error):
                raise
            self._try_again(error)
        finally:
            self._lock.release()

    def close(self) -> None:
        """Listen no more. What was not acknowledged is delivered again, to others."""
        self._closed = True
        self._count = 0
        self._cancel_reopening()
        channel, self._channel = self._channel, None
        if channel is not None and channel.is_open:
            channel.close()

    def _cancel_reopening(self) -> None:
        if self._again is not None and self._again.active():
            self._again.cancel()

    # --- What the server has ------------------------------------------------------------------------------------------

    async def _reconcile(self, new: Iterable[str]) -> None:
        session = self._session
        if session is None or session.ended or self._closed:
            return
        channel = self._channel
        if channel is None or not channel.is_open:
            channel, new = await session.channel(), tuple(self._topics)
            if self._closed:  # meanwhile
                channel.close()
                return
            self._channel, self._tags = channel, []
            channel.on_closed.addCallback(self._channel_closed, channel)
            if self.manual:
                await session.within(channel.basic_qos(prefetch_count=self._prefetch))
            self._queue = await declare_queue(session, channel, self.shape)
        for topic in new:
            await bind(session, channel, self._queue, topic, self.shape.durable)
        while len(self._tags) < self._count:
            queue, tag = await session.within(channel.basic_consume(self._queue, auto_ack=not self.manual))
            self._tags.append(tag)
            self._listen(queue, channel, tag)
        while len(self._tags) > self._count:
            tag = self._tags.pop()
            await session.within(channel.basic_cancel(tag))

    def _refused(self, error: Exception) -> bool:
        """Whether it was the server's word on the queue, and not the end of the connection."""
        from pika.exceptions import ChannelClosedByBroker, ConnectionClosedByBroker

        if isinstance(error, ConnectionClosedByBroker):
            return False
        return isinstance(error, ChannelClosedByBroker) and not (self._session is None or self._session.ended)

    def _listen(self, queue: Any, channel: TwistedChannel, tag: str) -> None:
        def came(message: Any) -> None:
            properties, method = message.properties, message.method
            arrived = Arrived(
                method.routing_key,
                properties.headers,
                properties.content_type,
                message.body,
                method.redelivered,
                method.delivery_tag,
                channel,
            )
            try:
                self.arrived(arrived)
            except Exception:
                self.log.failure("A message on {topic} could not be handed on", topic=arrived.topic)
            queue.get().addCallbacks(came, ended)

        def ended(_: Failure) -> None:
            # We left; or the channel was closed, which is told elsewhere; or the queue was deleted under us.
            if channel.is_open and tag in self._tags:
                self.log.warn("RabbitMQ's queue {queue} was deleted; it is declared again", queue=self._queue)
                channel.close()

        queue.get().addCallbacks(came, ended)

    def _channel_closed(self, reason: Any, channel: TwistedChannel) -> None:
        from pika.exceptions import ChannelClosed

        if channel is not self._channel:
            return
        self._channel, self._tags = None, []
        # With its connection it is opened again in any case; and a server's refusal of what was just asked for is told
        # to who asked (the lock is held meanwhile).
        if isinstance(reason, ChannelClosed) and self._count and not self._lock.locked:
            self._try_again(reason)

    def _try_again(self, reason: Any) -> None:
        session = self._session
        if session is None or session.ended or self._closed or (self._again is not None and self._again.active()):
            return
        self.log.warn(
            "RabbitMQ closed our channel for {queue}: {reason}; opening another",
            queue=self.shape.name or "topics",
            reason=words(reason),
        )
        self._again = self._clock.callLater(self._wait, self._reopen)
        self._wait = min(self._wait * 2, LAST_WAIT)

    def _reopen(self) -> None:
        session = self._session
        if session is None or session.ended or self._closed:
            return

        def failed(failure: Failure) -> None:
            if not failure.check(CancelledError):
                self._try_again(failure.value)

        def opened(_: None) -> None:
            if self._channel is not None:
                self._wait = FIRST_WAIT

        opening: Deferred[None] = ensureDeferred(self.open(session))
        opening.addCallbacks(opened, failed)
