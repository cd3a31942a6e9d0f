"""What is registered for the HTTP broker's subscribers in this process: each subscription under four names."""

from __future__ import annotations

import uuid
from collections.abc import Coroutine, Iterable
from typing import Any

from attrs import define, field
from twisted.internet.defer import CancelledError, Deferred, DeferredList
from twisted.logger import Logger

from sidecar.broker.local import LocalSubscriber, LocalSubscribers
from sidecar.errors import SidecarError
from sidecar.interfaces import IRegistry
from sidecar.model import ANONYMOUS, Cause, Service
from sidecar.waiting import AskOnce
from sidecar.wire.broker import http as wire

#: Seconds that a record lasts, and between two renewals: go-micro's.
TTL, RENEWAL = 60.0, 30.0

#: Who does it, for those who watch the registry.
SUBSCRIBED = Cause(by="broker")


@define(eq=False)
class Subscription:
    """One registered subscriber, as other brokers see it.

    All subscribers here of a topic without a queue share one, so that a message comes over the network once. A member
    of a queue has its own, so that its share is a whole one.

    :ivar records: what is registered, by dialect.
    :ivar subscribers: those here that the messages are for.
    :ivar open: whether it is to be in the registry. :ivar registered: whether it is.
    """

    topic: str
    queue: str | None
    records: dict[wire.Dialect, Service]
    subscribers: LocalSubscribers = field(factory=LocalSubscribers)
    open: bool = True
    registered: bool = False


@define(eq=False)
class Subscriptions:
    """All of them. :ivar address: the host and port that messages are posted to."""

    log = Logger()
    _registry: IRegistry
    address: tuple[str, int]
    _broker: str = field(factory=lambda: str(uuid.uuid4()), init=False)
    _by_node: dict[str, Subscription] = field(factory=dict, init=False)
    _shared: dict[str, Subscription] = field(factory=dict, init=False)
    _registering: AskOnce[Subscription, None] = field(factory=AskOnce, init=False)

    def members(self, node_id: str, topic: str) -> tuple[LocalSubscriber, ...]:
        """The subscribers here for whom a message on ``topic`` is that was posted to ``node_id``; none where that
        subscription has ended, or is of another topic."""
        subscription = self._by_node.get(node_id)
        if subscription is None or subscription.topic != topic:
            return ()
        return subscription.subscribers.members

    async def subscribe(self, subscriber: LocalSubscriber) -> Subscription:
        """Register ``subscriber``. :raises SidecarError: the registry did not take it; then nothing is registered."""
        subscription = self._shared.get(subscriber.topic) if subscriber.queue is None else None
        if subscription is None:
            subscription = self._make(subscriber.topic, subscriber.queue)
        subscription.subscribers.add(subscriber)
        try:
            await self._registered(subscription)
        except (SidecarError, CancelledError):
            await self.unsubscribe(subscription, subscriber)
            raise
        return subscription

    async def unsubscribe(self, subscription: Subscription, subscriber: LocalSubscriber) -> None:
        """Undo :meth:`subscribe`; with its last subscriber the subscription is deregistered."""
        if subscription.subscribers.remove(subscriber):
            await self._close(subscription)

    async def close(self) -> None:
        """Deregister all of them."""
        await _all(self._close(subscription) for subscription in set(self._by_node.values()))

    async def renew(self) -> None:
        """Register all once more, before their TTL is over."""
        for subscription in set(self._by_node.values()):
            if subscription.open:
                error = await outcome(Deferred.fromCoroutine(self._register_all(subscription)))
                if error is not None:
                    self.log.warn("A subscriber of {topic} is not renewed: {why}", topic=subscription.topic, why=error)

    def _make(self, topic: str, queue: str | None) -> Subscription:
        identity = str(uuid.uuid4())
        subscription = Subscription(topic, queue, {})
        for dialect in wire.Dialect:
            id = wire.node_id(dialect, topic, self._broker, identity)
            subscription.records[dialect] = wire.record(dialect, topic, queue, identity, self.address, id)
            self._by_node[id] = subscription
        if queue is None:
            self._shared[topic] = subscription
        return subscription

    async def _close(self, subscription: Subscription) -> None:
        if not subscription.open:
            return
        subscription.open = False
        for record in subscription.records.values():
            self._by_node.pop(record.nodes[0].id, None)
        if self._shared.get(subscription.topic) is subscription:
            del self._shared[subscription.topic]
        await _all(self._deregister(record) for record in subscription.records.values())

    async def _registered(self, subscription: Subscription) -> None:
        """Wait until it is registered, with whoever else waits. :raises SidecarError: it will not be."""
        if not subscription.registered:
            await self._registering.ask(subscription, lambda: Deferred.fromCoroutine(self._register_all(subscription)))
            subscription.registered = True

    async def _register_all(self, subscription: Subscription) -> None:
        """Register all records; the newest dialect must hold, the older ones are for older publishers."""
        newest, *older = wire.Dialect
        await self._register(subscription, newest)
        await _all(self._register_older(subscription, dialect) for dialect in older)

    async def _register_older(self, subscription: Subscription, dialect: wire.Dialect) -> None:
        if dialect is wire.Dialect.V1_13 and await self._is_a_service(subscription.topic):
            await self._deregister(subscription.records[dialect])
            return
        error = await outcome(Deferred.fromCoroutine(self._register(subscription, dialect)))
        if error is not None:
            self.log.debug("{dialect} of {topic}: {why}", dialect=dialect.value, topic=subscription.topic, why=error)

    async def _register(self, subscription: Subscription, dialect: wire.Dialect) -> None:
        if subscription.open:
            await self._registry.register(subscription.records[dialect], TTL, ANONYMOUS, SUBSCRIBED)
            if not subscription.open:  # closed meanwhile: its deregistration may have come first
                await self._deregister(subscription.records[dialect])

    async def _deregister(self, record: Service) -> None:
        error = await outcome(self._registry.deregister(record, ANONYMOUS, SUBSCRIBED))
        if error is not None:
            self.log.debug("{name} stays until its TTL is over: {why}", name=record.name, why=error)

    async def _is_a_service(self, name: str) -> bool:
        """Whether something real has this name: a subscriber under it would be called in its stead."""
        try:
            found = await self._registry.get(name)
        except SidecarError:
            return False
        return any(not wire.is_broker(node) for each in found for node in each.nodes)


async def _error_of(work: Deferred[None]) -> SidecarError | None:
    try:
        await work
    except SidecarError as error:
        return error
    return None


def outcome(work: Deferred[None]) -> Deferred[SidecarError | None]:
    """:returns: fires with what went wrong, or None."""
    return Deferred.fromCoroutine(_error_of(work))


async def _all(works: Iterable[Coroutine[Any, Any, None]]) -> None:
    """Do all of them at once, none of which fails."""
    await DeferredList([Deferred.fromCoroutine(work) for work in works])
