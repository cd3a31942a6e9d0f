"""Publishes with confirms: what RabbitMQ has taken is told from what it has not."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from attrs import define, field
from twisted.internet.defer import Deferred, DeferredLock, ensureDeferred, fail, maybeDeferred
from twisted.python.failure import Failure

from sidecar.errors import EngineUnavailable, NoSubscriber, SidecarError, TooLarge
from sidecar.net.amqp.link import AmqpSession, words
from sidecar.wire.broker.rabbitmq import DURABLE_EXCHANGE

if TYPE_CHECKING:
    from pika.adapters.twisted_connection import TwistedChannel

#: Seconds until a message that RabbitMQ says nothing of counts as not taken.
PATIENCE = 10.0
#: Bytes of messages that wait for RabbitMQ's word; one more is refused.
OUTSTANDING = 64 * 1024 * 1024
#: Bytes of the largest message. RabbitMQ's own limit is 128 MiB by default (max_message_size).
MAX_MESSAGE = 128 * 1024 * 1024
#: AMQP 0-9-1, 4.2.6: a basic.publish that asks for the message to be stored.
PERSISTENT = 2


@define(eq=False)
class ConfirmedPublisher:
    """Publishes to our exchange on the connection of the moment."""

    _clock: Any
    _session: AmqpSession | None = field(default=None, init=False)
    _channel: TwistedChannel | None = field(default=None, init=False)
    # Returned messages cannot be told apart among many under way: mandatory ones go one by one, on their own channel.
    _mandatory: TwistedChannel | None = field(default=None, init=False)
    _one_by_one: DeferredLock = field(factory=DeferredLock, init=False)
    _waiting: OrderedDict[Deferred[None], tuple[float, int]] = field(factory=OrderedDict, init=False)
    _bytes: int = field(default=0, init=False)
    _timer: Any = field(default=None, init=False)

    async def open(self, session: AmqpSession) -> None:
        """Publish on ``session`` from now on."""
        channel = await self._confirming(session)
        self._session, self._channel, self._mandatory = session, channel, None

    async def _confirming(self, session: AmqpSession) -> TwistedChannel:
        channel = await session.channel()
        await session.within(channel.confirm_delivery())

        def closed(_: object) -> None:
            # Somebody deleted our exchange, most likely. A new connection declares everything again, in order.
            if not session.ended:
                session.abort()

        channel.on_closed.addCallback(closed)
        return channel

    def closed(self) -> None:
        """The connection is gone; what waited has failed with it."""
        self._session = self._channel = self._mandatory = None

    def publish(self, topic: str, headers: Mapping[str, str], body: bytes) -> Deferred[None]:
        """:returns: fires when RabbitMQ has the message, stored where it is for durable queues.
        :raises EngineUnavailable: it does not say so. :raises TooLarge: it does not take that much."""
        if self._channel is None:
            return fail(EngineUnavailable("RabbitMQ cannot be reached; the message was not published"))
        return self._publish(self._channel, topic, headers, body, False)

    def publish_mandatory(self, topic: str, headers: Mapping[str, str], body: bytes) -> Deferred[None]:
        """As :meth:`publish`. :raises NoSubscriber: no queue got it."""
        return ensureDeferred(self._publish_mandatory(topic, headers, body))

    async def _publish_mandatory(self, topic: str, headers: Mapping[str, str], body: bytes) -> None:
        await self._one_by_one.acquire()
        try:
            if self._session is None:
                raise EngineUnavailable("RabbitMQ cannot be reached; the message was not published")
            if self._mandatory is None:
                self._mandatory = await self._confirming(self._session)
            await self._publish(self._mandatory, topic, headers, body, True)
        except SidecarError:
            raise
        except Exception as error:
            raise EngineUnavailable(f"RabbitMQ did not confirm the message: {words(error)}") from error
        finally:
            self._one_by_one.release()

    def _publish(
        self, channel: TwistedChannel, topic: str, headers: Mapping[str, str], body: bytes, mandatory: bool
    ) -> Deferred[None]:
        from pika import BasicProperties

        size = len(body)
        if size > MAX_MESSAGE:
            return fail(TooLarge(f"{size} bytes for {topic!r} are over RabbitMQ's limit of {MAX_MESSAGE}"))
        if self._bytes + size > OUTSTANDING and self._waiting:
            return fail(EngineUnavailable(f"RabbitMQ does not keep up: {self._bytes} bytes wait for its word"))
        properties = BasicProperties(headers=dict(headers), delivery_mode=PERSISTENT)
        done: Deferred[None] = Deferred()
        self._waiting[done] = (self._clock.seconds() + PATIENCE, size)
        self._bytes += size
        if self._timer is None:
            self._timer = self._clock.callLater(PATIENCE, self._look)
        confirmed: Deferred[Any] = maybeDeferred(
            channel.basic_publish, DURABLE_EXCHANGE, topic, body, properties, mandatory
        )

        def answered(result: Any) -> None:
            if self._waiting.pop(done, None) is not None:
                self._bytes -= size
            if done.called:
                return
            if isinstance(result, Failure):
                done.errback(_refusal(result.value, topic))
            else:
                done.callback(None)

        confirmed.addBoth(answered)
        return done

    def _look(self) -> None:
        """Fail what has waited too long."""
        self._timer = None
        now = self._clock.seconds()
        while self._waiting:
            done, (deadline, size) = next(iter(self._waiting.items()))
            if deadline > now:
                self._timer = self._clock.callLater(deadline - now, self._look)
                return
            del self._waiting[done]
            self._bytes -= size
            if not done.called:
                done.errback(
                    EngineUnavailable(f"RabbitMQ did not confirm the message within {PATIENCE:g} s; it may have it")
                )

    def stop(self) -> None:
        """Nothing is published any more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def _refusal(error: BaseException | None, topic: str) -> SidecarError:
    kind = type(error).__name__
    if kind == "UnroutableError":
        return NoSubscriber(f"nobody is subscribed to {topic!r}: the message was not kept")
    if kind == "NackError":
        return EngineUnavailable("RabbitMQ refused the message: a queue is full, or it had a fault of its own")
    return EngineUnavailable(f"RabbitMQ did not confirm the message: {words(error)}")
