"""Messages over NATS: the subject is the topic, the payload go-micro's message JSON, a queue is a NATS queue group.

:source: micro/go-micro ``broker/nats/nats.go@v6.10.0``
"""

from __future__ import annotations

import uuid
from collections.abc import Callable

from attrs import define, field
from twisted.application import service
from twisted.internet.defer import Deferred, ensureDeferred, fail, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure
from zope.interface import implementer

from sidecar.broker.events import Events
from sidecar.broker.local import LocalSubscriber, LocalSubscribers
from sidecar.broker.outgoing import addressed
from sidecar.errors import BadRequest, EngineUnavailable, Forbidden, SidecarError, TooLarge, TopicInvalid
from sidecar.interfaces import IDelivery, IDurableBroker, ISubscription
from sidecar.model import BackendOptions, BackendState, Caller, Message, PublishOptions, SubscribeOptions
from sidecar.net.errors import InvalidSubject, MessageTooLarge, NetError, NotPermitted, Unavailable
from sidecar.net.nats.access import NatsServers
from sidecar.net.nats.client import Interest, NatsClient
from sidecar.wire import messages

#: Bytes of the longest subject or queue: a NATS server's control line (4,096) has to hold both.
MAX_NAME = 1024

#: What a fault of the connection is to who publishes or subscribes.
_MEANINGS: tuple[tuple[type[NetError], type[SidecarError]], ...] = (
    (Unavailable, EngineUnavailable),
    (NotPermitted, Forbidden),
    (MessageTooLarge, TooLarge),
    (InvalidSubject, TopicInvalid),
)


@define(eq=False)
class _Subscription:
    """One subscription at the NATS server, and the subscribers here that share it."""

    interest: Interest
    subscribers: LocalSubscribers = field(factory=LocalSubscribers)


