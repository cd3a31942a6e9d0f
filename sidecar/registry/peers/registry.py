"""A registry without a store: each process answers for its own services, and everybody asks everybody.

What is common to the engines of that kind is here; how questions and answers travel is a voice's business
(:mod:`sidecar.registry.peers.mdns`, :mod:`sidecar.registry.peers.nats`). Names once asked for are asked for again and
again, so that reads come from memory and nodes that fell silent drop out; goodbyes and announcements count at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Literal, cast

from attrs import define, evolve, field
from twisted.application import service
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from sidecar.errors import EngineUnavailable, NotFound, SidecarError
from sidecar.interfaces import IRegistry, IWatch
from sidecar.lifecycle import PeriodicService
from sidecar.model import BackendState, Change, Service
from sidecar.registry.catalog import Catalog
from sidecar.registry.leases import Leases
from sidecar.registry.peers.lastseen import LastSeen
from sidecar.registry.peers.transport import PeerTransport
from sidecar.registry.remote.mirror import Mirror
from sidecar.registry.watchers import Watchers
from sidecar.waiting import wall

#: Seconds that answers to a question are gathered before the asker is answered.
GATHER = 0.1
#: Seconds between two looks at what is due, and questions asked at one of them.
BEAT, MOST_QUESTIONS = 0.5, 50
#: Seconds in which an echo of a node that we took out is not believed.
ECHO = 1.0
#: Names that one listing may give.
MAX_NAMES = 20_000
#: Seconds of one timer: epoll takes no more than 24 days.
LONGEST_WAIT = 86400.0


@define(eq=False)
class _Gathering:
    """Answers being waited for, by all who asked the same meanwhile."""

    waiting: list[Deferred[None]] = field(factory=list)


@implementer(IRegistry)
@define(eq=False, slots=False, init=False)
class PeerRegistry(service.MultiService):
    """Our own registrations, exactly; and the others', as far as they were heard."""

    log = Logger()
    _voice: PeerTransport = field()

    def __init__(self, clock: IReactorTime, voice: PeerTransport) -> None:
        super().__init__()
        self._clock = clock
        self._voice = voice
        self._watchers = Watchers(clock)
        self._ours = Catalog()
        self._known = Mirror()
        self._leases: Leases[tuple[str, str]] = Leases()
        self._sightings = LastSeen()
        self._gatherings: dict[str | None, _Gathering] = {}
        self._names: set[str] = set()
        self._taken_out: dict[tuple[str, str], float] = {}
        self._alarm: IDelayedCall | None = None
        self._heartbeat_due = 0.0
        self._full_told = False
        self._reached = False
        voice.join(self).setServiceParent(self)
        PeriodicService(
            clock, BEAT, self._beat, f"looking after the {voice.kind} registry", now=False
        ).setServiceParent(self)

    # --- IRegistry --------------------------------------------------------------------------------------------------

    def startService(self) -> None:
        super().startService()
        if not self._voice.state()[0]:
            self._known.lost(wall(self._clock))  # what is not known yet is as old as what is known no more

    def stopService(self) -> Deferred[None]:
        """Say goodbye for all that is ours, since nobody will answer for it, then leave."""
        return Deferred.fromCoroutine(self._leave())

    def register(self, service: Service, ttl: float | None) -> Deferred[None]:
        return Deferred.fromCoroutine(self._register(service, ttl))

    def deregister(self, service: Service) -> Deferred[None]:
        return Deferred.fromCoroutine(self._deregister(service))

    def get(self, name: str) -> Deferred[tuple[Service, ...]]:
        return Deferred.fromCoroutine(self._get(name))

    def list(self) -> Deferred[tuple[str, ...]]:
        return Deferred.fromCoroutine(self._list())

    def watch(self, notify: Callable[[Change], None]) -> IWatch:
        return cast(IWatch, self._watchers.add(notify))

    def state(self) -> BackendState:
        connected, detail = self._voice.state()
        return BackendState(self._voice.kind, connected, self._known.stale_since, detail)

    # --- what a voice needs -----------------------------------------------------------------------------------------

    @property
    def clock(self) -> IReactorTime:
        return self._clock

    def ours(self, name: str) -> tuple[Service, ...]:
        """What we answer to a question for ``name``."""
        return self._ours.get(name)

    def our_names(self) -> tuple[str, ...]:
        return self._ours.names()

    def heard(self, service: Service) -> None:
        """Somebody vouches for the nodes of ``service``."""
        now = self._clock.seconds()
        mine = {node.id for own in self._ours.get(service.name) for node in own.nodes}
        nodes = tuple(
            node for node in service.nodes if node.id not in mine and not self._is_echo(service.name, node.id, now)
        )
        if not nodes:
            return
        if not self._sightings.saw(service.name, (node.id for node in nodes), now):
            if not self._full_told:
                self._full_told = True
                self.log.warn("The {kind} registry is told of more nodes than it can remember", kind=self._voice.kind)
            return
        self._watchers.tell(self._known.put(evolve(service, nodes=nodes)))

    def parted(self, name: str, ids: Iterable[str]) -> None:
        """Somebody says goodbye for these nodes of his."""
        mine = {node.id for own in self._ours.get(name) for node in own.nodes}
        self._drop_others(name, [identity for identity in ids if identity not in mine], "delete")

    def named(self, name: str) -> None:
        """Somebody has a service of this name."""
        if len(self._names) < MAX_NAMES:
            self._names.add(name)

    def came(self) -> None:
        """The engine is in reach (again): tell it of ours, and hear of the others' afresh."""
        if self._known.found() and self._reached:
            self.log.info("The {kind} registry answers again", kind=self._voice.kind)
        self._reached = True
        self._sightings.excuse(self._clock.seconds())
        self._announce_all()

    def went(self) -> None:
        """The engine is out of reach: what is known stays."""
        if self._known.lost(wall(self._clock)):
            self.log.warn("The {kind} registry is out of reach; reads go on from memory", kind=self._voice.kind)

    def complain(self, record: str, why: str) -> None:
        """A record cannot be read: one log line."""
        if self._known.complain(record, why):
            self.log.warn("{kind}: {record} is skipped: {why}", kind=self._voice.kind, record=record, why=why)

    # --- writing ----------------------------------------------------------------------------------------------------

    async def _register(self, service: Service, ttl: float | None) -> None:
        self._voice.check(service)
        self._sweep()
        mine = {node.id for own in self._ours.get(service.name) for node in own.nodes}
        first = not all(node.id in mine for node in service.nodes)
        if first:
            # Nothing is kept of a registration that nobody could be told of.
            await self._voice.announce(service, True)
            self._take_in(service, ttl)
        else:
            news = self._take_in(service, ttl)
            await self._voice.announce(service, news)

    def _take_in(self, service: Service, ttl: float | None) -> bool:
        changes = self._ours.put(service)
        for node in service.nodes:
            key = (service.name, node.id)
            self._taken_out.pop(key, None)
            if ttl is None:
                self._leases.release(key)
            else:
                self._leases.hold(key, self._clock.seconds() + ttl)
        self._sightings.lost(service.name, (node.id for node in service.nodes))  # ours need nobody to vouch for them
        self._watchers.tell(self._known.put(service))
        self._wind()
        return bool(changes)

    async def _deregister(self, service: Service) -> None:
        self._sweep()
        await self._take_out(service.name, [node.id for node in service.nodes], "delete")
        self._wind()

    async def _take_out(self, name: str, ids: Sequence[str], action: Literal["delete", "expired"]) -> None:
        leaving = set(ids)
        parting = [
            evolve(own, nodes=tuple(node for node in own.nodes if node.id in leaving))
            for own in self._ours.get(name)
            if any(node.id in leaving for node in own.nodes)
        ]
        now = self._clock.seconds()
        for own in parting:
            for node in own.nodes:
                self._leases.release((name, node.id))
                self._taken_out[name, node.id] = now
        mine = [node.id for own in parting for node in own.nodes]
        self._ours.drop(name, mine, action)
        self._watchers.tell(self._known.drop(name, mine, action))
        for own in parting:
            await self._voice.retract(own)

    async def _leave(self) -> None:
        alarm, self._alarm = self._alarm, None
        if alarm is not None and alarm.active():
            alarm.cancel()
        if self.running and self._voice.state()[0]:
            for name in self._ours.names():
                for own in self._ours.get(name):
                    await self._quietly(self._voice.retract(own), "saying goodbye")
        for gathering in list(self._gatherings.values()):
            leaving, gathering.waiting = gathering.waiting, []
            for waiting in leaving:
                waiting.errback(EngineUnavailable("the registry is stopping"))
        self._gatherings.clear()
        await super().stopService()

    # --- reading ----------------------------------------------------------------------------------------------------

    async def _get(self, name: str) -> tuple[Service, ...]:
        self._sweep()
        if name in self._known and (self._sightings.follows(name) or not self._voice.state()[0]):
            self._sightings.wanted(name)
            return self._known.get(name)
        reachable, detail = self._voice.state()
        if not reachable:
            raise EngineUnavailable(
                f"{name!r} is not known here and the {self._voice.kind} registry cannot be asked: {detail}"
            )
        if name in self._gatherings or not self._sightings.asked_lately(name, self._clock.seconds()):
            await self._ask_anew(name)
        found = self._known.get(name)
        if not found:
            raise NotFound(f"no service {name!r} is registered (nobody on {self._voice.kind} answers for it)")
        return found

    async def _ask_anew(self, name: str) -> None:
        ousted = self._sightings.follow(name, self._clock.seconds())
        if ousted is not None:
            self._watchers.tell(self._known.drop(ousted, self._sightings.forget(ousted), "delete"))
        try:
            await self._gather(name)
        except EngineUnavailable:
            if name not in self._known:
                raise  # else the engine hangs, though its connection stands: the last answer is as good as without it
        self._sweep()

    async def _list(self) -> tuple[str, ...]:
        self._sweep()
        if self._voice.state()[0]:
            former = self._names
            try:
                await self._gather(None)
            except EngineUnavailable:
                self._names = self._names | former
            self._sweep()
        return tuple(sorted(self._names.union(self._known.names())))

    def _gather(self, name: str | None) -> Deferred[None]:
        """Ask for ``name`` (None: for all names) and wait; who asks meanwhile waits for the same answers."""
        gathering = self._gatherings.get(name)
        if gathering is None:
            gathering = self._gatherings[name] = _Gathering()
            if name is None:
                self._names = set()
            asking = Deferred.fromCoroutine(self._ask(name))
            asking.addBoth(self._gathered, name, gathering)
        done: Deferred[None] = Deferred(gathering.waiting.remove)
        gathering.waiting.append(done)
        return done

    async def _ask(self, name: str | None) -> None:
        await (self._voice.ask_names() if name is None else self._voice.ask(name))
        await deferLater(self._clock, GATHER)

    def _gathered(self, outcome: Failure | None, name: str | None, gathering: _Gathering) -> None:
        if self._gatherings.get(name) is gathering:
            del self._gatherings[name]
        waiting, gathering.waiting = gathering.waiting, []
        for done in waiting:
            done.callback(outcome)

    # --- time -------------------------------------------------------------------------------------------------------

    def _beat(self) -> Deferred[None]:
        now = self._clock.seconds()
        self._taken_out = {key: when for key, when in self._taken_out.items() if when + ECHO > now}
        if not self._voice.state()[0]:
            return succeed(None)  # nobody can be heard, so silence says nothing
        for name in self._sightings.due(now, MOST_QUESTIONS):
            self._quietly(self._voice.ask(name), f"asking for {name}")
        for name, ids in self._sightings.expire(now):
            self._watchers.tell(self._known.drop(name, ids, "expired"))
        if self._voice.heartbeat is not None and now >= self._heartbeat_due:
            self._announce_all()
        return succeed(None)

    def _announce_all(self) -> None:
        self._heartbeat_due = self._clock.seconds() + (self._voice.heartbeat or 0.0)
        for own in self._everything_of_ours():
            self._quietly(self._voice.announce(own, True), f"announcing {own.name}")

    def _everything_of_ours(self) -> Iterator[Service]:
        for name in self._ours.names():
            yield from self._ours.get(name)

    def _sweep(self) -> None:
        """Let go of what is due of ours, before anybody is answered."""
        for name, identity in self._leases.expire(self._clock.seconds()):
            self._quietly(Deferred.fromCoroutine(self._take_out(name, [identity], "expired")), f"retracting {identity}")

    def _wind(self) -> None:
        """Have one timer at the next deadline of ours."""
        deadline = self._leases.next()
        alarm, self._alarm = self._alarm, None
        if alarm is not None and alarm.active():
            alarm.cancel()
        if deadline is not None:
            wait = min(max(0.0, deadline - self._clock.seconds()), LONGEST_WAIT)
            self._alarm = self._clock.callLater(wait, self._ring)

    def _ring(self) -> None:
        self._alarm = None
        self._sweep()
        self._wind()

    # --- small ------------------------------------------------------------------------------------------------------

    def _is_echo(self, name: str, identity: str, now: float) -> bool:
        """Whether this is likely an answer of our own from before we took the node out."""
        taken_out = self._taken_out.get((name, identity))
        return taken_out is not None and taken_out + ECHO > now

    def _drop_others(self, name: str, ids: Sequence[str], action: Literal["delete", "expired"]) -> None:
        self._sightings.lost(name, ids)
        self._watchers.tell(self._known.drop(name, ids, action))

    def _quietly(self, work: Deferred[None], what: str) -> Deferred[None]:
        """Let ``work`` fail with no more than a line: it comes again by itself."""

        def failed(failure: Failure) -> None:
            if failure.check(SidecarError) is None:
                self.log.failure("{kind}: {what}", failure, kind=self._voice.kind, what=what)
            else:
                self.log.debug("{kind}: {what}: {why}", kind=self._voice.kind, what=what, why=failure.value)

        return work.addErrback(failed)
