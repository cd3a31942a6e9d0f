"""Which node next: the nodes of each service that is called, kept at hand and kept true by a watch."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random
from typing import Any

from attrs import define, field
from twisted.application import service
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from sidecar.errors import ConfigError, EngineUnavailable, NoNodes, NotFound
from sidecar.interfaces import IRegistry, ISelector, IWatch, IWatcher
from sidecar.model import Change, Node, Outcome, Service
from sidecar.rpc.strategy import STRATEGIES, Candidates, rest

#: Services whose nodes are kept; the one that was looked up longest ago makes room.
MAX_SERVICES = 65_536


@define(eq=False)
class _Entry:
    """What is known of one service.

    :ivar versions: its nodes by version, in the registry's order.
    :ivar narrowed: the candidates of single versions, made when one is asked for.
    :ivar stale: a change was told; it serves only where the registry cannot.
    """

    versions: dict[str, tuple[Node, ...]]
    candidates: Candidates
    by_address: dict[str, Node]
    narrowed: dict[str, Candidates] = field(factory=dict)
    stale: bool = False

    @classmethod
    def of(cls, versions: dict[str, tuple[Node, ...]]) -> _Entry:
        nodes = tuple(node for each in versions.values() for node in each)
        return cls(versions, Candidates.of(nodes), {node.hostport: node for node in reversed(nodes)})

    def of_version(self, name: str, version: str | None) -> Candidates:
        """The candidates of one version, or of all (None). :raises NotFound: it has no node of that version."""
        if version is None:
            return self.candidates
        candidates = self.narrowed.get(version)
        if candidates is None:
            nodes = self.versions.get(version)
            if not nodes:
                there = ", ".join(each or '""' for each, nodes in self.versions.items() if nodes)
                raise NotFound(f"{name}: no node of version {version}; there are nodes of {there}")
            candidates = self.narrowed[version] = Candidates.of(nodes)
        return candidates

    def at(self, name: str, address: str, version: str | None) -> Node | None:
        """The node at ``address``, None where there is none. :raises NotFound: it has no node of that version."""
        if version is None:
            return self.by_address.get(address)
        candidates = self.of_version(name, version)
        return next((node for node in (*candidates.nodes, *candidates.reserve) if node.hostport == address), None)


@define(eq=False)
class _Lookup:
    """A question to the registry that is under way, and who waits for its answer.

    :ivar outdated: something changed meanwhile, so that the answer may be of before."""

    waiting: list[Deferred[_Entry]]
    outdated: bool = False


@implementer(ISelector, IWatcher)
class Selector(service.Service):
    """Chooses from memory. The registry is asked about a service when it is called first, and again after a change."""

    log = Logger()

    def __init__(self, registry: IRegistry, strategy: str, random: Random, max_services: int = MAX_SERVICES) -> None:
        """:param strategy: ``random``, ``roundrobin`` or ``leastbusy``."""
        if strategy not in STRATEGIES:
            raise ConfigError(f"selector {strategy}: there is none of that name; use {', '.join(STRATEGIES)}")
        self._registry = registry
        self._random = random
        self._strategy = STRATEGIES[strategy](random)
        self._counts = self._strategy.counts
        self._max_services = max_services
        self._known: dict[str, _Entry] = {}
        self._lookups: dict[str, _Lookup] = {}
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

    # --- ISelector --------------------------------------------------------------------------------------------------

    def first(self, name: str, version: str | None) -> Node | Deferred[Node]:
        entry = self._known.get(name)
        if entry is None or entry.stale:
            found = self._look_up(name)
            if isinstance(found, Deferred):
                return found.addCallback(self._first_of, name, version)
            entry = found
        candidates = entry.candidates if version is None else entry.of_version(name, version)
        if candidates.only is not None:
            return candidates.only
        return candidates.nodes[self._strategy.first(candidates)]

    def others(self, name: str, version: str | None, tried: Node) -> Iterator[Node]:
        entry = self._known.get(name)
        if entry is not None:
            yield from rest(entry.of_version(name, version), tried, self._random)

    def find(self, name: str, address: str, version: str | None) -> Node | Deferred[Node | None] | None:
        entry = self._known.get(name)
        found = entry if entry is not None and not entry.stale else self._look_up(name)
        if isinstance(found, Deferred):
            return found.addCallback(lambda entry: entry.at(name, address, version))
        return found.at(name, address, version)

    def began(self, node: Node) -> None:
        if self._counts:
            self._strategy.began(node)

    def ended(self, node: Node, outcome: Outcome) -> None:
        if self._counts:
            self._strategy.ended(node)

    def _first_of(self, entry: _Entry, name: str, version: str | None) -> Node:
        candidates = entry.of_version(name, version)
        return candidates.nodes[self._strategy.first(candidates)]

    # --- Keeping true -----------------------------------------------------------------------------------------------

    def changed(self, change: Change) -> None:
        self.invalidated(change.service.name)

    def invalidated(self, name: str) -> None:
        entry = self._known.get(name)
        if entry is not None:
            entry.stale = True
        lookup = self._lookups.get(name)
        if lookup is not None:
            lookup.outdated = True

    def _look_up(self, name: str) -> _Entry | Deferred[_Entry]:
        """The entry at once where the registry answers at once. However many ask, the registry is asked once."""
        lookup = self._lookups.get(name)
        if lookup is None:
            lookup = self._lookups[name] = _Lookup([])
            asked = self._registry.get(name)
            result: list[Any] = []
            asked.addCallbacks(self._entry_of, self._fallen_back, callbackArgs=(name, lookup), errbackArgs=(name,))
            asked.addBoth(self._tell, name, lookup, result)
            if result:
                if isinstance(result[0], Failure):
                    result[0].raiseException()
                return result[0]
        # A caller that gives up must not take the answer from the others.
        waiting: Deferred[_Entry] = Deferred(
            lambda gone: lookup.waiting.remove(gone) if gone in lookup.waiting else None
        )
        lookup.waiting.append(waiting)
        return waiting

    def _entry_of(self, services: tuple[Service, ...], name: str, lookup: _Lookup) -> _Entry:
        versions: dict[str, tuple[Node, ...]] = {}
        for each in services:
            versions[each.version] = versions.get(each.version, ()) + each.nodes
        if not any(versions.values()):
            self._known.pop(name, None)
            raise NoNodes(f"{name}: the service is registered and has no node; start one")
        entry = self._known.pop(name, None)
        if entry is None or entry.versions != versions:
            fresh = _Entry.of(versions)
            if entry is not None:
                fresh.candidates.turn = entry.candidates.turn  # the round goes on
            entry = fresh
        entry.stale = lookup.outdated
        if len(self._known) >= self._max_services:
            del self._known[next(iter(self._known))]
        if self.running:  # else nobody would tell when it is no longer true
            self._known[name] = entry
        return entry

    def _fallen_back(self, failure: Failure, name: str) -> _Entry:
        entry = self._known.get(name)
        if entry is None or not failure.check(EngineUnavailable):
            self._known.pop(name, None)
            failure.raiseException()
        assert entry is not None
        return entry  # the engine is away: what it said last is the best there is

    def _tell(self, outcome: Any, name: str, lookup: _Lookup, result: list[Any]) -> None:
        del self._lookups[name]
        if not lookup.waiting:
            result.append(outcome)
        for waiting in tuple(lookup.waiting):
            if not waiting.called:
                waiting.callback(outcome)
