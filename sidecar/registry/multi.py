"""Several registries behind one face: written to together, read as one. So a sidecar joins two worlds."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable, Sequence
from functools import partial
from typing import Any, cast

from attrs import evolve, frozen
from twisted.application import service as services
from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from sidecar.errors import EngineUnavailable, NotFound, SidecarError
from sidecar.interfaces import IRegistry, IWatch, IWatcher
from sidecar.lifecycle import PeriodicService
from sidecar.model import UNSAID, BackendState, Caller, Cause, Change, Node, Service
from sidecar.registry.watchers import CallbackWatcher, Watchers

#: Seconds between attempts to write to an engine what it missed.
RETRY = 2.0
#: Writes that are pending at most, for all engines together; the oldest is given up for a new one.
MAX_PENDING = 10_000


@frozen
class PendingWrite:
    """A write that an engine did not take yet.

    :ivar caller: who asked for it. :ivar cause: why.
    :ivar ttl: as given, with ``until`` the time at which it would have expired.
    :ivar gone: it was a deregistration.
    """

    service: Service
    caller: Caller
    cause: Cause
    ttl: float | None = None
    until: float | None = None
    gone: bool = False


@implementer(IRegistry)
class MultiRegistry(services.MultiService):
    """Several registries as one. A write holds when one engine took it, and is repeated at the others until they take
    it too. A read is what any of them knows; the first one named wins where two know the same node."""

    log = Logger()

    def __init__(self, registries: Sequence[IRegistry], clock: IReactorTime) -> None:
        super().__init__()
        self._registries = tuple(registries)
        self._clock = clock
        self._watchers = Watchers(clock)
        self._watches: list[IWatch] = []
        # Which engines told of a node, so that its coming and going is told once.
        self._known: dict[tuple[str, str], set[int]] = {}
        self._pending: dict[tuple[int, str, str], PendingWrite] = {}
        for registry in self._registries:
            services.IService(registry).setServiceParent(self)
        PeriodicService(clock, RETRY, self._retry, "repeating what engines missed", now=False).setServiceParent(self)

    def startService(self) -> None:
        super().startService()
        for index, registry in enumerate(self._registries):
            watcher: IWatcher = CallbackWatcher(partial(self._changed, index), self._watchers.invalidate)
            self._watches.append(registry.watch(watcher))

    def stopService(self) -> Deferred[Any]:
        watches, self._watches = self._watches, []
        for watch in watches:
            watch.cancel()
        stopped: Deferred[Any] = super().stopService()
        return stopped

    # --- Writing ----------------------------------------------------------------------------------------------------

    def register(self, service: Service, ttl: float | None, caller: Caller, cause: Cause = UNSAID) -> Deferred[None]:
        until = None if ttl is None else self._clock.seconds() + ttl
        return Deferred.fromCoroutine(self._write(PendingWrite(service, caller, cause, ttl, until)))

    def deregister(self, service: Service, caller: Caller, cause: Cause = UNSAID) -> Deferred[None]:
        return Deferred.fromCoroutine(self._write(PendingWrite(service, caller, cause, gone=True)))

    async def _write(self, write: PendingWrite) -> None:
        service = write.service
        for index in range(len(self._registries)):
            for node in service.nodes:
                self._pending.pop((index, service.name, node.id), None)
        outcomes = await self._of_all(lambda registry: self._write_to(registry, write))
        failures = [(index, outcome) for index, outcome in enumerate(outcomes) if isinstance(outcome, Failure)]
        if len(failures) == len(outcomes):
            failures[0][1].raiseException()
        for index, failure in failures:
            state = self._registries[index].state()
            if failure.check(EngineUnavailable):
                self._remember(index, write)
            else:
                self.log.warn(
                    "{kind} does not take {name}: {why}", kind=state.kind, name=service.name, why=failure.value
                )

    def _write_to(self, registry: IRegistry, write: PendingWrite) -> Deferred[None]:
        if write.gone:
            return registry.deregister(write.service, write.caller, write.cause)
        left = None if write.until is None else write.until - self._clock.seconds()
        return registry.register(write.service, left, write.caller, write.cause)

    def _remember(self, index: int, write: PendingWrite) -> None:
        for node in write.service.nodes:
            if len(self._pending) >= MAX_PENDING:
                del self._pending[next(iter(self._pending))]
            key = (index, write.service.name, node.id)
            self._pending[key] = evolve(write, service=evolve(write.service, nodes=(node,)))

    def _retry(self) -> Deferred[None]:
        return Deferred.fromCoroutine(self._retry_all())

    async def _retry_all(self) -> None:
        unreachable: set[int] = set()
        for key, write in list(self._pending.items()):
            index = key[0]
            if index in unreachable or self._pending.get(key) is not write:
                continue
            if write.until is not None and write.until <= self._clock.seconds():
                del self._pending[key]
                continue
            try:
                await self._write_to(self._registries[index], write)
            except EngineUnavailable:
                unreachable.add(index)
                continue
            except SidecarError as error:
                kind = self._registries[index].state().kind
                self.log.warn("{kind} does not take {name}: {why}", kind=kind, name=key[1], why=error)
            if self._pending.get(key) is write:
                del self._pending[key]

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

    def watch(self, watcher: IWatcher) -> IWatch:
        return cast(IWatch, self._watchers.add(watcher))

    def _changed(self, index: int, change: Change) -> None:
        """Tell of a node when its first engine has it, when one changed it, and when its last engine lost it."""
        news: list[Node] = []
        for node in change.nodes:
            key = (change.service.name, node.id)
            tellers = self._known.get(key)
            if change.action == "delete":
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

    def states(self) -> tuple[BackendState, ...]:
        """Of each registry, in their order."""
        return tuple(registry.state() for registry in self._registries)

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
