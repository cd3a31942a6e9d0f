"""The HTTP broker's part in the registry: who subscribes to a topic, and our own places among them."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable
from typing import Any

from attrs import define, field
from twisted.internet.defer import CancelledError, Deferred, DeferredLock, TimeoutError, gatherResults
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from sidecar.errors import EngineUnavailable, NotFound, SidecarError
from sidecar.interfaces import IRegistry, IWatch
from sidecar.model import Change, Service
from sidecar.wire import httpbroker
from sidecar.wire.httpbroker import Subscribers

#: Seconds after which a record of ours expires, and between two renewals.
TTL, INTERVAL = 60.0, 30.0
#: Seconds that the registry may take. Its own deadlines are shorter; this is for one that has none.
PATIENCE = 10.0
#: Seconds until a record that could not be made is tried again: doubled each time, up to ``INTERVAL``.
FIRST_RETRY = 1.0
#: Topics whose subscribers are remembered, and seconds after which one is looked up again though nothing was told.
MAX_REMEMBERED, OLDEST = 4096, 15.0

_SHARED = (httpbroker.SHARED, httpbroker.SHARED_V1)


class Directory:
    """Finds the subscribers of topics; what was found is good until the registry tells of a change."""

    def __init__(self, registry: IRegistry, clock: IReactorTime, own: Callable[[], Iterable[str]]) -> None:
        """:param own: the node ids of our own places, which are reached without the network."""
        self._registry = registry
        self._clock = clock
        self._own = own
        self._found: dict[str, tuple[float, Subscribers]] = {}
        self._asked: dict[str, str] = {}
        self._changes = 0
        self._watch: IWatch | None = None
        self.detail = ""

    def start(self) -> None:
        self._watch = self._registry.watch(self._changed)

    def stop(self) -> None:
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None
        self.forget()

    def forget(self) -> None:
        self._changes += 1
        self._found.clear()
        self._asked.clear()

    async def find(self, topic: str) -> Subscribers:
        """:raises EngineUnavailable: the registry cannot be read."""
        known = self._found.get(topic)
        if known is not None and known[0] > self._clock.seconds():
            return known[1]
        if len(self._found) >= MAX_REMEMBERED:
            self.forget()
        asked = self._changes
        services: list[Service] = []
        failed: EngineUnavailable | None = None
        names = httpbroker.names(topic)
        for name in names:
            self._asked[name] = topic
        for answer in await gatherResults([self._get(name) for name in names]):
            if isinstance(answer, EngineUnavailable):
                failed = answer
            else:
                services += answer
        self.detail = "" if failed is None else str(failed)
        if failed is not None and not services:
            raise failed
        found = httpbroker.subscribers(topic, services, self._own())
        if asked == self._changes and failed is None:
            self._found[topic] = (self._clock.seconds() + OLDEST, found)
        return found

    def _get(self, name: str) -> Deferred[tuple[Service, ...] | EngineUnavailable]:
        return Deferred.fromCoroutine(self._look_up(name))

    async def _look_up(self, name: str) -> tuple[Service, ...] | EngineUnavailable:
        try:
            found: tuple[Service, ...] = await self._registry.get(name)
        except NotFound:
            return ()
        except EngineUnavailable as error:
            return error
        return found

    def _changed(self, change: Change) -> None:
        name = change.service.name
        if name in _SHARED:
            # The topics are told by the nodes, so others need not be looked up again.
            topics = {node.metadata.get("topic", "") for node in change.service.nodes}
        elif name in self._asked:
            topics = {self._asked[name]}
        else:
            return
        self._changes += 1
        for topic in topics:
            self._found.pop(topic, None)


@define(eq=False)
class Place:
    """One topic, or one queue of a topic, that somebody here listens to: one node for publishers elsewhere.

    :ivar id: the node's. :ivar members: how many listen. :ivar due: when it is to be registered again.
    """

    topic: str
    queue: str | None
    id: str
    records: tuple[Service, ...]
    members: int = 0
    due: float = 0.0
    retry: float = FIRST_RETRY
    detail: str = ""
    turn: DeferredLock = field(factory=DeferredLock)


class Records:
    """Keeps our places registered, each under the names of all generations."""

    log = Logger()

    def __init__(self, registry: IRegistry, clock: IReactorTime) -> None:
        self._registry = registry
        self._clock = clock

    async def hold(self, place: Place) -> None:
        """Register ``place``, or renew it. Where that fails it is said once, and ``place.due`` soon comes."""
        await place.turn.acquire()
        try:
            if not place.members:
                return  # everybody has left while this waited for its turn
            await self._in_time(self._register(place))
        except SidecarError as error:
            if not place.detail:
                self.log.warn(
                    "Publishers elsewhere cannot find the subscribers of {topic} yet: {error}",
                    topic=place.topic,
                    error=error,
                )
            place.detail = str(error)
            place.due = self._clock.seconds() + place.retry
            place.retry = min(place.retry * 2, INTERVAL)
        else:
            place.detail, place.retry = "", FIRST_RETRY
            place.due = self._clock.seconds() + INTERVAL
        finally:
            place.turn.release()

    async def drop(self, place: Place) -> None:
        """Take ``place`` out of the registry. What cannot be taken out expires."""
        await place.turn.acquire()
        try:
            await self._in_time(self._deregister(place))
        except SidecarError as error:
            self.log.info(
                "A subscriber of {topic} could not be deregistered, its TTL will: {error}",
                topic=place.topic,
                error=error,
            )
        finally:
            place.turn.release()

    async def _register(self, place: Place) -> None:
        taken = await self._is_a_service(place)
        for record in place.records:
            if taken and record.name == place.topic:
                # A service has this name. Its callers would come to us: better miss the publishers of v1.13 to v1.17.
                await self._registry.deregister(record)
            else:
                await self._registry.register(record, TTL)

    async def _deregister(self, place: Place) -> None:
        for record in place.records:
            await self._registry.deregister(record)

    async def _is_a_service(self, place: Place) -> bool:
        if place.topic in _SHARED:
            return False
        try:
            found = await self._registry.get(place.topic)
        except NotFound:
            return False
        return any(not httpbroker.is_subscriber(node) for service in found for node in service.nodes)

    async def _in_time(self, work: Coroutine[Deferred[Any], Any, None]) -> None:
        doing = Deferred.fromCoroutine(work)
        doing.addTimeout(PATIENCE, self._clock)
        try:
            await doing
        except (CancelledError, TimeoutError) as error:
            raise EngineUnavailable(f"the registry did not answer within {PATIENCE:g} s") from error
