"""Consul as the registry: services that are called are followed by blocking queries, all others looked up afresh."""

from __future__ import annotations

import secrets
from functools import partial
from random import Random
from typing import Any

from attrs import evolve
from twisted.internet.defer import Deferred, fail, succeed
from twisted.web.iweb import IAgent
from zope.interface import implementer

from sidecar.errors import EngineUnavailable, MalformedRecord, NotFound
from sidecar.interfaces import IRegistry
from sidecar.model import BackendOptions, Cause, Service
from sidecar.net.client.fetcher import Fetcher, Response
from sidecar.net.client.tls import TrustOptions
from sidecar.registry.catalog import Catalog
from sidecar.registry.remote import consulapi as api
from sidecar.registry.remote.base import RemoteRegistry, not_reachable
from sidecar.registry.remote.consulapi import PATIENCE, ConsulApi
from sidecar.registry.remote.consulcatalog import ConsulCatalog
from sidecar.registry.remote.consulknown import FOLLOWED, KnownService, KnownServices
from sidecar.registry.remote.consulquery import BlockingQueries
from sidecar.registry.remote.failover import ErrorAnswer, FailoverClient, base_urls
from sidecar.registry.remote.overlay import WriteOverlay
from sidecar.registry.remote.registrations import Registration
from sidecar.waiting import AskOnce, Freshness
from sidecar.wire.registry import consul as wire


