"""What this process registered in a registry without a server: we answer for it until its time is over. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from attrs import define, evolve, field

from sidecar.model import Service
from sidecar.registry.catalog import Catalog
from sidecar.registry.leases import Leases

#: Seconds in which an echo of a node that we took out is not believed.
ECHO = 1.0


@define(eq=False)
class OwnServices:
    """Our services, each node with its deadline. Times are ``now: float`` seconds."""

    _catalog: Catalog = field(factory=Catalog)
    _leases: Leases[tuple[str, str]] = field(factory=Leases)
    #: When each node was taken out.
    _withdrawn: dict[tuple[str, str], float] = field(factory=dict)

    def get(self, name: str) -> tuple[Service, ...]:
        return self._catalog.get(name)

    def names(self) -> tuple[str, ...]:
        return self._catalog.names()

    def ids(self, name: str) -> set[str]:
        """The ids of the nodes of ``name``."""
        return {node.id for own in self._catalog.get(name) for node in own.nodes}

    def everything(self) -> Iterator[Service]:
        for name in self.names():
            yield from self.get(name)

    def put(self, service: Service, ttl: float | None, now: float) -> bool:
        """Add or renew nodes. :returns: whether that is more than a renewal."""
        changes = self._catalog.put(service)
        for node in service.nodes:
            key = (service.name, node.id)
            self._withdrawn.pop(key, None)
            if ttl is None:
                self._leases.remove(key)
            else:
                self._leases.set(key, now + ttl)
        return bool(changes)

    def take(self, name: str, ids: Collection[str], now: float) -> list[Service]:
        """Take nodes out. :returns: those of them that were there, by version."""
        taken = [
            evolve(own, nodes=tuple(node for node in own.nodes if node.id in ids))
            for own in self._catalog.get(name)
            if any(node.id in ids for node in own.nodes)
        ]
        for own in taken:
            for node in own.nodes:
                self._leases.remove((name, node.id))
                self._withdrawn[name, node.id] = now
        self._catalog.drop(name, [node.id for own in taken for node in own.nodes])
        return taken

    def next_deadline(self) -> float | None:
        """When the first node's time is over, None where none's ever is."""
        return self._leases.next()

    def expired(self, now: float) -> list[tuple[str, str]]:
        """:returns: name and id of the nodes whose time is over, once each; they are still to be taken out."""
        return self._leases.expire(now)

    def is_echo(self, name: str, identity: str, now: float) -> bool:
        """Whether word of this node is likely an answer of our own from before we took it out."""
        withdrawn = self._withdrawn.get((name, identity))
        return withdrawn is not None and withdrawn + ECHO > now

    def forget_withdrawn(self, now: float) -> None:
        """Let go of what no echo can come of any more."""
        self._withdrawn = {key: when for key, when in self._withdrawn.items() if when + ECHO > now}