@implementer(IDurableBroker)
@define(eq=False, slots=False, init=False)
class NatsBroker(service.MultiService):
    """Publishes to NATS and confirms each message; subscriptions stand through outages and come back by themselves.

    However many subscribers one topic has here, each message crosses the connection to NATS once. The members of a
    queue are each known to NATS, so that its share counts them all.
    """

    abilities: frozenset[str] = field()
    _shared: dict[str, _Subscription] = field()

    def __init__(self, clock: IReactorTime, link: NatsClient, create_streams: bool = False) -> None:
        """:param link: becomes part of this service. :param create_streams: whether events make streams."""
        super().__init__()
        self.abilities = frozenset(("events", "ack"))
        self._events = Events(clock, link, create_streams)
        self._clock = clock
        self._link = link
        self._shared = {}
        self._subscriptions: dict[LocalSubscriber, _Subscription] = {}
        link.setServiceParent(self)

    def publish(self, topic: str, message: Message, caller: Caller) -> Deferred[None]:
        problem = name_problem("topic", topic)
        if problem is not None:
            return fail(problem)
        if not self.running:
            return fail(EngineUnavailable("the NATS broker is stopped: the message was not taken"))
        payload = messages.encode(addressed(message, topic, str(uuid.uuid4())))
        if self._link.first_attempt.over:
            published = self._link.publish(topic, payload)
        else:
            published = self._link.first_attempt.wait().addCallback(lambda _: self._link.publish(topic, payload))
        return published.addErrback(_told)

    def subscribe(
        self, topic: str, deliver: Callable[[str, Message], None], queue: str | None, caller: Caller
    ) -> Deferred[ISubscription]:
        """With no server in reach it is taken all the same, and is live when one answers."""
        problem = name_problem("topic", topic) or (name_problem("queue", queue) if queue is not None else None)
        if problem is not None:
            return fail(problem)
        if not self.running:
            return fail(EngineUnavailable("the NATS broker is stopped: nothing was subscribed"))
        subscriber = LocalSubscriber(topic, queue, deliver, self._unsubscribed, caller)
        subscription = self._shared.get(topic) if queue is None else None
        if subscription is None:
            subscription = self._subscription(topic, queue or "")
            if queue is None:
                self._shared[topic] = subscription
        subscription.subscribers.add(subscriber)
        self._subscriptions[subscriber] = subscription

        def subscribed(_: None) -> ISubscription:
            taken: ISubscription = subscriber
            return taken

        def refused(failure: Failure) -> Failure:
            subscriber.cancel()
            return failure

        # Where the topic is subscribed already, this still waits for the server's word: what was published before the
        # call is not delivered to the new subscriber then.
        return self._link.subscribe(subscription.interest).addErrback(_told).addCallbacks(subscribed, refused)

    def publish_with(self, topic: str, message: Message, options: PublishOptions, caller: Caller) -> Deferred[None]:
        if not options.events:
            return self.publish(topic, message, caller)
        problem = name_problem("topic", topic)
        if problem is not None:
            return fail(problem)
        if not self.running:
            return fail(EngineUnavailable("the NATS broker is stopped: the event was not taken"))
        return ensureDeferred(self._events.publish(topic, message))

    def consume(
        self, topic: str, take: Callable[[IDelivery], None], options: SubscribeOptions, caller: Caller
    ) -> Deferred[ISubscription]:
        if not options.events:
            return fail(
                BadRequest(
                    "ack: NATS has nothing to acknowledge but events: say events=1 too, or have --broker=rabbitmq"
                )
            )
        problem = name_problem("topic", topic)
        if problem is not None:
            return fail(problem)
        if not self.running:
            return fail(EngineUnavailable("the NATS broker is stopped: nothing was subscribed"))
        return ensureDeferred(self._events.consume(topic, take, options.queue))

    def stopService(self) -> Deferred[None]:
        self._events.stop()
        stopping: Deferred[None] = super().stopService()
        return stopping

    def state(self) -> BackendState:
        return BackendState("nats", connected=self._link.connected, detail=self._link.detail)

    def _subscription(self, topic: str, queue: str) -> _Subscription:
        def arrived(subject: str, reply: str, payload: bytes) -> None:
            self._arrived(subscription, payload)

        subscription = _Subscription(Interest(topic, arrived, queue))
        return subscription

    def _arrived(self, subscription: _Subscription, payload: bytes) -> None:
        topic = subscription.interest.subject
        # Whoever has the server's address publishes there, in forms of their own: JetStream's events, plain JSON.
        subscription.subscribers.deliver(topic, messages.decode_any(payload, topic))

    def _unsubscribed(self, subscriber: LocalSubscriber) -> Deferred[None]:
        subscription = self._subscriptions.pop(subscriber)
        if not subscription.subscribers.remove(subscriber):
            return succeed(None)
        if self._shared.get(subscriber.topic) is subscription:
            del self._shared[subscriber.topic]
        return self._link.unsubscribe(subscription.interest)


def _told(failure: Failure) -> Failure:
    """The same failure in the words of brokers."""
    for kind, meaning in _MEANINGS:
        if failure.check(kind):
            return Failure(meaning(str(failure.value)))
    return failure


def name_problem(what: str, name: str) -> TopicInvalid | None:
    """Why ``name`` cannot be a NATS subject (or queue group), or None."""
    if not name:
        return TopicInvalid(f"{what}: must not be empty")
    if any(character.isspace() or not character.isprintable() for character in name):
        return TopicInvalid(f"{what} {_shown(name)}: NATS subjects hold no spaces and no control characters")
    if len(name.encode("utf-8", "surrogatepass")) > MAX_NAME:
        return TopicInvalid(f"{what} {_shown(name)}: is longer than {MAX_NAME} bytes")
    if what == "queue":
        return None
    if "*" in name or ">" in name:
        return TopicInvalid(f"{what} {_shown(name)}: * and > are wildcards of NATS; name one topic")
    if not all(name.split(".")):
        return TopicInvalid(f"{what} {_shown(name)}: NATS subjects have no empty part before, between or after dots")
    if name.startswith("$"):
        return TopicInvalid(f"{what} {_shown(name)}: subjects that begin with $ are NATS's own")
    return None


def _shown(name: str) -> str:
    return ascii(name if len(name) <= 80 else name[:80] + "...")


def build(options: BackendOptions) -> IDurableBroker:
    """The entry point ``microsidecar.brokers: nats``.

    :raises InvalidSetting: an address, a certificate or the credentials file cannot be used.
    """
    link = NatsClient(options.reactor, NatsServers.from_options(options), "microsidecar broker")
    broker: IDurableBroker = NatsBroker(options.reactor, link, options.events_create)
    return broker