@implementer(IRegistry)
class ConsulRegistry(RemoteRegistry):
    """Reads from a mirror of the services that were asked for, writes through the local agent."""

    kind = "consul"

    def __init__(self, reactor: Any, random: Random, agent: Fetcher, bases: tuple[str, ...], token: str = "") -> None:
        """:param bases: URLs in the order to try them."""
        super().__init__(reactor, random, agent, FailoverClient("consul", reactor, agent, bases))
        self._api = ConsulApi(self._client, random, token, secrets.token_hex(8))
        self._queries = BlockingQueries(reactor, random, self._api)
        self._known = KnownServices()
        self._lookups: AskOnce[str, None] = AskOnce()
        self._writes = WriteOverlay()
        #: Of whatever nobody follows.
        self._fresh = Freshness()
        self._catalog = ConsulCatalog(self._api, self._queries, self._writes.tick, self._catalog_answered, self._lost)
        self._critical_index = 0
        #: Nodes that were seen to be well since Consul came back: those are awaited no more.
        self._well: dict[str, set[str]] = {}

    def startService(self) -> None:
        super().startService()
        self._tasks.run(self._catalog.follow(), "Watching Consul's catalog")
        self._tasks.run(self._follow_criticals(), "Watching Consul's checks")

    def stopService(self) -> Deferred[None]:
        self._lookups.fail(EngineUnavailable("the registry is stopping"))
        return super().stopService()

    # --- Reading ------------------------------------------------------------------------------------------------------

    def get(self, name: str) -> Deferred[tuple[Service, ...]]:
        known = self._known.get(name)
        if known is not None and (not known.stale or self._mirror.stale_since is not None):
            self._known.asked(known, self._clock.seconds())
            if not known.answered and not self._mirror.get(name):
                return fail(not_reachable(self.kind, self._detail))  # that it is not there was never said
            try:
                return succeed(self._from_mirror(name))
            except NotFound as error:
                return fail(error)
        return self._look_up(name).addCallbacks(lambda _: self._from_mirror(name), partial(self._fall_back, name=name))

    def list(self) -> Deferred[tuple[str, ...]]:
        if self._mirror.stale_since is not None:
            if self._catalog.asked < 0 and not self._mirror.names():
                return fail(not_reachable(self.kind, self._detail))
            return succeed(self._all_names())
        if self._catalog.asked >= self._writes.last:
            return succeed(self._all_names())
        return Deferred.fromCoroutine(self._ask_names())

    async def _ask_names(self) -> tuple[str, ...]:
        try:
            await self._catalog.ask()
        except (EngineUnavailable, MalformedRecord) as error:
            if self._catalog.asked < 0:
                raise not_reachable(self.kind, str(error)) from error
        return self._all_names()

    def _all_names(self) -> tuple[str, ...]:
        """What the catalog said, and, while it cannot say, what is registered here."""
        if self._mirror.stale_since is None:
            return self._catalog.names
        return tuple(sorted({*self._catalog.names, *self._mirror.names()}))

    def _fall_back(self, failure: Any, name: str) -> tuple[Service, ...]:
        failure.trap(EngineUnavailable, MalformedRecord)
        found = self._mirror.get(name)
        if not found:
            raise not_reachable(self.kind, str(failure.value)) from failure.value
        return found

    # --- Looking up ---------------------------------------------------------------------------------------------------

    def _look_up(self, name: str) -> Deferred[None]:
        """Ask for ``name`` now; whoever else asks meanwhile waits for the same answer."""
        return self._lookups.ask(name, partial(self._begin_look_up, name))

    def _begin_look_up(self, name: str) -> Deferred[None]:
        # Whoever waits is told in a turn of its own, and may stop us then.
        answered: Deferred[None] = Deferred()

        async def look_up() -> None:
            problem: Exception | None = None
            try:
                await self._ask(name)
            except (EngineUnavailable, MalformedRecord) as error:
                problem = error
            self._clock.callLater(0, _answer, answered, problem)

        self._tasks.run(look_up(), f"Looking up {name}")
        return answered

    def _look_up_quietly(self, name: str) -> None:
        """Look ``name`` up for the sake of who watches; where that fails, whoever asks next is told."""
        self._look_up(name).addErrback(lambda failure: failure.trap(EngineUnavailable, MalformedRecord) and None)

    async def _ask(self, name: str) -> None:
        asked, fresh = self._writes.tick(), self._fresh.asked()
        known = self._known.get(name) or KnownService(name)
        known.asked, known.stale = self._clock.seconds(), True
        for gone in self._known.remember(known):
            self._unfollow(gone)
            self._writes.forget(gone.name)
            self._mirror.forget(gone.name)
            self._watchers.invalidate(gone.name)
        try:
            response = await self._api.read(api.health_of(name))
            known.stale = self._take_health(known, response, asked)
            if known.task is None and self._mirror.get(name):
                self._follow(known, api.index_of(response))
        finally:
            if known.task is None and not self._fresh.holds(fresh):
                self._invalidate(known)  # the answer may be from before whatever it was

    def _take_health(self, known: KnownService, response: Response, asked: int) -> bool:
        """Put an answer into the mirror. :returns: whether it has to be asked for again."""
        name, known.answered = known.name, True
        found = wire.health(response.body, name, self._report_malformed, self._mirror.clear_malformed)
        catalog = Catalog()
        catalog.replace(name, found.services)
        again = self._writes.apply(name, catalog, asked)
        if self._gentle or self._catalog.failed:
            well = self._well.setdefault(name, set())
            well.update(node.id for service in found.services for node in service.nodes)
            for service in self._mirror.get(name):
                awaited = tuple(
                    node for node in service.nodes if node.id not in well and not catalog.has(name, node.id)
                )
                if awaited:
                    catalog.put(evolve(service, nodes=awaited))
        else:
            for registration in self._own.of(name):
                identity = registration.key[1]
                if identity in found.present:
                    if (
                        found.owners.get(identity) != self._api.owner
                        and not self._writes.has(name, identity)
                        and not self._is_writing(name, identity)
                    ):
                        self._taken_over(registration)
                elif not self._writes.has(name, identity):
                    self._tasks.run(self._missed(registration), f"Asking why {identity} is gone")
        for identity, output in found.critical.items():
            if not catalog.has(name, identity):
                self._tell(self._mirror.drop(name, (identity,), self._failed(output)))
        for service in catalog.get(name):
            recovered = tuple(node for node in service.nodes if node.id in known.critical)
            if recovered:
                self._tell(self._mirror.put(evolve(service, nodes=recovered), Cause("check passed", "", self._engine)))
        known.critical = frozenset(found.critical)
        self._tell_of_writing(name, catalog)
        self._tell(self._mirror.replace(name, catalog.get(name), self._told))
        return again

    def _tell_of_writing(self, name: str, catalog: Catalog) -> None:
        """What we are just writing is told as our own doing, though Consul shows it before it answers the write."""
        for (of, identity), cause in tuple(self._writing.items()):
            if of == name and not catalog.has(name, identity):
                self._tell(self._mirror.drop(name, (identity,), cause))
            elif of == name:
                for service in catalog.get(name):
                    nodes = tuple(node for node in service.nodes if node.id == identity)
                    self._tell(self._mirror.put(evolve(service, nodes=nodes), cause) if nodes else ())

    def _failed(self, output: str) -> Cause:
        """Why a node goes whose check is critical."""
        return Cause("expired" if wire.ran_out(output) else "check failed", output, self._engine)

    async def _missed(self, registration: Registration) -> None:
        """A node of ours is not in the catalog. Somebody took it out, unless the agent has it and is only late."""
        name, identity = registration.key
        try:
            if await self._api.has(identity):
                return
        except EngineUnavailable:
            return  # when it is back everything is written again
        if not self._gentle and not self._catalog.failed and self._own.get(name, identity) is registration:
            self._own.forget(name, identity)

    # --- Following ----------------------------------------------------------------------------------------------------

    def _follow(self, known: KnownService, index: int) -> None:
        """Follow ``known`` where one more may be followed, or one that nobody asked for lately."""
        free = self._known.vacancy(self._clock.seconds())
        if not free:
            return
        if isinstance(free, KnownService):
            self._unfollow(free)
            self._invalidate(free)
        self._known.follow(known, self._tasks.run(self._keep_up(known, index), f"Following {known.name}"))

    def _unfollow(self, known: KnownService) -> None:
        task = self._known.unfollow(known)
        if task is not None:
            task.cancel()

    async def _keep_up(self, known: KnownService, index: int) -> None:
        """Follow one service by blocking queries."""

        def failed(error: Exception) -> bool:
            if isinstance(error, ErrorAnswer) and error.status == 429:
                self._step_back(known)
                return False
            return True

        take = partial(self._take_health, known)
        await self._queries.follow(api.health_of(known.name), index, self._writes.tick, take, failed, self._until_back)

    def _step_back(self, known: KnownService) -> None:
        """Consul takes no more connections from this host: follow one service less."""
        self._known.unfollow(known)
        self._known.limit = limit = max(1, len(self._known.followed()))
        self._invalidate(known)
        self.log.warn(
            "Consul limits the connections from this host: following {limit} services, others are looked up when they "
            "are called (see http_max_conns_per_client)",
            limit=limit,
        )

    def _invalidate(self, known: KnownService) -> None:
        """What is known of this one may be outdated: it is to be looked up again, by those too who keep its nodes."""
        known.stale = True
        if known.name in self._mirror:
            self._watchers.invalidate(known.name)

    def _catalog_answered(self, last: int, index: int) -> None:
        if not self._gentle:
            # While Consul is coming back this is done already, and a service's own answer may have come before this.
            self._well.clear()
        self._found(restarted=0 < index < last)
        if index != last:
            self._invalidate_unfollowed()

    async def _follow_criticals(self) -> None:
        """Follow the critical checks, of which the catalog tells nothing."""
        await self._queries.follow(api.CRITICAL, 0, self._writes.tick, self._take_criticals, away=self._until_back)

    def _take_criticals(self, response: Response, asked: int) -> bool:
        found = api.index_of(response)
        if found != self._critical_index:
            self._invalidate_unfollowed()
        self._critical_index = found
        return False

    def _invalidate_unfollowed(self) -> None:
        """Something changed: what nobody follows is to be looked up again before it is answered."""
        self._fresh.changed()
        for known in self._known.unfollowed():
            if not known.stale:
                self._invalidate(known)
            if known.name in self._catalog and known.name not in self._mirror and known.name not in self._lookups:
                self._look_up_quietly(known.name)  # it was asked for in vain, and is there now

    def _until_back(self) -> Deferred[None] | None:
        return self._returned() if self._mirror.stale_since is not None else None

    def _lost(self, error: Exception) -> None:
        super()._lost(error)
        self._well.clear()

    def _reconcile(self) -> None:
        self._well.clear()
        for known in self._known.followed():
            self._unfollow(known)
            self._follow(known, 0)
        self._invalidate_unfollowed()

    # --- Writing ------------------------------------------------------------------------------------------------------

    async def write(self, registration: Registration, *, renew: bool) -> None:
        service, (node,) = registration.service, registration.service.nodes
        if renew and registration.ttl is not None and await self._api.passing(node.id):
            return
        with self._write_because(service.name, node.id, registration.cause):
            await self._api.register(service, node, registration.ttl)
        self._writes.wrote(service.name, node.id, service, keep=service.name in self._known)
        self._tell(self._mirror.put(service, registration.cause))
        if service.name not in self._known and not self._known.half_full():
            # To hear of it when somebody else takes it out.
            self._look_up_quietly(service.name)

    async def delete(self, name: str, identity: str, lease: int, cause: Cause) -> None:
        # What we registered goes only as ours: a newer registration of the same id is somebody else's.
        if self._own.get(name, identity) is not None and not await self._api.is_ours(identity):
            self.log.info("{id} stays on Consul: it is a newer registration than ours", id=identity)
            return
        with self._write_because(name, identity, cause):
            await self._api.deregister(identity)
        self._writes.wrote(name, identity, None, keep=name in self._known)
        self._tell(self._mirror.drop(name, (identity,), cause))


def _answer(answered: Deferred[None], problem: Exception | None) -> None:
    if answered.called:
        return  # everybody who waited has left
    if problem is None:
        answered.callback(None)
    else:
        answered.errback(problem)


def build(options: BackendOptions, agent: IAgent | None = None) -> ConsulRegistry:
    """The backend behind ``--registry=consul``.

    :param agent: reaches consul in place of our own. :raises ConfigError: an address or a certificate cannot be used.
    """
    bases = base_urls("consul", options.addresses, "127.0.0.1", 8500, options.tls)
    trust = TrustOptions(options.ca_file, options.cert_file, options.key_file)
    fetcher = Fetcher(options.reactor, timeout=PATIENCE, tls=trust, agent=agent, idle=FOLLOWED)
    return ConsulRegistry(options.reactor, Random(), fetcher, bases, options.token)
