"""Consul as the registry: services that are called are followed by blocking queries, all others looked up afresh."""

from __future__ import annotations

from collections import OrderedDict
from functools import partial
from random import Random
from typing import Any, Final

from attrs import define, evolve
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import deferLater
from zope.interface import implementer

from sidecar.errors import EngineUnavailable, MalformedRecord, NotFound
from sidecar.interfaces import IRegistry
from sidecar.model import BackendOptions, Change, Service
from sidecar.net.client.fetcher import Fetcher, Response
from sidecar.net.client.tls import TrustOptions
from sidecar.registry.catalog import Catalog
from sidecar.registry.remote import consulapi as api
from sidecar.registry.remote.base import RemoteRegistry, not_reachable
from sidecar.registry.remote.consulapi import PATIENCE, ConsulApi
from sidecar.registry.remote.failover import Engine, Refused, base_urls
from sidecar.registry.remote.overlay import WriteOverlay
from sidecar.registry.remote.registrations import Registration
from sidecar.wire import consul as wire

#: Services followed by a blocking query each. Consul takes 200 connections from one host, all its sidecars together.
_FOLLOWED = 48
#: Seconds for which one that was asked for keeps its place.
_KEPT = 60.0
#: Services whose nodes, or whose absence, are remembered.
_REMEMBERED = 65_536
#: Seconds between two queries of one loop at least, and as a multiple of what reading an answer took.
_SPACING: Final = 0.02
_SPACING_FACTOR: Final = 5.0
#: Seconds between attempts to reach Consul, at first and at most.
_BACKOFF: Final = (0.05, 1.0)


@define(eq=False)
class _Known:
    """A service that was asked for.

    :ivar asked: when it was last, in seconds of the clock.
    :ivar task: follows it; None where nobody does, and ``doubtful`` tells whether something may have changed since.
    """

    name: str
    asked: float = 0.0
    doubtful: bool = False
    task: Deferred[None] | None = None


@define(eq=False)
class _Backoff:
    """Pauses that grow."""

    _random: Random
    _next: float = _BACKOFF[0]

    def reset(self) -> None:
        self._next = _BACKOFF[0]

    def pause(self) -> float:
        pause, self._next = self._next, min(self._next * 2, _BACKOFF[1])
        return pause * self._random.uniform(0.5, 1.0)


