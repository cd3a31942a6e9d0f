"""A registry without a server: each process answers for its own services, and everybody asks everybody.

What all of that kind have in common is here; how questions and answers travel is the transport's business
(:mod:`sidecar.registry.peers.mdns`, :mod:`sidecar.registry.peers.nats`). Names once asked for are asked for again and
again, so that reads come from memory and nodes that fell silent drop out; goodbyes and announcements count at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import cast

from attrs import define, evolve, field
from twisted.application import service
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from sidecar.errors import EngineUnavailable, NotFound, SidecarError
from sidecar.interfaces import IRegistry, IWatch, IWatcher
from sidecar.lifecycle import PeriodicService
from sidecar.model import UNSAID, BackendState, Caller, Cause, Service
from sidecar.registry.leases import EXPIRED
from sidecar.registry.peers.lastseen import LastSeen
from sidecar.registry.peers.own import OwnServices
from sidecar.registry.peers.transport import PeerTransport
from sidecar.registry.remote.mirror import Mirror
from sidecar.registry.watchers import Watchers
from sidecar.waiting import Alarm, AskOnce, wall

#: Seconds that answers to a question are gathered before the asker is answered.
GATHER = 0.1
#: Seconds that an asker waits for the first attempt to reach the peers.
PATIENCE = 3.0
#: Seconds until a node of ours that somebody took leave of is announced again.
RETURN = 0.3
#: Seconds between two looks at what is due, and questions asked at one of them.
BEAT, MOST_QUESTIONS = 0.5, 50
#: Names that one listing may give.
MAX_NAMES = 20_000


@implementer(IRegistry)
@define(eq=False, slots=False, init=False)
class PeerRegistry(service.MultiService):
    """Our own registrations, exactly; and the others', as far as they were heard of."""

    log = Logger()
    _transport: PeerTransport = field()

    def __init__(self, clock: IReactorTime, transport: PeerTransport) -> None:
        super().__init__()
        self._clock = clock
        self._transport = transport
        self._engine = f"engine {transport.kind}"
        self._watchers = Watchers(clock)
        self._own = OwnServices()
        self._known = Mirror()
        self._last_seen = LastSeen()
        self._questions: AskOnce[str | None, None] = AskOnce()
        self._names: set[str] = set()
        self._alarm = Alarm(clock, self._ring)
        self._heartbeat_due = 0.0
        self._full_told = False
        self._reached = False
        self._leaving = False
        transport.attach(self).setServiceParent(self)
        PeriodicService(
            clock, BEAT, self._beat, f"looking after the {transport.kind} registry", now=False
        ).setServiceParent(self)

    # --- IRegistry --------------------------------------------------------------------------------------------------

    def startService(self) -> None:
        super().startService()
        if not self._transport.state()[0]:
            self._known.lost(wall(self._clock))  # what is not known yet is as old as what is known no more

    def stopService(self) -> Deferred[None]:
        """Say goodbye for all that is ours, since nobody will answer for it, then leave."""
        return Deferred.fromCoroutine(self._leave())

    def register(self, service: Service, ttl: float | None, caller: Caller, cause: Cause = UNSAID) -> Deferred[None]:
        return Deferred.fromCoroutine(self._register(service, ttl, cause.asked_by(caller)))

    def deregister(self, service: Service, caller: Caller, cause: Cause = UNSAID) -> Deferred[None]:
        return Deferred.fromCoroutine(self._deregister(service, cause.asked_by(caller)))

    def get(self, name: str) -> Deferred[tuple[Service, ...]]:
        return Deferred.fromCoroutine(self._get(name))

    def list(self) -> Deferred[tuple[str, ...]]:
        return Deferred.fromCoroutine(self._list())

    def watch(self, watcher: IWatcher) -> IWatch:
        return cast(IWatch, self._watchers.add(watcher))

    def state(self) -> BackendState:
        connected, detail = self._transport.state()
        return BackendState(self._transport.kind, connected, self._known.stale_since, detail)

    # --- PeerListener -----------------------------------------------------------------------------------------------

    def own(self, name: str) -> tuple[Service, ...]:
        return self._own.get(name)

    def own_names(self) -> tuple[str, ...]:
        return self._own.names()

    def on_announced(self, service: Service) -> None:
        now = self._clock.seconds()
        own = self._own.ids(service.name)
        nodes = tuple(
            node for node in service.nodes if node.id not in own and not self._own.is_echo(service.name, node.id, now)
        )
        if not nodes:
            return
        if not self._last_seen.saw(service.name, (node.id for node in nodes), now):
            if not self._full_told:
                self._full_told = True
                self.log.warn(
                    "The {kind} registry is told of more nodes than it can remember", kind=self._transport.kind
                )
            return
        self._watchers.tell(self._known.put(evolve(service, nodes=nodes), Cause(by=self._engine)))

    def on_goodbye(self, name: str, ids: Iterable[str]) -> None:
        own = self._own.ids(name)
        gone = list(ids)
        self._drop_others(name, [identity for identity in gone if identity not in own], Cause(by=self._engine))
        if own.intersection(gone):
            # Somebody took a node of ours out, or left who had its id before: it is here, which all are to hear.
            self._clock.callLater(RETURN, self._announce_again, name)

    def on_name(self, name: str) -> None:
        if len(self._names) < MAX_NAMES:
            self._names.add(name)

    def on_up(self) -> None:
        """Tell the peers of ours, and hear of theirs afresh."""
        if self._known.found() and self._reached:
            self.log.info("The {kind} registry answers again", kind=self._transport.kind)
        self._reached = True
        self._last_seen.excuse(self._clock.seconds())
        self._announce_all()

    def on_down(self) -> None:
        """What is known stays."""
        if self._leaving:
            return  # we ended it ourselves
        if self._known.lost(wall(self._clock)):
            self.log.warn("The {kind} registry is out of reach; reads go on from memory", kind=self._transport.kind)

    def report_malformed(self, record: str, why: str) -> None:
        if self._known.report_malformed(record, why):
            self.log.warn("{kind}: {record} is skipped: {why}", kind=self._transport.kind, record=record, why=why)

    # --- writing ----------------------------------------------------------------------------------------------------

    async def _register(self, service: Service, ttl: float | None, cause: Cause) -> None:
        self._transport.check(service)
        await self._first_attempt()
        self._expire()
        own = self._own.ids(service.name)
        first = not all(node.id in own for node in service.nodes)
        if first:
            # Nothing is kept of a registration that nobody could be told of.
            await self._transport.announce(service, True)
            self._put_own(service, ttl, cause)
        else:
            news = self._put_own(service, ttl, cause)
            await self._transport.announce(service, news)

    def _put_own(self, service: Service, ttl: float | None, cause: Cause) -> bool:
        news = self._own.put(service, ttl, self._clock.seconds())
        self._last_seen.lost(service.name, (node.id for node in service.nodes))  # ours need nobody to vouch for them
        self._watchers.tell(self._known.put(service, cause))
        self._alarm.set(self._own.next_deadline())
        return news

    async def _deregister(self, service: Service, cause: Cause) -> None:
        self._expire()
        await self._withdraw(service.name, [node.id for node in service.nodes], cause)
        self._alarm.set(self._own.next_deadline())

    async def _withdraw(self, name: str, ids: Sequence[str], cause: Cause) -> None:
        taken = self._own.take(name, set(ids), self._clock.seconds())
        own = [node.id for each in taken for node in each.nodes]
        self._watchers.tell(self._known.drop(name, own, cause))
        for each in taken:
            await self._transport.withdraw(each)

    async def _leave(self) -> None:
        self._leaving = True
        self._alarm.cancel()
        if self.running and self._transport.state()[0]:
            for own in list(self._own.everything()):
                await self._quietly(self._transport.withdraw(own), "saying goodbye")
        self._questions.fail(EngineUnavailable("the registry is stopping"))
        await super().stopService()

    # --- reading ----------------------------------------------------------------------------------------------------

    async def _first_attempt(self) -> None:
        """Wait for the first attempt to reach the peers, while it is being made."""
        if not self._transport.state()[0] and not self._reached:
            trying = self._transport.first_attempt()
            await trying.addTimeout(PATIENCE, self._clock, onTimeoutCancel=lambda _, __: None)

    async def _get(self, name: str) -> tuple[Service, ...]:
        await self._first_attempt()
        self._expire()
        if name in self._known and (self._last_seen.follows(name) or not self._transport.state()[0]):
            self._last_seen.wanted(name)
            return self._known.get(name)
        reachable, detail = self._transport.state()
        if not reachable:
            raise EngineUnavailable(
                f"{name!r} is not known here and the {self._transport.kind} registry cannot be asked: {detail}"
            )
        if name in self._questions or not self._last_seen.asked_lately(name, self._clock.seconds()):
            await self._ask_anew(name)
        found = self._known.get(name)
        if not found:
            raise NotFound(f"no service {name!r} is registered (nobody on {self._transport.kind} answers for it)")
        return found

    async def _ask_anew(self, name: str) -> None:
        ousted = self._last_seen.follow(name, self._clock.seconds())
        if ousted is not None:
            # Its nodes may well be there still: nobody asks for them any more.
            self._known.drop(ousted, self._last_seen.forget(ousted))
            self._watchers.invalidate(ousted)
        try:
            await self._gather(name)
        except EngineUnavailable:
            if name not in self._known:
                raise  # else the engine hangs, though its connection stands: the last answer is as good as without it
        self._expire()

    async def _list(self) -> tuple[str, ...]:
        await self._first_attempt()
        self._expire()
        reachable, detail = self._transport.state()
        if not reachable and not self._reached and not self._known.names():
            raise EngineUnavailable(f"the {self._transport.kind} registry cannot be asked: {detail}")
        if self._transport.state()[0]:
            former = self._names
            try:
                await self._gather(None)
            except EngineUnavailable:
                self._names = self._names | former
            self._expire()
        return tuple(sorted(self._names.union(self._known.names())))

    def _gather(self, name: str | None) -> Deferred[None]:
        """Ask for ``name`` (None: for all names) and wait; who asks meanwhile waits for the same answers."""
        return self._questions.ask(name, lambda: Deferred.fromCoroutine(self._ask(name)))

    async def _ask(self, name: str | None) -> None:
        if name is None:
            self._names = set()
            await self._transport.query_names()
        else:
            await self._transport.query(name)
        await deferLater(self._clock, GATHER)

    # --- time -------------------------------------------------------------------------------------------------------

    def _beat(self) -> Deferred[None]:
        now = self._clock.seconds()
        self._own.forget_withdrawn(now)
        if not self._transport.state()[0]:
            return succeed(None)  # nobody can be heard, so silence says nothing
        for name in self._last_seen.due(now, MOST_QUESTIONS):
            self._quietly(self._transport.query(name), f"asking for {name}")
        for name, ids, patience in self._last_seen.expire(now):
            silent = Cause("expired", f"not heard of for {patience:g} s", self._engine)
            self._watchers.tell(self._known.drop(name, ids, silent))
        if self._transport.heartbeat is not None and now >= self._heartbeat_due:
            self._announce_all()
        return succeed(None)

    def _announce_again(self, name: str) -> None:
        for own in self._own.get(name) if self.running else ():
            self._quietly(self._transport.announce(own, True), f"announcing {name} again")

    def _announce_all(self) -> None:
        self._heartbeat_due = self._clock.seconds() + (self._transport.heartbeat or 0.0)
        for own in list(self._own.everything()):
            self._quietly(self._transport.announce(own, True), f"announcing {own.name}")

    def _expire(self) -> None:
        """Let go of what is due of ours, before anybody is answered."""
        for name, identity in self._own.expired(self._clock.seconds()):
            leaving = Deferred.fromCoroutine(self._withdraw(name, [identity], EXPIRED))
            self._quietly(leaving, f"withdrawing {identity}")

    def _ring(self) -> None:
        self._expire()
        self._alarm.set(self._own.next_deadline())

    # --- small ------------------------------------------------------------------------------------------------------

    def _drop_others(self, name: str, ids: Sequence[str], cause: Cause) -> None:
        self._last_seen.lost(name, ids)
        self._watchers.tell(self._known.drop(name, ids, cause))

    def _quietly(self, work: Deferred[None], what: str) -> Deferred[None]:
        """Let ``work`` fail with no more than a line: it comes again by itself."""

        def failed(failure: Failure) -> None:
            if failure.check(SidecarError) is None:
                self.log.failure("{kind}: {what}", failure, kind=self._transport.kind, what=what)
            else:
                self.log.debug("{kind}: {what}: {why}", kind=self._transport.kind, what=what, why=failure.value)

        return work.addErrback(failed)
