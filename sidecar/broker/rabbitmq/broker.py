"""Messages over RabbitMQ as go-micro's plugin passes them: the routing key is the topic, a queue is a queue group.

:source: go-micro/plugins ``v4/broker/rabbitmq@v1.2.0``, micro/go-micro ``broker/rabbitmq@v5.30.0``
"""

from __future__ import annotations

import uuid
from collections import OrderedDict
from collections.abc import Callable, Coroutine
from importlib.util import find_spec
from typing import Any

from attrs import define, field
from twisted.application import service
from twisted.internet.defer import Deferred, ensureDeferred, fail
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from sidecar.broker.outgoing import addressed
from sidecar.broker.rabbitmq.deliveries import AcknowledgedSubscription
from sidecar.broker.rabbitmq.publisher import ConfirmedPublisher
from sidecar.broker.rabbitmq.subscribers import GroupSubscribers, PlainSubscribers
from sidecar.broker.rabbitmq.topology import QueueShape, bind_again, declare_exchanges
from sidecar.errors import BadRequest, ConfigError, EngineUnavailable
from sidecar.interfaces import IDelivery, IDurableBroker, ISubscription
from sidecar.model import (
    BackendOptions,
    BackendState,
    Caller,
    Message,
    PublishOptions,
    SubscribeOptions,
)
from sidecar.net.amqp.access import AmqpAccess
from sidecar.net.amqp.link import AmqpLink, AmqpSession
from sidecar.wire.broker import rabbitmq

#: Durable queues whose bindings to go-micro's exchange are made again after a restart of the server.
QUEUES_KNOWN = 10_000


