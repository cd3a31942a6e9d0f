"""Registrations made through this sidecar on a remote engine: their leases are ours, and so is it to see them hold."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from random import Random
from typing import Any, Protocol

from attrs import define, evolve
from twisted.application import service as services
from twisted.internet.defer import Deferred, DeferredLock, DeferredSemaphore
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.task import deferLater
from twisted.logger import Logger

from sidecar.errors import CallerError, EngineUnavailable
from sidecar.lifecycle import TaskGroup, all_of
from sidecar.model import Service
from sidecar.registry.leases import Leases

#: Writes under way at once, whoever asked for them: engines limit their connections.
_AT_ONCE = 16
#: Seconds that a write may wait for its turn.
_LONGEST_QUEUE = 10.0
#: Seconds between attempts at what the engine did not take, at first and at most.
_BACKOFF = (0.1, 1.0)
#: Seconds of one timer: epoll takes no more than 24 days.
_LONGEST_WAIT = 86400.0
#: Nodes to be taken out when the engine is back.
_MAX_DEBTS = 100_000

Key = tuple[str, str]


@define(eq=False)
class Registration:
    """One node that is to be on the engine.

    :ivar service: with just this node.
    :ivar ttl: seconds, None for ever.
    :ivar lease: what the engine calls its lease; 0 for none.
    """

    service: Service
    ttl: float | None
    lease: int = 0

    @property
    def key(self) -> Key:
        return self.service.name, self.service.nodes[0].id


class Engine(Protocol):
    """Where holdings are written to."""

    async def write(self, holding: Registration, *, renew: bool) -> None:
        """:param renew: it was written like this before, and may be there still.
        :raises EngineUnavailable: it was not taken. :raises BadRequest: it never will be."""

    async def erase(self, name: str, identity: str, lease: int) -> None:
        """:raises EngineUnavailable: it was not."""

    def expired(self, name: str, identity: str) -> None:
        """The lease is over: nobody must get to see the node any more. ``erase`` follows."""


class Registrations(services.Service):
    """Holds nodes on the engine until they are released, expire, or are taken out by somebody else.

    When it stops, what was registered stays: the apps are still there, and leases run out by themselves.
    """

    log = Logger()

    def __init__(self, clock: Any, random: Random, engine: Engine) -> None:
        self._clock = clock
        self._random = random
        self._engine = engine
        self._holdings: dict[str, dict[str, Registration]] = {}
        self._leases: Leases[Key] = Leases()
        self._alarm: IDelayedCall | None = None
        self._turns: dict[Key, DeferredLock] = {}
        self._places = DeferredSemaphore(_AT_ONCE)
        #: Nodes whose time was over while the engine was away, with their leases.
        self._debts: dict[Key, int] = {}
        self._tasks = TaskGroup()
        self._paying = False
        self._restoring: Deferred[None] | None = None

    def stopService(self) -> Deferred[None]:
        super().stopService()
        if self._alarm is not None and self._alarm.active():
            self._alarm.cancel()
        self._alarm = None
        return Deferred.fromCoroutine(self._tasks.stop())

    def __len__(self) -> int:
        return sum(len(held) for held in self._holdings.values())

    def held(self, name: str) -> tuple[Registration, ...]:
        """What is held under ``name``."""
        return tuple(self._holdings.get(name, {}).values())

    def holds(self, name: str, identity: str) -> Registration | None:
        return self._holdings.get(name, {}).get(identity)

    # --- What callers ask for -----------------------------------------------------------------------------------------

    async def hold(self, service: Service, ttl: float | None) -> None:
        """Have every node of ``service`` on the engine, for ``ttl`` seconds from when it took it.

        :raises EngineUnavailable: it did not. A node that is held as it is keeps its place and its time starts anew:
            the app is alive, and is to be found as soon as the engine is.
        """
        await all_of((self._hold(evolve(service, nodes=(node,)), ttl) for node in service.nodes), _AT_ONCE)

    async def release(self, service: Service) -> None:
        """Take every node of ``service`` out, held or not. :raises EngineUnavailable: nothing was changed."""
        await all_of((self._release(service.name, node.id) for node in service.nodes), _AT_ONCE)

    async def _hold(self, service: Service, ttl: float | None) -> None:
        key = (service.name, service.nodes[0].id)
        async with self._turn(key):
            known = self.holds(*key)
            same = known is not None and known.service == service and known.ttl == ttl
            holding = known if known is not None and same else Registration(service, ttl, known.lease if known else 0)
            try:
                await self._engine.write(holding, renew=same)
            except EngineUnavailable:
                if same:
                    self._start(holding)
                raise
            self._keep(holding)

    async def _release(self, name: str, identity: str) -> None:
        async with self._turn((name, identity)):
            held = self.holds(name, identity)
            await self._engine.erase(name, identity, held.lease if held else 0)
            self.dismiss(name, identity)
            self._debts.pop((name, identity), None)

    def dismiss(self, name: str, identity: str) -> None:
        """Hold this node no more: somebody took it out of the engine."""
        held = self._holdings.get(name)
        if held is not None and held.pop(identity, None) is not None:
            self._leases.release((name, identity))
            if not held:
                del self._holdings[name]
            self._wind()

    def _keep(self, holding: Registration) -> None:
        name, identity = holding.key
        self._holdings.setdefault(name, {})[identity] = holding
        self._debts.pop(holding.key, None)
        self._start(holding)

    def _start(self, holding: Registration) -> None:
        if holding.ttl is None:
            self._leases.release(holding.key)
        else:
            self._leases.hold(holding.key, self._clock.seconds() + holding.ttl)
        self._wind()

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

    def _wind(self) -> None:
        deadline = self._leases.next()
        if self._alarm is not None and self._alarm.active():
            self._alarm.cancel()
        self._alarm = None
        if deadline is not None and self.running:
            wait = min(max(0.0, deadline - self._clock.seconds()), _LONGEST_WAIT)
            self._alarm = self._clock.callLater(wait, self._ring)

    def _ring(self) -> None:
        self._alarm = None
        for name, identity in self._leases.expire(self._clock.seconds()):
            held = self._holdings[name]
            holding = held.pop(identity)
            if not held:
                del self._holdings[name]
            self._engine.expired(name, identity)
            if len(self._debts) < _MAX_DEBTS:
                self._debts[name, identity] = holding.lease
        self._wind()
        if self._debts:
            self._pay()

    def _pay(self) -> None:
        """Take out what is over, again and again until the engine has taken it."""
        if not self._paying:
            self._paying = True
            self._tasks.run(self._pay_all(), "Taking expired nodes out of the engine")

    async def _pay_all(self) -> None:
        try:
            for pause in self._pauses():
                await all_of([self._pay_one(key) for key in self._debts], _AT_ONCE)
                if not self._debts:
                    return
                await deferLater(self._clock, pause)
        finally:
            self._paying = False

    async def _pay_one(self, key: Key) -> None:
        async with self._turn(key):
            lease = self._debts.get(key)
            if lease is None:
                return  # registered again, or taken out, meanwhile
            try:
                await self._engine.erase(*key, lease)
            except EngineUnavailable:
                return  # stays a debt
            self._debts.pop(key, None)

    # --- An engine that forgot ----------------------------------------------------------------------------------------

    def restore(self) -> None:
        """The engine is back, and may have forgotten: write everything again, until it has taken all of it."""
        if self._restoring is not None:
            self._restoring.cancel()
        self._restoring = self._tasks.run(self._restore(), "Registering again after the engine came back")

    async def _restore(self) -> None:
        left = {holding.key for held in self._holdings.values() for holding in held.values()}
        if left:
            self.log.info("Registering {count} nodes again", count=len(left))
        for pause in self._pauses():
            await all_of([self._rewrite(key, left) for key in tuple(left)], _AT_ONCE)
            if not left:
                return
            await deferLater(self._clock, pause)

    async def rewrite(self, name: str, identity: str) -> None:
        """The engine lost this one: write it again."""
        await self._rewrite((name, identity), set())

    async def _rewrite(self, key: Key, left: set[Key]) -> None:
        async with self._turn(key):
            holding = self.holds(*key)
            if holding is not None:
                try:
                    await self._engine.write(holding, renew=False)
                except EngineUnavailable:
                    return
                except CallerError as error:
                    self.log.warn("{id} cannot be registered again: {error}", id=key[1], error=str(error))
            left.discard(key)

    def _pauses(self) -> Iterator[float]:
        pause, most = _BACKOFF
        while True:
            yield pause * self._random.uniform(0.5, 1.0)
            pause = min(pause * 2, most)
