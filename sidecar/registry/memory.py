"""The embedded registry: everything in this process, nothing to start."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

from twisted.application import service
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from zope.interface import implementer

from sidecar.errors import NotFound
from sidecar.interfaces import IRegistry, IWatch
from sidecar.model import BackendOptions, BackendState, Change, Service
from sidecar.registry.catalog import Catalog
from sidecar.registry.leases import Leases
from sidecar.registry.watchers import Watchers

#: Seconds of one timer: epoll takes no more than 24 days.
LONGEST_WAIT = 86400.0


@implementer(IRegistry)
class MemoryRegistry(service.Service):
    """Keeps services in dicts; a node with a TTL goes at its deadline unless renewed."""

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._watchers = Watchers(clock)
        self._shelf = Catalog()
        #: By service and node id, since an id is only as unique as the app made it.
        self._leases: Leases[tuple[str, str]] = Leases()
        self._alarm: IDelayedCall | None = None

    def stopService(self) -> None:
        super().stopService()
        if self._alarm is not None and self._alarm.active():
            self._alarm.cancel()
        self._alarm = None

    def register(self, service: Service, ttl: float | None) -> Deferred[None]:
        self._sweep()
        self._watchers.tell(self._shelf.put(service))
        for node in service.nodes:
            key = (service.name, node.id)
            if ttl is None:
                self._leases.release(key)
            else:
                self._leases.hold(key, self._clock.seconds() + ttl)
        self._wind()
        return succeed(None)

    def deregister(self, service: Service) -> Deferred[None]:
        self._sweep()
        for node in service.nodes:
            self._leases.release((service.name, node.id))
        self._watchers.tell(self._shelf.drop(service.name, (node.id for node in service.nodes), "delete"))
        self._wind()
        return succeed(None)

    def get(self, name: str) -> Deferred[tuple[Service, ...]]:
        self._sweep()
        found = self._shelf.get(name)
        return succeed(found) if found else fail(NotFound(f"no service {name!r} is registered"))

    def list(self) -> Deferred[tuple[str, ...]]:
        self._sweep()
        return succeed(self._shelf.names())

    def watch(self, notify: Callable[[Change], None]) -> IWatch:
        return cast(IWatch, self._watchers.add(notify))

    def state(self) -> BackendState:
        return BackendState("memory")

    def _sweep(self) -> None:
        """Let go of what is due, before anybody is answered."""
        for name, identity in self._leases.expire(self._clock.seconds()):
            self._watchers.tell(self._shelf.drop(name, (identity,), "expired"))

    def _wind(self) -> None:
        """Have one timer at the next deadline."""
        deadline = self._leases.next()
        alarm, self._alarm = self._alarm, None
        if deadline is None:
            if alarm is not None and alarm.active():
                alarm.cancel()
            return
        wait = min(max(0.0, deadline - self._clock.seconds()), LONGEST_WAIT)
        if alarm is not None and alarm.active():
            alarm.reset(wait)
            self._alarm = alarm
        else:
            self._alarm = self._clock.callLater(wait, self._ring)

    def _ring(self) -> None:
        self._alarm = None
        self._sweep()
        self._wind()


def build(options: BackendOptions) -> MemoryRegistry:
    """The backend behind ``--registry=memory``."""
    return MemoryRegistry(options.reactor)
