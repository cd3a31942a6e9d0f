"""Registrations made through this sidecar on a remote engine: their leases are ours, and so is it to see them hold."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random
from typing import Any, Protocol

from attrs import define, evolve
from twisted.application import service as services
from twisted.internet.defer import Deferred, DeferredLock, DeferredSemaphore
from twisted.internet.task import deferLater
from twisted.logger import Logger

from sidecar.errors import CallerError, EngineUnavailable
from sidecar.lifecycle import TaskGroup, all_of
from sidecar.model import UNSAID, Cause, Service
from sidecar.registry.leases import EXPIRED, Leases
from sidecar.waiting import Alarm, Backoff

#: Writes under way at once, whoever asked for them: engines limit their connections.
_AT_ONCE = 16
#: Seconds that a write may wait for its turn.
_LONGEST_QUEUE = 10.0
#: Seconds between attempts at what the engine did not take, at first and at most.
_BACKOFF = (0.1, 1.0)
#: Nodes to be taken out when the engine is back.
_MAX_OVERDUE = 100_000

Key = tuple[str, str]


@define(eq=False)
class Registration:
    """One node that is to be on the engine.

    :ivar service: with just this node.
    :ivar ttl: seconds, None for ever.
    :ivar lease: what the engine calls its lease; 0 for none.
    :ivar revision: what the engine calls the state that we wrote; 0 where it counts none.
    :ivar cause: why it is written, for those who watch.
    """

    service: Service
    ttl: float | None
    lease: int = 0
    revision: int = 0
    cause: Cause = UNSAID

    @property
    def key(self) -> Key:
        return self.service.name, self.service.nodes[0].id


class RegistrationStore(Protocol):
    """Where registrations are written to."""

    async def write(self, registration: Registration, *, renew: bool) -> None:
        """:param renew: it was written like this before, and may be there still.
        :raises EngineUnavailable: it was not taken. :raises BadRequest: it never will be."""

    async def delete(self, name: str, identity: str, lease: int, cause: Cause) -> None:
        """:raises EngineUnavailable: it was not done."""

    def expired(self, name: str, identity: str) -> None:
        """The lease is over: nobody must get to see the node any more. ``delete`` follows."""


class Registrations(services.Service):
    """Keeps nodes on the engine until they are deregistered, expire, or are taken out by somebody else.

    When it stops, what was registered stays: the apps are still there, and leases run out by themselves.
    """

    log = Logger()

    def __init__(self, clock: Any, random: Random, store: RegistrationStore) -> None:
        self._clock = clock
        self._random = random
        self._store = store
        self._registered: dict[str, dict[str, Registration]] = {}
        self._leases: Leases[Key] = Leases()
        self._alarm = Alarm(clock, self._ring)
        self._turns: dict[Key, DeferredLock] = {}
        self._places = DeferredSemaphore(_AT_ONCE)
        #: Nodes whose time was over while the engine was away, with their leases.
        self._overdue: dict[Key, int] = {}
        self._tasks = TaskGroup()
        self._retrying = False
        self._restoring: Deferred[None] | None = None

    def stopService(self) -> Deferred[None]:
        super().stopService()
        self._alarm.cancel()
        return Deferred.fromCoroutine(self._tasks.stop())

    def __len__(self) -> int:
        return sum(len(registered) for registered in self._registered.values())

    def of(self, name: str) -> tuple[Registration, ...]:
        """What is registered under ``name``."""
        return tuple(self._registered.get(name, {}).values())

    def get(self, name: str, identity: str) -> Registration | None:
        return self._registered.get(name, {}).get(identity)

    # --- What callers ask for -----------------------------------------------------------------------------------------

    async def register(self, service: Service, ttl: float | None, cause: Cause) -> None:
        """Have every node of ``service`` on the engine, for ``ttl`` seconds from when it took it.

        :raises EngineUnavailable: it did not. A node that is registered as it is keeps its place and its time starts
            anew: the app is alive, and is to be found as soon as the engine is.
        """
        nodes = (evolve(service, nodes=(node,)) for node in service.nodes)
        await all_of((self._register(each, ttl, cause) for each in nodes), _AT_ONCE)

    async def deregister(self, service: Service, cause: Cause) -> None:
        """Take every node of ``service`` out, registered here or not.

        :raises EngineUnavailable: nothing was changed.
        """
        await all_of((self._deregister(service.name, node.id, cause) for node in service.nodes), _AT_ONCE)

    async def _register(self, service: Service, ttl: float | None, cause: Cause) -> None:
        key = (service.name, service.nodes[0].id)
        async with self._turn(key):
            known = self.get(*key)
            same = known is not None and known.service == service and known.ttl == ttl
            if known is not None and same:
                registration = known
            else:
                registration = Registration(service, ttl, known.lease if known else 0, 0, cause)
            try:
                await self._store.write(registration, renew=same)
            except EngineUnavailable:
                if same:
                    self._set_deadline(registration)
                raise
            name, identity = key
            self._registered.setdefault(name, {})[identity] = registration
            self._overdue.pop(key, None)
            self._set_deadline(registration)

    async def _deregister(self, name: str, identity: str, cause: Cause) -> None:
        async with self._turn((name, identity)):
            known = self.get(name, identity)
            await self._store.delete(name, identity, known.lease if known else 0, cause)
            self.forget(name, identity)
            self._overdue.pop((name, identity), None)

    def forget(self, name: str, identity: str) -> None:
        """Look after this node no more: somebody took it out of the engine."""
        registered = self._registered.get(name)
        if registered is not None and registered.pop(identity, None) is not None:
            self._leases.remove((name, identity))
            if not registered:
                del self._registered[name]
            self._set_alarm()

    def _set_deadline(self, registration: Registration) -> None:
        if registration.ttl is None:
            self._leases.remove(registration.key)
        else:
            self._leases.set(registration.key, self._clock.seconds() + registration.ttl)
        self._set_alarm()

    @asynccontextmanager
    async def _turn(self, key: Key) -> AsyncIterator[None]:
        """One write to a node at a time, in the order in which they were asked for, and not too many in all.

        :raises EngineUnavailable: the engine is too slow for all that is asked of it.
        """
        lock = self._turns.setdefault(key, DeferredLock())
        await self._patiently(lock)
        try:
            await self._patiently(self._places)
            try:
                yield
            finally:
                self._places.release()
        finally:
            lock.release()
            if not lock.locked and not lock.waiting:
                self._turns.pop(key, None)

    async def _patiently(self, queue: DeferredLock | DeferredSemaphore) -> None:
        def tired(_: object, limit: float) -> None:
            raise EngineUnavailable(f"the registry is too busy: no turn to write within {limit:g} s")

        waiting: Deferred[Any] = queue.acquire()
        await waiting.addTimeout(_LONGEST_QUEUE, self._clock, onTimeoutCancel=tired)

    # --- Leases that run out ------------------------------------------------------------------------------------------

    def _set_alarm(self) -> None:
        self._alarm.set(self._leases.next() if self.running else None)

    def _ring(self) -> None:
        for name, identity in self._leases.expire(self._clock.seconds()):
            registered = self._registered[name]
            registration = registered.pop(identity)
            if not registered:
                del self._registered[name]
            self._store.expired(name, identity)
            if len(self._overdue) < _MAX_OVERDUE:
                self._overdue[name, identity] = registration.lease
        self._set_alarm()
        if self._overdue:
            self.retry_deregistrations()

    def retry_deregistrations(self) -> None:
        """Take out what is over, again and again until the engine has taken it."""
        if not self._retrying:
            self._retrying = True
            self._tasks.run(self._retry_deregistrations(), "Taking expired nodes out of the engine")

    async def _retry_deregistrations(self) -> None:
        backoff = Backoff(*_BACKOFF, self._random)
        try:
            while True:
                await all_of([self._delete_overdue(key) for key in self._overdue], _AT_ONCE)
                if not self._overdue:
                    return
                await deferLater(self._clock, backoff.pause())
        finally:
            self._retrying = False

    async def _delete_overdue(self, key: Key) -> None:
        async with self._turn(key):
            lease = self._overdue.get(key)
            if lease is None:
                return  # registered again, or taken out, meanwhile
            try:
                await self._store.delete(*key, lease, EXPIRED)
            except EngineUnavailable:
                return  # stays overdue
            self._overdue.pop(key, None)

    # --- An engine that forgot ----------------------------------------------------------------------------------------

    def restore(self, cause: Cause) -> None:
        """The engine is back, and may have forgotten: write everything again, until it has taken all of it."""
        if self._restoring is not None:
            self._restoring.cancel()
        self._restoring = self._tasks.run(self._restore(cause), "Registering again after the engine came back")

    async def _restore(self, cause: Cause) -> None:
        left = {each.key for registered in self._registered.values() for each in registered.values()}
        if left:
            self.log.info("Registering {count} nodes again", count=len(left))
        backoff = Backoff(*_BACKOFF, self._random)
        while True:
            await all_of([self._rewrite(key, cause, left) for key in tuple(left)], _AT_ONCE)
            if not left:
                return
            await deferLater(self._clock, backoff.pause())

    async def rewrite(self, name: str, identity: str, cause: Cause) -> None:
        """The engine lost this one: write it again."""
        await self._rewrite((name, identity), cause, set())

    async def _rewrite(self, key: Key, cause: Cause, left: set[Key]) -> None:
        async with self._turn(key):
            registration = self.get(*key)
            if registration is not None:
                registration.cause = cause
                try:
                    await self._store.write(registration, renew=False)
                except EngineUnavailable:
                    return
                except CallerError as error:
                    self.log.warn("{id} cannot be registered again: {error}", id=key[1], error=str(error))
            left.discard(key)
