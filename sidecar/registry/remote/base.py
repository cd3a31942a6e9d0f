"""What the registries of remote engines share: a mirror to read from, registrations to look after, news to pass on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from random import Random
from typing import Any, cast

from twisted.application import service as services
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger

from sidecar.errors import EngineUnavailable, NotFound
from sidecar.interfaces import IWatch, IWatcher
from sidecar.lifecycle import TaskGroup
from sidecar.model import TAKEN_OVER, UNSAID, BackendState, Caller, Cause, Change, Service
from sidecar.net.client.fetcher import Fetcher
from sidecar.registry.leases import EXPIRED
from sidecar.registry.remote.failover import FailoverClient
from sidecar.registry.remote.mirror import Mirror
from sidecar.registry.remote.registrations import Registration, Registrations
from sidecar.registry.watchers import Watchers
from sidecar.waiting import wall

#: Seconds for a write or a lookup.
PATIENCE = 3.0


class RemoteRegistry(services.Service):
    """The base of a registry whose truth is on an engine. A subclass keeps the mirror and writes to the engine."""

    log = Logger()

    kind = ""

    #: Seconds after the engine's return in which what is missing there is believed to be about to come back. Sidecars
    #: register again within five, go-micro services at their next heartbeat, every thirty.
    grace = 40.0

    def __init__(self, clock: Any, random: Random, agent: Fetcher, client: FailoverClient) -> None:
        self._clock = clock
        self._random = random
        self._agent = agent
        self._client = client
        self._engine = f"engine {self.kind}"
        self._mirror = Mirror()
        self._watchers = Watchers(clock)
        self._tasks = TaskGroup()
        self._own = Registrations(clock, random, self)
        #: Why a node changes of which we are told by the engine alone.
        self._told = Cause(by=self._engine)
        #: Why we write a node just now: the engine may tell of it before it answers the write.
        self._writing: dict[tuple[str, str], Cause] = {}
        self._connected = False
        self._detail = "not asked yet"
        self._grace_timer: IDelayedCall | None = None
        self._returning: list[Deferred[None]] = []

    def startService(self) -> None:
        super().startService()
        self._own.startService()

    def stopService(self) -> Deferred[None]:
        super().stopService()
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        self._end_grace()
        await self._tasks.stop()
        await self._own.stopService()
        await self._agent.close()

    # --- IRegistry ----------------------------------------------------------------------------------------------------

    def register(self, service: Service, ttl: float | None, caller: Caller, cause: Cause = UNSAID) -> Deferred[None]:
        return Deferred.fromCoroutine(self._own.register(service, ttl, cause.asked_by(caller)))

    def deregister(self, service: Service, caller: Caller, cause: Cause = UNSAID) -> Deferred[None]:
        return Deferred.fromCoroutine(self._own.deregister(service, cause.asked_by(caller)))

    def watch(self, watcher: IWatcher) -> IWatch:
        return cast(IWatch, self._watchers.add(watcher))

    def state(self) -> BackendState:
        return BackendState(self.kind, self._connected, self._mirror.stale_since, self._detail)

    # --- RegistrationStore, as far as all engines are alike -----------------------------------------------------------

    async def write(self, registration: Registration, *, renew: bool) -> None:
        raise NotImplementedError

    async def delete(self, name: str, identity: str, lease: int, cause: Cause) -> None:
        raise NotImplementedError

    @contextmanager
    def _write_because(self, name: str, identity: str, cause: Cause) -> Iterator[None]:
        """While we write this node, what the engine tells of it is our own doing."""
        self._writing[name, identity] = cause
        try:
            yield
        finally:
            self._writing.pop((name, identity), None)

    def _cause_of(self, name: str, identity: str) -> Cause:
        """Why a node changes of which the engine tells."""
        return self._writing.get((name, identity), self._told)

    def _taken_over(self, registration: Registration) -> None:
        """Somebody else's newer registration has the id of one of ours: it is theirs, and we look after it no more."""
        name, identity = registration.key
        self._own.forget(name, identity)
        self._tell([Change.of("update", registration.service, Cause("changed", TAKEN_OVER, self._engine))])

    def _is_writing(self, name: str, identity: str) -> bool:
        """Whether we write this node just now: what the engine shows of it may be from before or after."""
        return (name, identity) in self._writing

    def expired(self, name: str, identity: str) -> None:
        self._tell(self._mirror.drop(name, (identity,), EXPIRED))

    # --- Coming and going of the engine -------------------------------------------------------------------------------

    def _lost(self, error: Exception) -> None:
        """The engine does not answer."""
        self._connected = False
        self._detail = str(error)
        self._end_grace()
        if self._mirror.lost(wall(self._clock)):
            self.log.warn(
                "{kind} is away, answering from memory until it is back: {why}", kind=self.kind, why=self._detail
            )

    def _found(self, *, restarted: bool = False) -> None:
        """The engine answers. :param restarted: though we did not miss it, it has begun anew."""
        first = not self._connected and self._mirror.stale_since is None
        back = self._mirror.found() or restarted
        self._connected, self._detail = True, ""
        if first:
            self.log.info("Registry {kind} at {base}", kind=self.kind, base=self._client.base)
        if back:
            self.log.info("{kind} at {base} is back", kind=self.kind, base=self._client.base)
            self._end_grace()
            self._grace_timer = self._clock.callLater(self.grace, self._grace_over)
            self._own.restore(Cause("restored", f"{self.kind} came back", self._engine))
        if self._returning:
            # In a turn of its own: whoever waits may well stop us, and with us the task that is just telling this.
            self._clock.callLater(0, self._return_all)

    def _return_all(self) -> None:
        returning, self._returning = self._returning, []
        for waiting in returning:
            waiting.callback(None)

    def _missing(self) -> Cause:
        """Why a node goes that did not come back with the engine."""
        return Cause("engine", f"not there any more since {self.kind} came back", self._engine)

    @property
    def _gentle(self) -> bool:
        """Whether what is missing on the engine may still come back."""
        return self._grace_timer is not None or self._mirror.stale_since is not None

    def _end_grace(self) -> None:
        if self._grace_timer is not None and self._grace_timer.active():
            self._grace_timer.cancel()
        self._grace_timer = None

    def _grace_over(self) -> None:
        self._grace_timer = None
        self._reconcile()

    def _reconcile(self) -> None:
        """From now on what is missing on the engine is gone."""

    def _returned(self) -> Deferred[None]:
        """:returns: fires when the engine answers again."""
        waiting: Deferred[None] = Deferred(lambda gone: self._returning.remove(gone))
        self._returning.append(waiting)
        return waiting

    # --- News and malformed records -----------------------------------------------------------------------------------

    def _tell(self, changes: Iterable[Change]) -> None:
        self._watchers.tell(changes)

    def _report_malformed(self, record: str, why: str, whole: bool = True) -> None:
        """:param whole: whether the record is left out, or only what is wrong in it."""
        if self._mirror.report_malformed(record, why):
            what = "is malformed and left out" if whole else "is read without a part that is malformed"
            self.log.warn("{kind}: {record} {what}: {why}", kind=self.kind, record=record, what=what, why=why)

    def _from_mirror(self, name: str) -> tuple[Service, ...]:
        found = self._mirror.get(name)
        if not found:
            raise NotFound(f"no service {name!r} is registered with {self.kind}")
        return found


def not_reachable(kind: str, detail: str) -> EngineUnavailable:
    """The error for a read that nothing in memory can answer."""
    return EngineUnavailable(f"{kind} cannot be reached, and nothing is known from before: {detail}")