@implementer(IRegistry)
class ConsulRegistry(RemoteRegistry):
    """Reads from a mirror of the services that were asked for, writes through the local agent."""

    kind = "consul"

    def __init__(self, reactor: Any, random: Random, agent: Fetcher, bases: tuple[str, ...], token: str = "") -> None:
        """:param bases: URLs in the order to try them."""
        super().__init__(reactor, random, agent, Engine("consul", reactor, agent, bases))
        self._api = ConsulApi(self._engine, random, token)
        self._known: OrderedDict[str, _Known] = OrderedDict()
        #: Those of them with a task, in the order in which they were asked for.
        self._followed: OrderedDict[str, _Known] = OrderedDict()
        self._limit = _FOLLOWED
        self._lookups: dict[str, list[Deferred[None]]] = {}
        self._writes = WriteOverlay()
        #: How often something changed that nobody follows.
        self._woken = 0
        self._names: tuple[str, ...] = ()
        self._listed: frozenset[str] = frozenset()
        self._names_asked = -1
        #: Nodes that were seen to be well since Consul came back: those are awaited no more.
        self._well: dict[str, set[str]] = {}
        #: The catalog could not be had the last time, so that what we hear may be from a Consul that began anew.
        self._shaky = False

    def startService(self) -> None:
        super().startService()
        self._tasks.run(self._follow_names(), "Watching Consul's catalog")
        self._tasks.run(self._follow_criticals(), "Watching Consul's checks")

    # --- Reading ------------------------------------------------------------------------------------------------------

    def get(self, name: str) -> Deferred[tuple[Service, ...]]:
        known = self._known.get(name)
        if known is not None and (not known.doubtful or self._mirror.stale_since is not None):
            known.asked = self._clock.seconds()
            if known.task is not None:
                self._followed.move_to_end(name)
            try:
                return succeed(self._from_mirror(name))
            except NotFound as error:
                return fail(error)
        return self._look_up(name).addCallbacks(lambda _: self._from_mirror(name), partial(self._fall_back, name=name))

    def list(self) -> Deferred[tuple[str, ...]]:
        if self._names_asked >= self._writes.last or self._mirror.stale_since is not None:
            return succeed(self._all_names())
        return Deferred.fromCoroutine(self._ask_names())

    async def _ask_names(self) -> tuple[str, ...]:
        asked = self._writes.tick()
        try:
            response = await self._api.read(api.CATALOG)
            self._take_names(wire.catalog(response.body), asked)
        except (EngineUnavailable, MalformedRecord) as error:
            if self._names_asked < 0:
                raise not_reachable(self.kind, str(error)) from error
        return self._all_names()

    def _all_names(self) -> tuple[str, ...]:
        """What the catalog said, and, while it cannot say, what is held."""
        if self._mirror.stale_since is None:
            return self._names
        return tuple(sorted({*self._names, *self._mirror.names()}))

    def _fall_back(self, failure: Any, name: str) -> tuple[Service, ...]:
        failure.trap(EngineUnavailable, MalformedRecord)
        found = self._mirror.get(name)
        if not found:
            raise not_reachable(self.kind, str(failure.value)) from failure.value
        return found

    # --- Looking up ---------------------------------------------------------------------------------------------------

    def _look_up(self, name: str) -> Deferred[None]:
        """Ask for ``name`` now; whoever else asks meanwhile waits for the same answer."""
        waiters = self._lookups.get(name)
        first = waiters is None
        if waiters is None:
            waiters = self._lookups[name] = []
        waiting: Deferred[None] = Deferred(lambda gone: waiters.remove(gone) if gone in waiters else None)
        waiters.append(waiting)
        if first:
            self._tasks.run(self._inquire(name), f"Looking up {name}")
        return waiting

    def _look_up_quietly(self, name: str) -> None:
        """Look ``name`` up for the sake of who watches; where that fails, whoever asks next is told."""
        self._look_up(name).addErrback(lambda failure: failure.trap(EngineUnavailable, MalformedRecord) and None)

    async def _inquire(self, name: str) -> None:
        waiters = self._lookups[name]
        asked, woken = self._writes.tick(), self._woken
        known = self._known.get(name) or _Known(name)
        known.asked, known.doubtful = self._clock.seconds(), True
        self._remember(known)
        problem: Exception | None = None
        try:
            response = await self._api.read(api.health_of(name))
            known.doubtful = self._take_health(name, response, asked)
            if known.task is None and self._mirror.get(name):
                self._follow(known, api.index_of(response))
        except (EngineUnavailable, MalformedRecord) as error:
            problem = error
        finally:
            del self._lookups[name]
        if known.task is None and woken != self._woken:
            self._stir(known)  # the answer may be from before whatever it was
        # In a turn of its own: whoever waits may stop us.
        self._clock.callLater(0, _settle, tuple(waiters), problem)

    def _remember(self, known: _Known) -> None:
        self._known[known.name] = known
        self._known.move_to_end(known.name)
        while len(self._known) > _REMEMBERED:
            _, gone = self._known.popitem(last=False)
            self._unfollow(gone)
            self._writes.forget(gone.name)
            self._mirror.forget(gone.name)
            self._tell([Change("update", Service(gone.name))])

    def _take_health(self, name: str, response: Response, asked: int) -> bool:
        """Put an answer into the mirror. :returns: whether it has to be asked for again."""
        found = wire.health(response.body, name, self._complain, self._content)
        shelf = Catalog()
        shelf.replace(name, found.services)
        doubtful = self._writes.lay_over(name, shelf, asked)
        if self._gentle or self._shaky:
            well = self._well.setdefault(name, set())
            well.update(node.id for service in found.services for node in service.nodes)
            for service in self._mirror.get(name):
                awaited = tuple(node for node in service.nodes if node.id not in well and not shelf.has(name, node.id))
                if awaited:
                    shelf.put(evolve(service, nodes=awaited))
        else:
            for holding in self._ours.held(name):
                identity = holding.key[1]
                if identity not in found.present and not self._writes.has(name, identity):
                    self._tasks.run(self._missed(holding), f"Asking why {identity} is gone")
        self._tell(self._mirror.replace(name, shelf.get(name)))
        return doubtful

    async def _missed(self, holding: Registration) -> None:
        """A node of ours is not in the catalog. Somebody took it out, unless the agent has it and is only late."""
        name, identity = holding.key
        try:
            if await self._api.has(identity):
                return
        except EngineUnavailable:
            return  # when it is back everything is written again
        if not self._gentle and not self._shaky and self._ours.holds(name, identity) is holding:
            self._ours.dismiss(name, identity)

    # --- Following ----------------------------------------------------------------------------------------------------

    def _follow(self, known: _Known, index: int) -> None:
        """Follow ``known`` where there is room for one more, or one that nobody asked for lately."""
        if len(self._followed) >= self._limit:
            oldest = next(iter(self._followed.values()))
            if self._clock.seconds() - oldest.asked < _KEPT:
                return
            self._unfollow(oldest)
            self._doubt(oldest)
        self._followed[known.name] = known
        known.task = self._tasks.run(self._keep_up(known, index), f"Following {known.name}")

    def _unfollow(self, known: _Known) -> None:
        self._followed.pop(known.name, None)
        task, known.task = known.task, None
        if task is not None:
            task.cancel()

    async def _keep_up(self, known: _Known, index: int) -> None:
        """Follow one service by blocking queries."""
        backoff = _Backoff(self._random)
        path = api.health_of(known.name)
        while True:
            asked = self._writes.tick()
            try:
                response = await self._api.poll(path, index)
                began = self._clock.seconds()
                doubtful = self._take_health(known.name, response, asked)
            except (EngineUnavailable, MalformedRecord) as error:
                index = 0
                if isinstance(error, Refused) and error.status == 429:
                    self._step_back(known)
                    return
                if self._mirror.stale_since is not None:
                    await self._returned()
                else:
                    await deferLater(self._clock, backoff.pause())
                continue
            backoff.reset()
            index = 0 if doubtful else api.next_index(index, response)
            await self._rest(began)

    def _step_back(self, known: _Known) -> None:
        """Consul takes no more connections from this host: follow one service less."""
        self._followed.pop(known.name)
        known.task = None
        self._limit = max(1, len(self._followed))
        self._doubt(known)
        self.log.warn(
            "Consul limits the connections from this host: following {limit} services, others are looked up when they "
            "are called (see http_max_conns_per_client)",
            limit=self._limit,
        )

    def _doubt(self, known: _Known) -> None:
        """What is known of this one may be outdated: it is to be looked up again, by those too who keep its nodes."""
        known.doubtful = True
        if known.name in self._mirror:
            self._tell([Change("update", Service(known.name))])

    async def _follow_names(self) -> None:
        """Follow the catalog: the names, whether Consul is there, and that something changed."""
        index, last, backoff = 0, 0, _Backoff(self._random)
        while True:
            asked = self._writes.tick()
            try:
                response = await self._api.poll(api.CATALOG, index)
                began = self._clock.seconds()
                self._take_names(wire.catalog(response.body), asked)
            except (EngineUnavailable, MalformedRecord) as error:
                # A connection that broke is the engine's loss only if it cannot be had again at once.
                if self._shaky or not last:
                    self._lost(error)
                self._shaky, index = True, 0
                await deferLater(self._clock, backoff.pause())
                continue
            backoff.reset()
            found = api.index_of(response)
            if not self._gentle or found < last:
                self._well.clear()
            self._found(restarted=0 < found < last)
            self._shaky = False
            if found != last:
                self._wake()
            index, last = api.next_index(index, response), found
            await self._rest(began)

    async def _follow_criticals(self) -> None:
        """Follow the critical checks, of which the catalog tells nothing."""
        index, backoff = 0, _Backoff(self._random)
        while True:
            try:
                response = await self._api.poll(api.CRITICAL, index)
            except EngineUnavailable:
                index = 0
                if self._mirror.stale_since is not None:
                    await self._returned()
                else:
                    await deferLater(self._clock, backoff.pause())
                continue
            backoff.reset()
            if api.index_of(response) != index:
                self._wake()
            index = api.next_index(index, response)
            await deferLater(self._clock, _SPACING)

    def _take_names(self, names: tuple[str, ...], asked: int) -> None:
        if asked > self._names_asked:
            self._names, self._names_asked = tuple(sorted(names)), asked
            self._listed = frozenset(names)

    def _wake(self) -> None:
        """Something changed: what nobody follows is to be looked up again before it is answered."""
        self._woken += 1
        for known in [known for known in self._known.values() if known.task is None]:
            self._stir(known)

    def _stir(self, known: _Known) -> None:
        if not known.doubtful:
            self._doubt(known)
        if known.name in self._listed and known.name not in self._mirror and known.name not in self._lookups:
            self._look_up_quietly(known.name)  # it was asked for in vain, and is there now

    def _lost(self, error: Exception) -> None:
        super()._lost(error)
        self._well.clear()

    def _settle(self) -> None:
        self._well.clear()
        for known in tuple(self._followed.values()):
            self._unfollow(known)
            self._follow(known, 0)
        self._wake()

    async def _rest(self, began: float) -> None:
        """Let others come to their right after an answer that took long to read, and a busy service gather its news."""
        spent = self._clock.seconds() - began
        await deferLater(self._clock, max(_SPACING, spent * _SPACING_FACTOR))

    # --- Writing ------------------------------------------------------------------------------------------------------

    async def write(self, holding: Registration, *, renew: bool) -> None:
        service, (node,) = holding.service, holding.service.nodes
        if renew and holding.ttl is not None and await self._api.passing(node.id):
            return
        await self._api.register(service, node, holding.ttl)
        self._writes.wrote(service.name, node.id, service, keep=service.name in self._known)
        self._tell(self._mirror.put(service))
        if service.name not in self._known and len(self._followed) < self._limit // 2:
            # To hear of it when somebody else takes it out.
            self._look_up_quietly(service.name)

    async def erase(self, name: str, identity: str, lease: int) -> None:
        await self._api.deregister(identity)
        self._writes.wrote(name, identity, None, keep=name in self._known)
        self._tell(self._mirror.drop(name, (identity,), "delete"))


def _settle(waiters: tuple[Deferred[None], ...], problem: Exception | None) -> None:
    for waiting in waiters:
        if waiting.called:
            continue
        if problem is None:
            waiting.callback(None)
        else:
            waiting.errback(problem)


def build(options: BackendOptions) -> ConsulRegistry:
    """The backend behind ``--registry=consul``. :raises ConfigError: an address or a certificate cannot be used."""
    bases = base_urls("consul", options.addresses, "127.0.0.1", 8500, options.tls)
    trust = TrustOptions(options.ca_file, options.cert_file, options.key_file)
    agent = Fetcher(options.reactor, timeout=PATIENCE, tls=trust, idle=_FOLLOWED)
    return ConsulRegistry(options.reactor, Random(), agent, bases, options.token)