@implementer(IDurableBroker)
@define(eq=False, slots=False, init=False)
class RabbitBroker(service.MultiService):
    """Publishes to RabbitMQ with its confirmation; subscriptions stand through outages and come back by themselves.

    :ivar abilities: see :class:`IDurableBroker`.
    """

    log = Logger()
    abilities: frozenset[str] = field()

    def __init__(self, clock: Any, access: AmqpAccess) -> None:
        super().__init__()
        self.abilities = frozenset(("durable", "ack", "mandatory"))
        self._clock = clock
        self._link = AmqpLink(clock, access, "microsidecar", self._prepare, self._lost)
        self._publisher = ConfirmedPublisher(clock)
        self._plain = PlainSubscribers(clock)
        self._groups: dict[str, GroupSubscribers] = {}
        self._acknowledged: dict[AcknowledgedSubscription, None] = {}
        self._known: OrderedDict[tuple[str, str], None] = OrderedDict()
        self._link.setServiceParent(self)

    def stopService(self) -> Deferred[None]:
        self._publisher.stop()
        stopping: Deferred[None] = super().stopService()
        return stopping

    # --- Publishing ---------------------------------------------------------------------------------------------------

    def publish(self, topic: str, message: Message, caller: Caller) -> Deferred[None]:
        return self.publish_with(topic, message, PublishOptions(), caller)

    def publish_with(self, topic: str, message: Message, options: PublishOptions, caller: Caller) -> Deferred[None]:
        problem = rabbitmq.name_problem("topic", topic)
        if problem is not None:
            return fail(problem)
        try:
            headers = rabbitmq.headers(addressed(message, topic, str(uuid.uuid4())))
        except BadRequest as error:
            return fail(error)
        if self._link.session is None:
            return self._link.first_attempt.wait().addCallback(
                lambda _: self._publish(topic, headers, message.body, options)
            )
        return self._publish(topic, headers, message.body, options)

    def _publish(self, topic: str, headers: dict[str, str], body: bytes, options: PublishOptions) -> Deferred[None]:
        if self._link.session is None:
            return fail(EngineUnavailable(f"RabbitMQ: {self._link.detail}; the message was not published"))
        if options.mandatory:
            return self._publisher.publish_mandatory(topic, headers, body)
        return self._publisher.publish(topic, headers, body)

    # --- Subscribing --------------------------------------------------------------------------------------------------

    def subscribe(
        self, topic: str, deliver: Callable[[str, Message], None], queue: str | None, caller: Caller
    ) -> Deferred[ISubscription]:
        """With no server in reach it is taken all the same, and is live when one answers."""
        problem = rabbitmq.name_problem("topic", topic) or (
            rabbitmq.name_problem("queue", queue) if queue is not None else None
        )
        if problem is not None:
            return fail(problem)
        if not self.running:
            return fail(EngineUnavailable("the RabbitMQ broker is stopped: nothing was subscribed"))
        if queue is None:
            return _uncut(self._plain.subscribe(topic, deliver, caller))
        return _uncut(self._subscribe_group(topic, deliver, queue, caller))

    async def _subscribe_group(
        self, topic: str, deliver: Callable[[str, Message], None], queue: str, caller: Caller
    ) -> ISubscription:
        group = self._groups.get(queue)
        if group is None or not len(group):
            group = self._groups[queue] = GroupSubscribers(queue, self._clock)
            group.connected(self._link.session)
        try:
            place: ISubscription = await group.subscribe(topic, deliver, caller)
            return place
        finally:
            self._forget_empty_groups()

    def _forget_empty_groups(self) -> None:
        for name in [name for name, group in self._groups.items() if not len(group)]:
            self._groups.pop(name).close()

    def consume(
        self,
        topic: str,
        take: Callable[[IDelivery], None],
        options: SubscribeOptions,
        caller: Caller,
    ) -> Deferred[ISubscription]:
        name = options.durable or options.queue or ""
        what = "durable" if options.durable else "queue"
        problem = rabbitmq.name_problem("topic", topic) or (rabbitmq.name_problem(what, name) if name else None)
        if problem is not None:
            return fail(problem)
        if options.durable and options.queue not in (None, options.durable):
            return fail(
                BadRequest(
                    f"durable: {options.durable!r} is the queue, so that queue={options.queue} means nothing: "
                    "leave it out, or say durable=1"
                )
            )
        subscription = AcknowledgedSubscription(
            QueueShape(name, options.durable is not None), topic, take, self._clock, self._left
        )
        return _uncut(self._consume(subscription))

    async def _consume(self, subscription: AcknowledgedSubscription) -> ISubscription:
        await self._link.first_attempt.wait()
        session = self._link.session
        if session is None:
            raise EngineUnavailable(f"RabbitMQ: {self._link.detail}; nothing was subscribed")
        self._acknowledged[subscription] = None
        try:
            await subscription.begin(session)
        except BaseException:
            subscription.cancel()
            raise
        if session.ended:
            subscription.cancel()
            raise EngineUnavailable(f"RabbitMQ: {self._link.detail}; nothing was subscribed")
        if subscription.shape.durable:
            self._known.pop((subscription.shape.name, subscription.topic), None)
            self._known[subscription.shape.name, subscription.topic] = None
            while len(self._known) > QUEUES_KNOWN:
                self._known.popitem(last=False)
        place: ISubscription = subscription
        return place

    def _left(self, subscription: AcknowledgedSubscription) -> None:
        self._acknowledged.pop(subscription, None)

    def state(self) -> BackendState:
        connected = self._link.session is not None
        return BackendState("rabbitmq", connected=connected, detail="" if connected else self._link.detail)

    # --- Connections --------------------------------------------------------------------------------------------------

    async def _prepare(self, session: AmqpSession) -> None:
        """Everything that messages need stands before the first one is published."""
        await declare_exchanges(session)
        self._forget_empty_groups()
        for subscription in list(self._acknowledged):
            await subscription.open(session)
        for name, topic in list(self._known):
            if not any((held.shape.name, held.topic) == (name, topic) for held in self._acknowledged):
                await bind_again(session, name, topic)
        for group in list(self._groups.values()):
            await group.open(session)
        await self._plain.open(session)
        await self._publisher.open(session)

    def _lost(self) -> None:
        self._publisher.closed()
        self._plain.disconnected()
        for group in self._groups.values():
            group.connected(None)
        for subscription in self._acknowledged:
            subscription.disconnected()


def _uncut(work: Coroutine[Any, Any, ISubscription]) -> Deferred[ISubscription]:
    """``work`` to its end: cut off in the middle, what the server was asked for would be known to nobody. Who cancels
    is not told of it any more, and the subscription is cancelled when it is there."""
    unwanted = False

    def give_up(_: object) -> None:
        nonlocal unwanted
        unwanted = True

    done: Deferred[ISubscription] = Deferred(give_up)

    def worked(result: Any) -> None:
        if not unwanted:
            done.callback(result)
        elif not isinstance(result, Failure):
            result.cancel()

    running: Deferred[Any] = ensureDeferred(work)
    running.addBoth(worked)
    return done


def build(options: BackendOptions) -> IDurableBroker:
    """The entry point ``microsidecar.brokers: rabbitmq``.

    :raises ConfigError: pika is missing, or an address or a certificate cannot be used.
    """
    if find_spec("pika") is None:
        raise ConfigError(
            "the RabbitMQ library is not installed; install it by: pip install 'pika>=1.3'"
            " (or install the sidecar with it: the extra is microsidecar[rabbitmq])"
        )
    broker: IDurableBroker = RabbitBroker(options.reactor, AmqpAccess.from_options(options))
    return broker
