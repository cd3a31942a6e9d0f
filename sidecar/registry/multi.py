"""Several registries behind one face: written to together, read as one. So a sidecar joins two worlds."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable, Sequence
from typing import Any, cast

from attrs import evolve, frozen
from twisted.application import service as services
from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from sidecar.errors import EngineUnavailable, NotFound, SidecarError
from sidecar.interfaces import IRegistry, IWatch
from sidecar.lifecycle import PeriodicService
from sidecar.model import BackendState, Change, Node, Service
from sidecar.registry.watchers import Watchers

#: Seconds between attempts to bring an engine what it missed.
REPEAT = 2.0
#: Writes that are owed at most, to all engines together; the oldest is given up for a new one.
MOST_OWED = 10_000


@frozen
class PendingWrite:
    """A write that an engine did not take. :ivar ttl: as given, with ``until`` the time at which it would have expired.
    :ivar gone: it was a deregistration."""

    service: Service
    ttl: float | None
    until: float | None
    gone: bool


@implementer(IRegistry)
class MultiRegistry(services.MultiService):
    """A write holds when one engine took it, and is brought to the others until they take it too. A read is what any of
    them knows; the first one named wins where two know the same node."""

    log = Logger()

    def __init__(self, registries: Sequence[IRegistry], clock: IReactorTime) -> None:
        super().__init__()
        self._registries = tuple(registries)
        self._clock = clock
        self._watchers = Watchers(clock)
        self._watches: list[IWatch] = []
        # Which engines told of a node, so that its coming and going is told once.
        self._known: dict[tuple[str, str], set[int]] = {}
        self._owed: dict[tuple[int, str, str], PendingWrite] = {}
        for registry in self._registries:
            services.IService(registry).setServiceParent(self)
        PeriodicService(clock, REPEAT, self._repeat, "bringing engines what they missed", now=False).setServiceParent(
            self
        )

    def startService(self) -> None:
        super().startService()
        for index, registry in enumerate(self._registries):
            self._watches.append(registry.watch(lambda change, index=index: self._changed(index, change)))  # type: ignore[misc]

    def stopService(self) -> Deferred[Any]:
        watches, self._watches = self._watches, []
        for watch in watches:
            watch.cancel()
        stopped: Deferred[Any] = super().stopService()
        return stopped

    # --- Writing ----------------------------------------------------------------------------------------------------

    def register(self, service: Service, ttl: float | None) -> Deferred[None]:
        until = None if ttl is None else self._clock.seconds() + ttl
        return self._write(service, PendingWrite(service, ttl, until, False))

    def deregister(self, service: Service) -> Deferred[None]:
        return self._write(service, PendingWrite(service, None, None, True))

    def _write(self, service: Service, wanted: PendingWrite) -> Deferred[None]:
        return Deferred.fromCoroutine(self._write_all(service, wanted))

    async def _write_all(self, service: Service, wanted: PendingWrite) -> None:
        for index in range(len(self._registries)):
            self._settled(index, service)
        outcomes = await self._of_all(lambda registry: self._hand(registry, wanted))
        failures = [(index, outcome) for index, outcome in enumerate(outcomes) if isinstance(outcome, Failure)]
        if len(failures) == len(outcomes):
            failures[0][1].raiseException()
        for index, failure in failures:
            state = self._registries[index].state()
            if failure.check(EngineUnavailable):
                self._owe(index, wanted)
            else:
                self.log.warn(
                    "{kind} does not take {name}: {why}", kind=state.kind, name=service.name, why=failure.value
                )

    def _hand(self, registry: IRegistry, wanted: PendingWrite) -> Deferred[None]:
        if wanted.gone:
            return registry.deregister(wanted.service)
        left = None if wanted.until is None else wanted.until - self._clock.seconds()
        return registry.register(wanted.service, left if wanted.ttl is not None else None)

    def _owe(self, index: int, wanted: PendingWrite) -> None:
        for node in wanted.service.nodes:
            if len(self._owed) >= MOST_OWED:
                del self._owed[next(iter(self._owed))]
            key = (index, wanted.service.name, node.id)
            self._owed[key] = evolve(wanted, service=evolve(wanted.service, nodes=(node,)))

    def _settled(self, index: int, service: Service) -> None:
        for node in service.nodes:
            self._owed.pop((index, service.name, node.id), None)

    def _repeat(self) -> Deferred[None]:
        return Deferred.fromCoroutine(self._bring())

    async def _bring(self) -> None:
        unreachable: set[int] = set()
        for key, wanted in list(self._owed.items()):
            index = key[0]
            if index in unreachable or self._owed.get(key) is not wanted:
                continue
            if wanted.until is not None and wanted.until <= self._clock.seconds():
                del self._owed[key]
                continue
            try:
                await self._hand(self._registries[index], wanted)
            except EngineUnavailable:
                unreachable.add(index)
                continue
            except SidecarError as error:
                kind = self._registries[index].state().kind
                self.log.warn("{kind} does not take {name}: {why}", kind=kind, name=key[1], why=error)
            if self._owed.get(key) is wanted:
                del self._owed[key]

    # --- Reading ----------------------------------------------------------------------------------------------------

    def get(self, name: str) -> Deferred[tuple[Service, ...]]:
        return Deferred.fromCoroutine(self._get(name))

    async def _get(self, name: str) -> tuple[Service, ...]:
        outcomes = await self._of_all(lambda registry: registry.get(name))
        found = [outcome for outcome in outcomes if not isinstance(outcome, Failure)]
        if found:
            return merged(found)
        failures = cast("list[Failure]", outcomes)
        # That nobody has it can be said only when all have spoken.
        for failure in failures:
            if not failure.check(NotFound):
                failure.raiseException()
        raise NotFound(f"no service {name!r} is registered with {self.state().kind}")

    def list(self) -> Deferred[tuple[str, ...]]:
        return Deferred.fromCoroutine(self._list())

    async def _list(self) -> tuple[str, ...]:
        outcomes = await self._of_all(lambda registry: registry.list())
        found = [outcome for outcome in outcomes if not isinstance(outcome, Failure)]
        if not found:
            cast(Failure, outcomes[0]).raiseException()
        return tuple(sorted({name for names in found for name in names}))

    async def _of_all(self, ask: Callable[[IRegistry], Deferred[Any]]) -> Sequence[Any]:
        """What each registry answered, in their order: a result or a Failure."""

        async def one(registry: IRegistry) -> Any:
            return await ask(registry)

        works: Iterable[Coroutine[Any, Any, Any]] = [one(registry) for registry in self._registries]
        outcomes = await DeferredList([Deferred.fromCoroutine(work) for work in works], consumeErrors=True)
        return [outcome for _, outcome in outcomes]

    # --- News -------------------------------------------------------------------------------------------------------

    def watch(self, notify: Callable[[Change], None]) -> IWatch:
        return cast(IWatch, self._watchers.add(notify))

    def _changed(self, index: int, change: Change) -> None:
        """Tell of a node when its first engine has it, when one changed it, and when its last engine lost it."""
        news: list[Node] = []
        for node in change.service.nodes:
            key = (change.service.name, node.id)
            tellers = self._known.get(key)
            if change.action in ("delete", "expired"):
                if tellers is not None:
                    tellers.discard(index)
                if not tellers:
                    self._known.pop(key, None)
                    news.append(node)
            else:
                # Of a node that several have, the first one's description counts, and so does its word of a change.
                if not tellers or (change.action == "update" and index <= min(tellers)):
                    news.append(node)
                self._known.setdefault(key, set()).add(index)
        if news:
            self._watchers.tell([evolve(change, service=evolve(change.service, nodes=tuple(news)))])

    def state(self) -> BackendState:
        states = [registry.state() for registry in self._registries]
        stale = [state.stale_since for state in states if state.stale_since is not None]
        return BackendState(
            ",".join(state.kind for state in states),
            all(state.connected for state in states),
            min(stale, default=None),
            "; ".join(f"{state.kind}: {state.detail}" for state in states if state.detail),
        )


def merged(answers: Iterable[tuple[Service, ...]]) -> tuple[Service, ...]:
    """One Service a version out of what several registries know. Of a node that two know, the first one's counts."""
    heads: dict[str, Service] = {}
    nodes: dict[str, dict[str, Node]] = {}
    seen: set[str] = set()
    for services_ in answers:
        for each in services_:
            head = heads.setdefault(each.version, each)
            if each.endpoints and not head.endpoints:
                heads[each.version] = evolve(head, endpoints=each.endpoints)
            of_version = nodes.setdefault(each.version, {})
            for node in each.nodes:
                if node.id not in seen:
                    seen.add(node.id)
                    of_version[node.id] = node
    return tuple(evolve(head, nodes=tuple(nodes[version].values())) for version, head in heads.items())
