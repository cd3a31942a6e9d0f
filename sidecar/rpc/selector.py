"""Which node next: the nodes of each service that is called, kept at hand and kept true by a watch."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from random import Random
from typing import Final, TypeVar, cast

from twisted.application import service
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from sidecar.errors import CallError, ConfigError, EngineUnavailable
from sidecar.interfaces import IRegistry, ISelector, IWatch, IWatcher
from sidecar.model import Change, Node, Outcome, Service
from sidecar.rpc.ejection import USUAL, Ejected, Ejection, EjectionLimits
from sidecar.rpc.servicenodes import ServiceNodes
from sidecar.rpc.strategy import STRATEGIES, Candidates, rest
from sidecar.waiting import AskOnce

#: Services whose nodes are kept; the one that was looked up longest ago makes room.
MAX_SERVICES = 65_536
#: How often another node is asked for where one that came back lately leaves a call to others.
_TURNS: Final = 3
#: Addresses whose service is kept at hand.
_MOST_ADDRESSES: Final = 262_144
T = TypeVar("T")

#: Looking a member up in an Enum costs a call more than it should.
_ANSWERED: Final = Outcome.ANSWERED
_FAULT: Final = Outcome.FAULT


@implementer(ISelector, IWatcher)
class Selector(service.Service):
    """Chooses from memory. The registry is asked about a service when it is called first, and again after a change."""

    log = Logger()

    def __init__(
        self,
        registry: IRegistry,
        strategy: str,
        random: Random,
        clock: IReactorTime,
        ejection: EjectionLimits = USUAL,
        max_services: int = MAX_SERVICES,
    ) -> None:
        """:param strategy: ``random``, ``roundrobin`` or ``leastbusy``."""
        if strategy not in STRATEGIES:
            raise ConfigError(f"selector {strategy}: there is none of that name; use {', '.join(STRATEGIES)}")
        self._registry = registry
        self._random = random
        self._strategy = STRATEGIES[strategy](random)
        self._counts = self._strategy.counts
        self._seconds = clock.seconds
        self._ejection = Ejection(ejection, random)
        #: The service of each address, where it has others.
        self._by_address: dict[tuple[str, int], ServiceNodes] = {}
        self._max_services = max_services
        self._known: dict[str, ServiceNodes] = {}
        self._lookups: AskOnce[str, ServiceNodes] = AskOnce()
        #: Services that changed since the registry was asked about them, so that its answer may be of before.
        self._outdated: set[str] = set()
        self._watch: IWatch | None = None

    def startService(self) -> None:
        super().startService()
        self._watch = self._registry.watch(self)

    def stopService(self) -> None:
        super().stopService()
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None
        self._known.clear()
        self._by_address.clear()

    # --- ISelector --------------------------------------------------------------------------------------------------

    def first(self, name: str, version: str | None) -> Node | Deferred[Node]:
        entry = self._known.get(name)
        if entry is None or entry.stale:
            found = self._look_up(name)
            if isinstance(found, Deferred):
                return found.addCallback(self._first_of, name, version)
            entry = found
        candidates = entry.candidates if version is None else entry.of_version(name, version)
        if self._ejection.noted:
            return self._first_allowed(candidates)
        if candidates.only is not None:
            return candidates.only
        return candidates.nodes[self._strategy.first(candidates)]

    def others(self, name: str, version: str | None, tried: Node) -> Iterator[Node]:
        entry = self._known.get(name)
        if entry is not None:
            nodes = rest(entry.of_version(name, version), tried, self._random)
            # What is ejected comes last, and is better than nothing.
            yield from sorted(nodes, key=self.takes_calls, reverse=True) if self._ejection.noted else nodes

    def find(self, name: str, address: str, version: str | None) -> Node | Deferred[Node | None] | None:
        entry = self._known.get(name)
        found = entry if entry is not None and not entry.stale else self._look_up(name)
        if isinstance(found, Deferred):
            return found.addCallback(lambda entry: entry.at(name, address, version))
        return found.at(name, address, version)

    def takes_calls(self, node: Node) -> bool:
        return not self._ejection.is_out((node.address, node.port))

    def began(self, node: Node) -> None:
        if self._counts:
            self._strategy.began(node)

    def ended(self, node: Node, outcome: Outcome) -> None:
        if self._counts:
            self._strategy.ended(node)
        address, ejection = (node.address, node.port), self._ejection
        if outcome is _ANSWERED or outcome is _FAULT:
            if not ejection.answered(address):
                ejection.returned(address, self._seconds())
        else:
            entry = self._by_address.get(address)
            peers = () if entry is None else entry.candidates.by_address
            ejection.failed(address, outcome, self._seconds(), peers)

    def ejected(self) -> tuple[Ejected, ...]:
        """The addresses that get no calls now."""
        return self._ejection.ejected(self._seconds())

    @property
    def ejections(self) -> int:
        """How often an address was ejected since the start."""
        return self._ejection.ejections

    # --- Within -----------------------------------------------------------------------------------------------------

    def _first_of(self, entry: ServiceNodes, name: str, version: str | None) -> Node:
        candidates = entry.of_version(name, version)
        if self._ejection.noted:
            return self._first_allowed(candidates)
        return candidates.nodes[self._strategy.first(candidates)]

    def _first_allowed(self, candidates: Candidates) -> Node:
        """The same while some addresses are ejected, or on their way back."""
        ejection, now = self._ejection, self._seconds()
        ejection.tidy(now)
        known = candidates.by_address
        if len(known) > 1:
            for address in ejection.noted:
                if address in known and ejection.probe_due(address, now):
                    return known[address]
        if candidates.reduced is None or candidates.reduced[0] != ejection.generation:
            out = ejection.heeded(known)
            nodes = (*candidates.nodes, *candidates.reserve)
            left = tuple(node for node in nodes if (node.address, node.port) not in out) if out else nodes
            candidates.reduced = ejection.generation, Candidates.of(left) if out else candidates
        reduced = candidates.reduced[1]
        chosen = reduced.nodes[self._strategy.first(reduced)]
        for _ in range(_TURNS):
            if not ejection.declines((chosen.address, chosen.port), now):
                break
            chosen = reduced.nodes[self._strategy.first(reduced)]
        return chosen

    # --- Keeping true -----------------------------------------------------------------------------------------------

    def changed(self, change: Change) -> None:
        self.invalidated(change.service.name)

    def invalidated(self, name: str) -> None:
        entry = self._known.get(name)
        if entry is not None:
            entry.stale = True
        if name in self._lookups:
            self._outdated.add(name)

    def _look_up(self, name: str) -> ServiceNodes | Deferred[ServiceNodes]:
        """The entry at once where the registry answers at once. However many ask, the registry is asked once."""
        looking = self._lookups.ask(name, partial(self._ask, name))
        if not looking.called:
            return looking
        found = looking.result
        if isinstance(found, Failure):
            looking.addErrback(lambda _: None)
            found.raiseException()
        return cast(ServiceNodes, found)

    def _ask(self, name: str) -> Deferred[ServiceNodes]:
        self._outdated.discard(name)
        asked = self._registry.get(name)
        found = asked.addCallbacks(self._entry_of, self._fallen_back, callbackArgs=(name,), errbackArgs=(name,))
        return found.addBoth(self._looked_up, name)

    def _looked_up(self, found: T, name: str) -> T:
        self._outdated.discard(name)
        return found

    def _entry_of(self, services: tuple[Service, ...], name: str) -> ServiceNodes:
        try:
            fresh = ServiceNodes.of(name, services)
        except CallError:
            self._known.pop(name, None)
            raise
        entry = self._known.pop(name, None)
        if entry is None or not entry.same(fresh):
            if entry is not None:
                fresh.candidates.turn = entry.candidates.turn  # the round goes on
            entry = fresh
        entry.stale = name in self._outdated
        if len(self._known) >= self._max_services:
            del self._known[next(iter(self._known))]
        if self.running:  # else nobody would tell when it is no longer true
            self._known[name] = entry
            if len(entry.candidates.by_address) > 1:
                if len(self._by_address) > _MOST_ADDRESSES:
                    self._by_address.clear()
                self._by_address.update(dict.fromkeys(entry.candidates.by_address, entry))
        return entry

    def _fallen_back(self, failure: Failure, name: str) -> ServiceNodes:
        entry = self._known.get(name)
        if entry is None or not failure.check(EngineUnavailable):
            self._known.pop(name, None)
            failure.raiseException()
        assert entry is not None
        return entry  # the engine is away: what it said last is the best there is
