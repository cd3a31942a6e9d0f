"""What stands in the registry for the HTTP broker's subscribers here: a desk for messages, known under four names."""

from __future__ import annotations

import uuid
from collections.abc import Coroutine, Iterable
from typing import Any, Generic, TypeVar

from attrs import define, field
from twisted.internet.defer import CancelledError, Deferred, DeferredList
from twisted.logger import Logger

from sidecar.errors import SidecarError
from sidecar.interfaces import IRegistry
from sidecar.model import Service
from sidecar.wire import httpbroker as wire

#: Seconds that a record lasts, and between two renewals: go-micro's.
TTL, RENEWAL = 60.0, 30.0

E = TypeVar("E")


@define(eq=False)
class Subscription(Generic[E]):
    """One place in the registry.

    All who hear a topic without a queue share one, so that a message comes over the network once. A member of a queue
    has its own, so that its share is a whole one.

    :ivar records: what is registered, by flavour.
    :ivar ears: those who hear; replaced on each change, so that a delivery may cause one.
    :ivar open: whether it is to be in the registry.
    """

    topic: str
    queue: str | None
    records: dict[wire.Flavour, Service]
    ears: tuple[E, ...] = ()
    open: bool = True
    entering: Deferred[SidecarError | None] | None = None


@define(eq=False)
class Subscriptions(Generic[E]):
    """All of them. :ivar place: the host and port that messages are posted to."""

    log = Logger()
    _registry: IRegistry
    place: tuple[str, int]
    _broker: str = field(factory=lambda: str(uuid.uuid4()), init=False)
    _by_node: dict[str, Subscription[E]] = field(factory=dict, init=False)
    _shared: dict[str, Subscription[E]] = field(factory=dict, init=False)

    def find(self, node_id: str) -> Subscription[E] | None:
        """The desk that a message was posted to."""
        return self._by_node.get(node_id)

    async def sit(self, topic: str, queue: str | None, ear: E) -> Subscription[E]:
        """Give ``ear`` a place. :raises SidecarError: the registry did not take it; then it has none."""
        desk = self._shared.get(topic) if queue is None else None
        if desk is None:
            desk = self._make(topic, queue)
        desk.ears = (*desk.ears, ear)
        try:
            await self._entered(desk)
        except (SidecarError, CancelledError):
            await self.rise(desk, ear)
            raise
        return desk

    async def rise(self, desk: Subscription[E], ear: E) -> None:
        """``ear`` gives its place up; the last one closes the desk."""
        desk.ears = tuple(other for other in desk.ears if other is not ear)
        if desk.ears or not desk.open:
            return
        desk.open = False
        for record in desk.records.values():
            self._by_node.pop(record.nodes[0].id, None)
        if self._shared.get(desk.topic) is desk:
            del self._shared[desk.topic]
        await _all(self._deregister(record) for record in desk.records.values())

    async def close(self) -> None:
        """Take all of them out of the registry."""
        desks = set(self._by_node.values())
        for desk in desks:
            desk.ears = desk.ears[:1]
        await _all(self.rise(desk, desk.ears[0]) for desk in desks if desk.ears)

    async def renew(self) -> None:
        """Register all once more, before their TTL is over."""
        for desk in set(self._by_node.values()):
            if desk.open:
                trouble = await outcome(Deferred.fromCoroutine(self._enter(desk)))
                if trouble is not None:
                    self.log.warn("A subscriber of {topic} is not renewed: {why}", topic=desk.topic, why=trouble)

    def _make(self, topic: str, queue: str | None) -> Subscription[E]:
        identity = str(uuid.uuid4())
        desk: Subscription[E] = Subscription(topic, queue, {})
        for flavour in wire.FLAVOURS:
            id = wire.node_id(flavour, topic, self._broker, identity)
            desk.records[flavour] = wire.record(flavour, topic, queue, identity, self.place, id)
            self._by_node[id] = desk
        if queue is None:
            self._shared[topic] = desk
        return desk

    async def _entered(self, desk: Subscription[E]) -> None:
        """Wait until ``desk`` is in the registry, with whoever else waits. :raises SidecarError: it will not be."""
        if desk.entering is None:
            desk.entering = outcome(Deferred.fromCoroutine(self._enter(desk)))
        waiting: Deferred[SidecarError | None] = Deferred()

        def tell(trouble: SidecarError | None) -> SidecarError | None:
            waiting.callback(trouble)
            return trouble

        desk.entering.addCallback(tell)
        trouble = await waiting
        if trouble is not None:
            raise trouble

    async def _enter(self, desk: Subscription[E]) -> None:
        """Register all records; the newest flavour must hold, the older ones are for older publishers."""
        newest, *older = wire.FLAVOURS
        await self._register(desk, newest)
        await _all(self._register_older(desk, flavour) for flavour in older)

    async def _register_older(self, desk: Subscription[E], flavour: wire.Flavour) -> None:
        if flavour == "B1'" and await self._is_a_service(desk.topic):
            await self._deregister(desk.records[flavour])
            return
        trouble = await outcome(Deferred.fromCoroutine(self._register(desk, flavour)))
        if trouble is not None:
            self.log.debug("{flavour} of {topic}: {why}", flavour=flavour, topic=desk.topic, why=trouble)

    async def _register(self, desk: Subscription[E], flavour: wire.Flavour) -> None:
        if desk.open:
            await self._registry.register(desk.records[flavour], TTL)
            if not desk.open:  # closed meanwhile: its deregistration may have come first
                await self._deregister(desk.records[flavour])

    async def _deregister(self, record: Service) -> None:
        trouble = await outcome(self._registry.deregister(record))
        if trouble is not None:
            self.log.debug("{name} stays until its TTL is over: {why}", name=record.name, why=trouble)

    async def _is_a_service(self, name: str) -> bool:
        """Whether something real has this name: a subscriber under it would be called in its stead."""
        try:
            found = await self._registry.get(name)
        except SidecarError:
            return False
        return any(not wire.is_broker(node) for each in found for node in each.nodes)


async def _settled(work: Deferred[None]) -> SidecarError | None:
    try:
        await work
    except SidecarError as error:
        return error
    return None


def outcome(work: Deferred[None]) -> Deferred[SidecarError | None]:
    """:returns: fires with what went wrong, or None."""
    return Deferred.fromCoroutine(_settled(work))


async def _all(works: Iterable[Coroutine[Any, Any, None]]) -> None:
    """Do all of them at once, none of which fails."""
    await DeferredList([Deferred.fromCoroutine(work) for work in works])
