"""The embedded registry: everything in this process, nothing to start; with a store, all of it survives a restart."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING, cast

from attrs import evolve
from twisted.application import service
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from zope.interface import implementer

from sidecar.errors import NotFound
from sidecar.interfaces import IRegistry, IWatch, IWatcher
from sidecar.lifecycle import PauseDetector
from sidecar.model import UNSAID, BackendOptions, BackendState, Caller, Cause, Service
from sidecar.registry.catalog import Catalog
from sidecar.registry.leases import EXPIRED, Leases
from sidecar.registry.storerecords import StoredRegistration, grace
from sidecar.registry.watchers import Watchers
from sidecar.waiting import Alarm, wall

if TYPE_CHECKING:
    from sidecar.registry.store import StateStore

#: Seconds after which an expiry is looked at again whose renewal is being written.
_SOON = 1.0

#: Who registers in this process, and goes with it: our own apps, and subscribers of the HTTP broker.
UNKEPT = ("sidecar", "check", "drain", "broker")

Key = tuple[str, str]


@implementer(IRegistry)
class MemoryRegistry(service.MultiService):
    """Keeps services in dicts; a node with a TTL goes at its deadline unless renewed.

    With a store a write is answered when a restart would find it; reads never wait.
    """

    log = Logger()

    def __init__(
        self, clock: IReactorTime, store: StateStore | None = None, pauses: PauseDetector | None = None
    ) -> None:
        """:param store: where registrations are kept, None for nowhere.
        :param pauses: tells when this process did not run for a while, in which no owner could renew."""
        super().__init__()
        self._clock = clock
        self._store = store
        self._watchers = Watchers(clock)
        self._catalog = Catalog()
        #: By service and node id, since an id is only as unique as the app made it.
        self._leases: Leases[Key] = Leases()
        self._ttls: dict[Key, float] = {}
        #: Nodes of which something is being written.
        self._writing: Counter[Key] = Counter()
        self._alarm = Alarm(clock, self._ring)
        self._pauses = pauses
        if pauses is not None:
            pauses.paused = self._paused
            pauses.setServiceParent(self)

    def startService(self) -> None:
        super().startService()
        if self._store is not None:
            self._restore(self._store.restored.registrations)

    def stopService(self) -> Deferred[None]:
        self._alarm.cancel()
        stopped: Deferred[None] = super().stopService()
        return stopped

    # --- IRegistry --------------------------------------------------------------------------------------------------

    def register(self, service: Service, ttl: float | None, caller: Caller, cause: Cause = UNSAID) -> Deferred[None]:
        self._expire()
        cause = cause.asked_by(caller)
        if self._store is None or cause.by in UNKEPT:
            self._put(service, ttl, cause)
            self._forget(service)
            return succeed(None)
        return Deferred.fromCoroutine(self._register(self._store, service, ttl, cause))

    def deregister(self, service: Service, caller: Caller, cause: Cause = UNSAID) -> Deferred[None]:
        self._expire()
        cause = cause.asked_by(caller)
        if self._store is None or cause.by in UNKEPT:
            self._drop(service, cause)
            self._forget(service)
            return succeed(None)
        return Deferred.fromCoroutine(self._deregister(self._store, service, cause))

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
        return BackendState("memory", detail=self._store.failing if self._store is not None else "")

    # --- In memory --------------------------------------------------------------------------------------------------

    def _put(self, service: Service, ttl: float | None, cause: Cause) -> None:
        self._watchers.tell(self._catalog.put(service, cause))
        for node in service.nodes:
            key = (service.name, node.id)
            if ttl is None:
                self._leases.remove(key)
                self._ttls.pop(key, None)
            else:
                self._leases.set(key, self._clock.seconds() + ttl)
                self._ttls[key] = ttl
        self._alarm.set(self._leases.next())

    def _drop(self, service: Service, cause: Cause) -> None:
        ids = [node.id for node in service.nodes]
        for identity in ids:
            self._leases.remove((service.name, identity))
            self._ttls.pop((service.name, identity), None)
        self._watchers.tell(self._catalog.drop(service.name, ids, cause))
        self._alarm.set(self._leases.next())

    def _expire(self) -> None:
        """Let go of what is due, before anybody is answered."""
        now = self._clock.seconds()
        deadline = self._leases.next()
        if deadline is None or deadline > now:
            return
        if self._pauses is not None:
            self._pauses.look()
        for key in self._leases.expire(now):
            if self._writing[key]:
                self._leases.set(key, now + _SOON)  # what is being written decides
                continue
            self._ttls.pop(key, None)
            name, identity = key
            self._watchers.tell(self._catalog.drop(name, (identity,), EXPIRED))
            if self._store is not None:
                self._store.note(self._store.file.deregistered(name, identity))

    def _ring(self) -> None:
        self._expire()
        self._alarm.set(self._leases.next())

    def _paused(self, seconds: float) -> None:
        """Nobody could renew for so long: what ran out meanwhile, or is about to, gets a grace."""
        now, given = self._clock.seconds(), 0
        for key, ttl in self._ttls.items():
            deadline = self._leases.deadline(key)
            if deadline is not None and deadline < now + grace(ttl):
                self._leases.set(key, now + grace(ttl))
                given += 1
        self._alarm.set(self._leases.next())
        self.log.warn(
            "This process did not run for {seconds:.1f} s; {given} registrations get time to be renewed",
            seconds=seconds,
            given=given,
        )

    # --- With a store -----------------------------------------------------------------------------------------------

    async def _register(self, store: StateStore, service: Service, ttl: float | None, cause: Cause) -> None:
        since = wall(self._clock)
        nodes = [evolve(service, nodes=(node,)) for node in service.nodes]
        writes = [store.file.registered(StoredRegistration(each, ttl, 0.0, cause.by, since)) for each in nodes]
        with _Writing(self._writing, service):
            await store.write(*writes)
            self._put(service, ttl, cause)

    async def _deregister(self, store: StateStore, service: Service, cause: Cause) -> None:
        with _Writing(self._writing, service):
            await store.write(*(store.file.deregistered(service.name, node.id) for node in service.nodes))
            self._drop(service, cause)

    def _forget(self, service: Service) -> None:
        """What this process registers itself is registered again by the next one; nothing older of it is to be kept."""
        if self._store is not None:
            self._store.note(*(self._store.file.deregistered(service.name, node.id) for node in service.nodes))

    def _restore(self, registrations: Iterable[StoredRegistration]) -> None:
        """Go on with what an earlier life of this sidecar kept."""
        lived = expired = 0
        for stored in registrations:
            service = stored.service
            cause = Cause("restored", "the sidecar was started again", stored.by)
            if stored.ttl is None or stored.left > 0:
                lived += 1
                self._put(service, stored.ttl, cause)
                if stored.ttl is not None:
                    left = max(stored.left, grace(stored.ttl))
                    self._leases.set((service.name, service.nodes[0].id), self._clock.seconds() + left)
            else:
                expired += 1
                # It was there until it was over, and those who watch are to hear that it is.
                self._catalog.put(service)
                over = Cause("expired", "its time was over while the sidecar was down", "ttl")
                self._watchers.tell(self._catalog.drop(service.name, [service.nodes[0].id], over))
                if self._store is not None:
                    self._store.note(self._store.file.deregistered(service.name, service.nodes[0].id))
        self._alarm.set(self._leases.next())
        if lived or expired:
            self.log.info(
                "{lived} registrations are there again; the time of {expired} was over", lived=lived, expired=expired
            )


class _Writing:
    """While something of these nodes is written, their leases do not run out."""

    def __init__(self, writing: Counter[Key], service: Service) -> None:
        self._writing = writing
        self._keys = [(service.name, node.id) for node in service.nodes]

    def __enter__(self) -> None:
        self._writing.update(self._keys)

    def __exit__(self, *_: object) -> None:
        self._writing.subtract(self._keys)
        for key in self._keys:
            if not self._writing[key]:
                del self._writing[key]


def build(options: BackendOptions) -> MemoryRegistry:
    """The backend behind ``--registry=memory``."""
    return MemoryRegistry(options.reactor, options.store, PauseDetector(options.reactor))
