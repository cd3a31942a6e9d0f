"""Consul as the registry: services that are called are followed by blocking queries, all others looked up afresh."""

from __future__ import annotations

from collections import OrderedDict
from functools import partial
from random import Random
from typing import Any, Final
from urllib.parse import quote

import orjson
from attrs import define, evolve
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import deferLater
from zope.interface import implementer

from sidecar.errors import BadRequest, EngineUnavailable, MalformedRecord, NotFound
from sidecar.interfaces import IRegistry
from sidecar.model import BackendOptions, Change, Service
from sidecar.net.agent import Agent, Response
from sidecar.net.tls import TrustOptions
from sidecar.registry.engine import Engine, Refused, base_urls
from sidecar.registry.ours import Holding
from sidecar.registry.remote import PATIENCE, RemoteRegistry, not_reachable
from sidecar.registry.shelf import Shelf
from sidecar.wire import consul as wire

#: Services followed by a blocking query each. Consul takes 200 connections from one host, all its sidecars together.
_FOLLOWED = 48
#: Seconds for which one that was asked for keeps its place.
_KEPT = 60.0
#: Services whose nodes, or whose absence, are remembered.
_REMEMBERED = 65_536
#: Seconds that a blocking query waits, give or take a quarter so that they do not all end at once.
_WAIT = 20.0
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
class _Write:
    """What we wrote for a node, until an answer that was asked for later confirms it. :ivar service: None: took out."""

    at: int
    service: Service | None


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

    def __init__(self, reactor: Any, random: Random, agent: Agent, bases: tuple[str, ...], token: str = "") -> None:
        """:param bases: URLs in the order to try them."""
        super().__init__(reactor, random, agent, Engine("consul", reactor, agent, bases))
        self._headers = {"X-Consul-Token": token} if token else {}
        self._known: OrderedDict[str, _Known] = OrderedDict()
        #: Those of them with a task, in the order in which they were asked for.
        self._followed: OrderedDict[str, _Known] = OrderedDict()
        self._limit = _FOLLOWED
        self._lookups: dict[str, list[Deferred[None]]] = {}
        self._writes: dict[str, dict[str, _Write]] = {}
        #: Counts questions and writes, to tell which came first.
        self._tick = 0
        self._written = 0
        #: How often something changed that nobody follows.
        self._woken = 0
        self._names: tuple[str, ...] = ()
        self._listed: frozenset[str] = frozenset()
        self._names_asked = -1
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
        if self._names_asked >= self._written or self._mirror.stale_since is not None:
            return succeed(self._all_names())
        return Deferred.fromCoroutine(self._ask_names())

    async def _ask_names(self) -> tuple[str, ...]:
        asked = self._next_tick()
        try:
            response = await self._ask("GET", "/v1/catalog/services")
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
        asked, woken = self._next_tick(), self._woken
        known = self._known.get(name) or _Known(name)
        known.asked, known.doubtful = self._clock.seconds(), True
        self._remember(known)
        problem: Exception | None = None
        try:
            response = await self._ask("GET", _health_path(name))
            known.doubtful = self._take_health(name, response, asked)
            if known.task is None and self._mirror.get(name):
                self._follow(known, _index(response))
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
            self._writes.pop(gone.name, None)
            self._mirror.forget(gone.name)
            self._tell([Change("update", Service(gone.name))])

    def _take_health(self, name: str, response: Response, asked: int) -> bool:
        """Put an answer into the mirror. :returns: whether it has to be asked for again."""
        if response.status != 200:
            raise Refused(f"consul answered {response.status} for {name}", response.status)
        found = wire.health(response.body, name, self._complain, self._content)
        shelf = Shelf()
        shelf.replace(name, found.services)
        doubtful = self._overlay(name, shelf, asked)
        if self._gentle or self._shaky:
            for service in self._mirror.get(name):
                absent = tuple(node for node in service.nodes if not shelf.has(name, node.id))
                if absent:
                    shelf.put(evolve(service, nodes=absent))
        else:
            for holding in self._ours.held(name):
                identity = holding.key[1]
                if identity not in found.present and identity not in self._writes.get(name, ()):
                    self._tasks.run(self._missed(holding), f"Asking why {identity} is gone")
        self._tell(self._mirror.replace(name, shelf.get(name)))
        return doubtful

    async def _missed(self, holding: Holding) -> None:
        """A node of ours is not in the catalog. Somebody took it out, unless the agent has it and is only late."""
        name, identity = holding.key
        path = f"/v1/agent/service/{quote(identity, safe='')}"
        try:
            response = await self._ask("GET", path, settles=_known_or_not)
        except EngineUnavailable:
            return  # when it is back everything is written again
        if _unknown(response) and not self._gentle and not self._shaky and self._ours.holds(name, identity) is holding:
            self._ours.dismiss(name, identity)

    def _overlay(self, name: str, shelf: Shelf, asked: int) -> bool:
        """Lay what we wrote since the question over an answer that may be from before.

        :returns: whether there was any such: the next answer is to say what became of it.
        """
        writes = self._writes.get(name, {})
        for identity, write in tuple(writes.items()):
            if write.at <= asked:
                del writes[identity]
            elif write.service is None:
                shelf.drop(name, (identity,), "delete")
            else:
                shelf.put(write.service)
        if not writes:
            self._writes.pop(name, None)
        return bool(writes)

    def _next_tick(self) -> int:
        self._tick += 1
        return self._tick

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
        path = _health_path(known.name)
        while True:
            asked = self._next_tick()
            try:
                response = await self._poll(path, index)
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
            index = 0 if doubtful else _next_index(index, response)
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
            asked = self._next_tick()
            try:
                response = await self._poll("/v1/catalog/services", index)
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
            found = _index(response)
            self._found(restarted=0 < found < last)
            self._shaky = False
            if found != last:
                self._wake()
            index, last = _next_index(index, response), found
            await self._rest(began)

    async def _follow_criticals(self) -> None:
        """Follow the critical checks, of which the catalog tells nothing."""
        index, backoff = 0, _Backoff(self._random)
        while True:
            try:
                response = await self._poll("/v1/health/state/critical", index)
            except EngineUnavailable:
                index = 0
                if self._mirror.stale_since is not None:
                    await self._returned()
                else:
                    await deferLater(self._clock, backoff.pause())
                continue
            backoff.reset()
            if _index(response) != index:
                self._wake()
            index = _next_index(index, response)
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

    def _settle(self) -> None:
        for known in tuple(self._followed.values()):
            self._unfollow(known)
            self._follow(known, 0)
        self._wake()

    async def _poll(self, path: str, index: int) -> Response:
        """A blocking query: answered at once for index 0, else when there is news or time is up."""
        wait = _WAIT * self._random.uniform(0.75, 1.25)
        query = f"?index={index}&wait={wait:.0f}s" if index else ""
        # Consul itself adds up to a sixteenth to the wait.
        response = await self._engine.ask_once(
            "GET", path + query, self._headers, timeout=PATIENCE + (wait * 17 / 16 if index else 0)
        )
        if response.status != 200:
            raise self._refusal(response, path)
        return response

    async def _rest(self, began: float) -> None:
        """Let others come to their right after an answer that took long to read, and a busy service gather its news."""
        spent = self._clock.seconds() - began
        await deferLater(self._clock, max(_SPACING, spent * _SPACING_FACTOR))

    # --- Writing ------------------------------------------------------------------------------------------------------

    async def write(self, holding: Holding, *, renew: bool) -> None:
        service, (node,) = holding.service, holding.service.nodes
        check = f"/v1/agent/check/pass/service:{quote(node.id, safe='')}"
        if renew and holding.ttl is not None:
            passed = await self._ask("PUT", check, settles=_known_or_not)
            if passed.status == 200:
                return
            if passed.status == 403:
                raise self._refusal(passed, check)
        path = "/v1/agent/service/register"
        if holding.ttl is None:
            path += "?replace-existing-checks=true"  # one of a former life with a TTL would turn critical
        response = await self._ask("PUT", path, orjson.dumps(wire.registration(service, node, holding.ttl)))
        if response.status == 400:
            raise BadRequest(f"consul cannot keep this service: {_said(response)}")
        if response.status != 200:
            raise self._refusal(response, path)
        if holding.ttl is not None:
            passed = await self._ask("PUT", check, settles=_known_or_not)
            if passed.status != 200:
                raise self._refusal(passed, check)
        self._wrote(service.name, node.id, service)
        self._tell(self._mirror.put(service))
        if service.name not in self._known and len(self._followed) < self._limit // 2:
            # To hear of it when somebody else takes it out.
            self._look_up_quietly(service.name)

    async def erase(self, name: str, identity: str, lease: int) -> None:
        path = f"/v1/agent/service/deregister/{quote(identity, safe='')}"
        response = await self._ask("PUT", path, settles=_known_or_not)
        if response.status != 200 and not _unknown(response):
            raise self._refusal(response, path)
        self._wrote(name, identity, None)
        self._tell(self._mirror.drop(name, (identity,), "delete"))

    def _wrote(self, name: str, identity: str, service: Service | None) -> None:
        tick = self._written = self._next_tick()
        if name in self._known:
            self._writes.setdefault(name, {})[identity] = _Write(tick, service)

    # --- Asking -------------------------------------------------------------------------------------------------------

    async def _ask(self, method: str, path: str, body: bytes = b"", settles: Any = None) -> Response:
        options = {"settles": settles} if settles is not None else {}
        return await self._engine.ask(method, path, self._headers, body, timeout=PATIENCE, **options)

    def _refusal(self, response: Response, path: str) -> Refused:
        hint = "; check the token (CONSUL_HTTP_TOKEN)" if response.status in (401, 403) else ""
        return Refused(f"consul refuses {path}: {response.status} {_said(response)}{hint}", response.status)


def _health_path(name: str) -> str:
    return f"/v1/health/service/{quote(name, safe='')}"


def _index(response: Response) -> int:
    text = response.header("X-Consul-Index")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 20 else 0


def _next_index(index: int, response: Response) -> int:
    """What to wait on next. An index that went backwards means that Consul began anew: ask without one."""
    found = _index(response)
    return found if found >= index else 0


def _said(response: Response) -> str:
    return " ".join(response.body[:300].decode("utf-8", "replace").split())


def _unknown(response: Response) -> bool:
    """Whether Consul says that there is no such service or check: 404 since 1.11, 500 before."""
    return response.status == 404 or (response.status == 500 and b"nknown" in response.body)


def _known_or_not(response: Response) -> bool:
    return (response.status < 500 and response.status != 429) or _unknown(response)


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
    agent = Agent(options.reactor, timeout=PATIENCE, tls=trust, idle=_FOLLOWED)
    return ConsulRegistry(options.reactor, Random(), agent, bases, options.token)
