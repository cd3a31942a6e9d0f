"""A registry and a broker for microsidecar that keep everything in dicts. ``README.rst`` tells how they are found."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any

from attrs import define, evolve, field
from twisted.application import service
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from zope.interface import implementer

from sidecar.errors import EngineUnavailable, NotFound, TopicInvalid
from sidecar.interfaces import IBroker, IRegistry, ISubscription, IWatch, IWatcher
from sidecar.model import UNSAID, Action, BackendOptions, BackendState, Caller, Cause, Change, Message, Node, Service

#: Why a node goes whose time is over.
EXPIRED = Cause("expired", by="ttl")

# --- The registry ---------------------------------------------------------------------------------------------------


@define(eq=False)
class _Entry:
    """A registered node. :ivar about: its service, without nodes. :ivar expiry: the timer of its TTL, or None."""

    about: Service
    node: Node
    expiry: IDelayedCall | None = None

    @property
    def service(self) -> Service:
        return evolve(self.about, nodes=(self.node,))

    def keep(self) -> None:
        if self.expiry is not None and self.expiry.active():
            self.expiry.cancel()


@implementer(IWatch)
@define(eq=False)
class _Watch:
    watcher: IWatcher
    _watches: list[_Watch]

    def cancel(self) -> None:
        if self in self._watches:
            self._watches.remove(self)

    @property
    def live(self) -> bool:
        return self in self._watches


@implementer(IRegistry)
@define(eq=False, slots=False)
class ExampleRegistry(service.Service):
    """Nodes by service and id."""

    log = Logger()

    _reactor: Any
    _entries: dict[str, dict[str, _Entry]] = field(factory=dict)
    _watches: list[_Watch] = field(factory=list)

    def stopService(self) -> None:
        super().stopService()
        for entries in self._entries.values():
            for entry in entries.values():
                entry.keep()

    def register(self, service: Service, ttl: float | None, caller: Caller, cause: Cause = UNSAID) -> Deferred[None]:
        about = evolve(service, nodes=())
        entries = self._entries.setdefault(service.name, {})
        for node in service.nodes:
            old = entries.get(node.id)
            new = entries[node.id] = _Entry(about, node)
            if old is not None:
                old.keep()
            if ttl is not None:
                new.expiry = self._reactor.callLater(ttl, self._remove, new, EXPIRED)
            if old is None:
                self._tell("create", new, cause.asked_by(caller))
            elif old.service != new.service:
                self._tell("update", new, cause.asked_by(caller))
        if not entries:
            del self._entries[service.name]
        return succeed(None)

    def deregister(self, service: Service, caller: Caller, cause: Cause = UNSAID) -> Deferred[None]:
        for node in service.nodes:
            entry = self._entries.get(service.name, {}).get(node.id)
            if entry is not None:
                entry.keep()
                self._remove(entry, cause.asked_by(caller))
        return succeed(None)

    def get(self, name: str) -> Deferred[tuple[Service, ...]]:
        versions: dict[str, Service] = {}
        for entry in self._entries.get(name, {}).values():
            known = versions.get(entry.about.version)
            nodes = (entry.node,) if known is None else (*known.nodes, entry.node)
            versions[entry.about.version] = evolve(entry.about, nodes=nodes)
        return succeed(tuple(versions.values())) if versions else fail(NotFound(f"no service {name!r} is registered"))

    def list(self) -> Deferred[tuple[str, ...]]:
        return succeed(tuple(sorted(self._entries)))

    def watch(self, watcher: IWatcher) -> IWatch:
        watch = _Watch(watcher, self._watches)
        self._watches.append(watch)
        return watch

    def state(self) -> BackendState:
        return BackendState("example")

    def _remove(self, entry: _Entry, cause: Cause) -> None:
        entries = self._entries[entry.about.name]
        del entries[entry.node.id]
        if not entries:
            del self._entries[entry.about.name]
        self._tell("delete", entry, cause)

    def _tell(self, action: Action, entry: _Entry, cause: Cause) -> None:
        # Later: never inside the call that caused it.
        for watch in self._watches:
            change = evolve(Change.of(action, entry.service, cause), time=time.time())
            self._reactor.callLater(0, self._notify, watch, change)

    def _notify(self, watch: _Watch, change: Change) -> None:
        if watch.live:
            try:
                watch.watcher.changed(change)
            except Exception:
                self.log.failure("A watcher failed on a change of {name}", name=change.service.name)


def build_registry(options: BackendOptions) -> IRegistry:
    """The entry point ``microsidecar.registries: example``."""
    return ExampleRegistry(options.reactor)


# --- The broker -----------------------------------------------------------------------------------------------------


@implementer(ISubscription)
@define(eq=False)
class _Subscriber:
    """:ivar place: the subscribers of its topic and queue, this one among them until it leaves."""

    deliver: Callable[[str, Message], None]
    place: list[_Subscriber]

    def cancel(self) -> Deferred[None]:
        if self in self.place:
            self.place.remove(self)
        return succeed(None)


@implementer(IBroker)
@define(eq=False, slots=False)
class ExampleBroker(service.Service):
    """Subscribers by topic and queue; those of no queue are under None."""

    log = Logger()

    _reactor: Any
    _topics: dict[str, dict[str | None, list[_Subscriber]]] = field(factory=dict)

    def publish(self, topic: str, message: Message, caller: Caller) -> Deferred[None]:
        if not topic:
            return fail(TopicInvalid("topic: must not be empty"))
        if not self.running:
            return fail(EngineUnavailable("the example broker is stopped: the message was not taken"))
        for subscriber in self._recipients(topic):
            # Later: never inside the call that caused it.
            self._reactor.callLater(0, self._deliver, subscriber, topic, message)
        return succeed(None)

    def subscribe(
        self, topic: str, deliver: Callable[[str, Message], None], queue: str | None, caller: Caller
    ) -> Deferred[ISubscription]:
        if not topic:
            return fail(TopicInvalid("topic: must not be empty"))
        if not self.running:
            return fail(EngineUnavailable("the example broker is stopped: nothing was subscribed"))
        place = self._topics.setdefault(topic, {}).setdefault(queue, [])
        subscriber = _Subscriber(deliver, place)
        place.append(subscriber)
        return succeed(subscriber)

    def state(self) -> BackendState:
        return BackendState("example", connected=bool(self.running))

    def _recipients(self, topic: str) -> Iterable[_Subscriber]:
        for queue, members in list(self._topics.get(topic, {}).items()):
            if not members:
                del self._topics[topic][queue]
            elif queue is None:
                yield from members
            else:
                members.append(members.pop(0))  # whoever gets this one is the last to get another
                yield members[-1]

    def _deliver(self, subscriber: _Subscriber, topic: str, message: Message) -> None:
        if subscriber in subscriber.place:  # it may have left since
            try:
                subscriber.deliver(topic, message)
            except Exception:
                self.log.failure("A subscriber of {topic} failed on a message", topic=topic)


def build_broker(options: BackendOptions) -> IBroker:
    """The entry point ``microsidecar.brokers: example``."""
    return ExampleBroker(options.reactor)
