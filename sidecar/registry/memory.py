"""The embedded registry: everything in this process, nothing to start."""

from __future__ import annotations

from typing import cast

from twisted.application import service
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.interfaces import IReactorTime
from zope.interface import implementer

from sidecar.errors import NotFound
from sidecar.interfaces import IRegistry, IWatch, IWatcher
from sidecar.model import UNSAID, BackendOptions, BackendState, Caller, Cause, Service
from sidecar.registry.catalog import Catalog
from sidecar.registry.leases import EXPIRED, Leases
from sidecar.registry.watchers import Watchers
from sidecar.waiting import Alarm


@implementer(IRegistry)
class MemoryRegistry(service.Service):
    """Keeps services in dicts; a node with a TTL goes at its deadline unless renewed."""

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._watchers = Watchers(clock)
        self._catalog = Catalog()
        #: By service and node id, since an id is only as unique as the app made it.
        self._leases: Leases[tuple[str, str]] = Leases()
        self._alarm = Alarm(clock, self._ring)

    def stopService(self) -> None:
        super().stopService()
        self._alarm.cancel()

    def register(self, service: Service, ttl: float | None, caller: Caller, cause: Cause = UNSAID) -> Deferred[None]:
        self._expire()
        self._watchers.tell(self._catalog.put(service, cause.asked_by(caller)))
        for node in service.nodes:
            key = (service.name, node.id)
            if ttl is None:
                self._leases.remove(key)
            else:
                self._leases.set(key, self._clock.seconds() + ttl)
        self._alarm.set(self._leases.next())
        return succeed(None)

    def deregister(self, service: Service, caller: Caller, cause: Cause = UNSAID) -> Deferred[None]:
        self._expire()
        for node in service.nodes:
            self._leases.remove((service.name, node.id))
        ids = [node.id for node in service.nodes]
        self._watchers.tell(self._catalog.drop(service.name, ids, cause.asked_by(caller)))
        self._alarm.set(self._leases.next())
        return succeed(None)

    def get(self, name: str) -> Deferred[tuple[Service, ...]]:
        self._expire()
        found = self._catalog.get(name)
        return succeed(found) if found else fail(NotFound(f"no service {name!r} is registered"))

    def list(self) -> Deferred[tuple[str, ...]]:
        self._expire()
        return succeed(self._catalog.names())

    def watch(self, watcher: IWatcher) -> IWatch:
        return cast(IWatch, self._watchers.add(watcher))

    def state(self) -> BackendState:
        return BackendState("memory")

    def _expire(self) -> None:
        """Let go of what is due, before anybody is answered."""
        for name, identity in self._leases.expire(self._clock.seconds()):
            self._watchers.tell(self._catalog.drop(name, (identity,), EXPIRED))

    def _ring(self) -> None:
        self._expire()
        self._alarm.set(self._leases.next())


def build(options: BackendOptions) -> MemoryRegistry:
    """The backend behind ``--registry=memory``."""
    return MemoryRegistry(options.reactor)
