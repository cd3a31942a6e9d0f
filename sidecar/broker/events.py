"""go-micro's events over JetStream: a topic is a stream, a group is a consumer that lasts.

:source: micro/go-micro ``events/natsjs@v5.30.0``, go-micro/plugins ``v4/events/natsjs@v1.2.0``
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

import orjson
from attrs import define, field
from twisted.internet.defer import Deferred, ensureDeferred, succeed
from twisted.logger import Logger

from sidecar.broker.eventsubscription import EventSubscription
from sidecar.errors import BadRequest, EngineUnavailable, NotFound, SidecarError, TopicInvalid
from sidecar.interfaces import IDelivery, ISubscription
from sidecar.model import Message
from sidecar.net.errors import NetError
from sidecar.net.nats.client import Interest, NatsClient
from sidecar.net.nats.jetstream import NatsRequests
from sidecar.waiting import wall
from sidecar.wire.broker import natsjs
from sidecar.wire.broker.natsjs import API, JetStreamAnswer

#: Seconds between two looks whether a consumer is still there: somebody may delete it, and a restart may lose it.
LOOK = 10.0
#: Topics of which it is remembered that a stream holds them.
STREAMS_KNOWN = 10_000


@define(eq=False)
class Events:
    """Publishes and consumes events on a connection to NATS.

    :ivar create: whether a stream that is missing is made.
    """

    log = Logger()
    _clock: Any
    _link: NatsClient
    create: bool
    _requests: NatsRequests = field(init=False)
    _subscriptions: dict[EventSubscription, None] = field(factory=dict, init=False)
    #: By topic, the stream that holds it.
    _streams: dict[str, str] = field(factory=dict, init=False)
    _looking: Any = field(default=None, init=False)
    _stopped: bool = field(default=False, init=False)  # a look may still be under way then
    _skipped: int = field(default=0, init=False)

    def __attrs_post_init__(self) -> None:
        self._requests = NatsRequests(self._clock, self._link)
        self._link.on_change(self._changed)

    def stop(self) -> None:
        """Look after nothing any more."""
        self._stopped = True
        if self._looking is not None and self._looking.active():
            self._looking.cancel()
        self._looking = None

    # --- Publishing ---------------------------------------------------------------------------------------------------

    async def publish(self, topic: str, message: Message) -> None:
        """Done when the stream has stored the event. :raises SidecarError: it has not, or there is none."""
        await self._link.first_attempt.wait()
        await self._stream(topic)
        id = next((value for name, value in message.header.items() if name.lower() == "micro-id"), "")
        payload = natsjs.encode(message, topic, id or str(uuid.uuid4()), wall(self._clock))
        try:
            said = natsjs.answer(await self._requests.ask(topic, payload) or b"{}")
        except NetError as error:
            self._streams.pop(topic, None)
            raise EngineUnavailable(f"JetStream did not confirm the event: {error}") from error
        if said.code or "stream" not in said.fields:
            self._streams.pop(topic, None)
            raise EngineUnavailable(f"JetStream did not take the event: {said.text or 'no stream holds the topic'}")

    async def _stream(self, topic: str) -> str:
        """:returns: the stream that holds the topic, made where it may be. :raises NotFound: there is none."""
        known = self._streams.get(topic)
        if known is not None:
            return known
        said = await self._ask("STREAM.NAMES", b'{"subject":%b}' % _json(topic))
        names = said.fields.get("streams") or []
        if said.code:
            raise EngineUnavailable(f"JetStream: {said.text}")
        if names:
            stream = str(names[0])
        else:
            problem = natsjs.name_problem("topic", topic)
            if problem is not None:
                raise problem
            if not self.create:
                raise NotFound(
                    f"events: JetStream has no stream {topic!r}; a consumer of go-micro's makes it, or this sidecar "
                    "does with --broker_events_create"
                )
            made = await self._ask(f"STREAM.CREATE.{topic}", natsjs.stream_config(topic))
            if made.code:
                raise EngineUnavailable(f"JetStream did not make the stream {topic!r}: {made.text}")
            stream = topic
        while len(self._streams) >= STREAMS_KNOWN:
            del self._streams[next(iter(self._streams))]
        self._streams[topic] = stream
        return stream

    # --- Consuming ----------------------------------------------------------------------------------------------------

    async def consume(self, topic: str, take: Callable[[IDelivery], None], queue: str | None) -> ISubscription:
        """See :meth:`IDurableBroker.consume`. :param queue: the group, None for one of its own."""
        group = queue or uuid.uuid4().hex
        problem = natsjs.name_problem("queue", group)
        if problem is not None:
            raise problem
        await self._link.first_attempt.wait()
        subscription = EventSubscription(topic, group, queue is not None, take, self)
        self._subscriptions[subscription] = None
        try:
            await self._attach(subscription)
        except BaseException:
            self._subscriptions.pop(subscription, None)
            subscription.live = False
            if subscription.interest is not None:
                self._link.unsubscribe(subscription.interest)
            raise
        self._look_later()
        place: ISubscription = subscription
        return place

    async def _attach(self, subscription: EventSubscription) -> None:
        """Have the group's consumer, and listen where it delivers to."""
        topic, group = subscription.topic, subscription.group
        subscription.stream = stream = await self._stream(topic)
        said = await self._ask(f"CONSUMER.INFO.{stream}.{group}")
        if said.code == natsjs.NOT_FOUND:
            inbox = f"_INBOX.{uuid.uuid4().hex}"
            wanted = natsjs.consumer_config(stream, group, topic, inbox, subscription.lasting)
            said = await self._ask(f"CONSUMER.DURABLE.CREATE.{stream}.{group}", wanted)
            if said.code:
                # Another member may have been faster.
                again = await self._ask(f"CONSUMER.INFO.{stream}.{group}")
                said = said if again.code else again
        if said.code:
            self._streams.pop(topic, None)
            raise EngineUnavailable(f"JetStream did not give us the group {group!r}: {said.text}")
        config = said.fields.get("config") or {}
        where, shared = str(config.get("deliver_subject") or ""), str(config.get("deliver_group") or "")
        if not where:
            raise TopicInvalid(f"queue: {group!r} is a consumer that has to be asked for each event; choose another")
        if config.get("filter_subject") not in (None, "", topic):
            raise TopicInvalid(f"queue: the group {group!r} is one of {config['filter_subject']!r}; choose another")
        interest = subscription.interest
        if interest is None or (interest.subject, interest.queue) != (where, shared):
            if interest is not None:
                self._link.unsubscribe(interest)
            subscription.interest = interest = Interest(where, subscription.arrived, shared)
        if subscription.live:
            await self._within_words(self._link.subscribe(interest))

    def left(self, subscription: EventSubscription) -> Deferred[None]:
        """``subscription`` was cancelled."""
        self._subscriptions.pop(subscription, None)
        interest = subscription.interest
        if interest is None:
            return succeed(None)
        leaving = self._link.unsubscribe(interest)
        # Given back before, it would be delivered here once more.
        leaving.addCallback(lambda _: subscription.requeue_all())
        if not subscription.lasting:
            leaving.addCallback(lambda _: ensureDeferred(self._forget(subscription)))
        return leaving.addErrback(lambda _: None)

    async def _forget(self, subscription: EventSubscription) -> None:
        if self._link.connected:
            await self._ask(f"CONSUMER.DELETE.{subscription.stream}.{subscription.group}")

    def say(self, reply: str, word: bytes) -> None:
        """Tell JetStream what became of an event; what does not reach it is delivered again."""
        self._link.publish(reply, word).addErrback(lambda _: None)

    def skip(self, topic: str, reply: str, error: BadRequest) -> None:
        """What is no event is acknowledged, so that it does not come for ever."""
        self._skipped += 1
        if self._skipped & (self._skipped - 1) == 0:
            self.log.warn(
                "What is no event in {topic} is skipped: {error} ({count} so far)",
                topic=topic,
                error=error,
                count=self._skipped,
            )
        self.say(reply, natsjs.ACK)

    # --- Looking after consumers --------------------------------------------------------------------------------------

    def _changed(self, connected: bool) -> None:
        self._streams.clear()  # the server may be another one now, or have lost what it had
        if connected and self._subscriptions:
            self._look()

    def _look_later(self) -> None:
        if self._looking is None and self._subscriptions and not self._stopped:
            self._looking = self._clock.callLater(LOOK, self._look)

    def _look(self) -> None:
        self.stop()
        ensureDeferred(self._look_after()).addErrback(
            lambda failure: self.log.failure("Looking after JetStream's consumers failed", failure)
        )

    async def _look_after(self) -> None:
        for subscription in list(self._subscriptions):
            if not self._link.connected:
                break
            try:
                if subscription.live:
                    await self._attach(subscription)
            except SidecarError as error:
                self._streams.pop(subscription.topic, None)
                self.log.warn("The events of {topic} do not come: {error}", topic=subscription.topic, error=error)
        self._look_later()

    # --- Asking -------------------------------------------------------------------------------------------------------

    async def _ask(self, what: str, payload: bytes = b"") -> JetStreamAnswer:
        try:
            said = await self._requests.ask(f"{API}.{what}", payload)
        except NetError as error:
            raise EngineUnavailable(f"JetStream: {error}") from error
        if not said:
            raise EngineUnavailable("JetStream is not enabled at the NATS server (start it with -js)")
        return natsjs.answer(said)

    async def _within_words(self, waiting: Deferred[None]) -> None:
        try:
            await waiting
        except NetError as error:
            raise EngineUnavailable(f"JetStream: {error}") from error


def _json(text: str) -> bytes:
    return orjson.dumps(text)
