"""Whose a registration is, where callers have names: nobody else takes it over or takes it out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from attrs import define, field

from sidecar.errors import Conflict, Forbidden
from sidecar.model import Caller, Service

#: So many nodes are remembered; the ones that were registered longest ago are forgotten first.
_MOST: Final = 100_000


@define(eq=False)
class Ownership:
    """Remembers who registered which node, for as long as the registration lives."""

    _seconds: Callable[[], float]
    _owners: dict[tuple[str, str], tuple[str, float | None]] = field(factory=dict, init=False)

    def check_register(self, service: Service, caller: Caller) -> None:
        """:raises Conflict: a node of ``service`` is somebody else's."""
        for id, owner in self._others(service, caller):
            raise Conflict(f"the node {id!r} of {service.name} was registered by {owner}: choose another id")

    def check_deregister(self, service: Service, caller: Caller) -> None:
        """:raises Forbidden: a node of ``service`` is somebody else's."""
        for id, owner in self._others(service, caller):
            raise Forbidden(
                f"the node {id!r} of {service.name} was registered by {owner}, who alone takes it out; so can the role"
                " admin"
            )

    def registered(self, service: Service, ttl: float | None, caller: Caller) -> None:
        """:param ttl: seconds that the registration lives, None for ever."""
        if not caller.name:
            return
        until = None if ttl is None else self._seconds() + ttl
        for node in service.nodes:
            # Out and in again, so that the order is that of registering.
            self._owners.pop((service.name, node.id), None)
            self._owners[service.name, node.id] = (caller.name, until)
        while len(self._owners) > _MOST:
            del self._owners[next(iter(self._owners))]

    def deregistered(self, service: Service) -> None:
        for node in service.nodes:
            self._owners.pop((service.name, node.id), None)

    def _others(self, service: Service, caller: Caller) -> Iterator[tuple[str, str]]:
        """The nodes of ``service`` that are not the caller's to change, and whose they are."""
        if not self._owners or ("admin" in caller.roles and caller.name):
            return
        for node in service.nodes:
            owner, until = self._owners.get((service.name, node.id), ("", None))
            if owner and owner != caller.name and (until is None or until > self._seconds()):
                yield node.id, owner
