"""Services in memory, by name, version and node, with each alteration told as Changes. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from attrs import define, evolve, field

from sidecar.model import UNSAID, Action, Cause, Change, Node, Service


@define(eq=False)
class _Version:
    """One version of a service. A hundred thousand of these must stay small."""

    #: Name, version, metadata and endpoints hold always; the nodes in it only while ``fresh``.
    service: Service
    nodes: dict[str, Node]
    fresh: bool = True

    def whole(self) -> Service:
        if not self.fresh:
            self.service = evolve(self.service, nodes=tuple(self.nodes.values()))
            self.fresh = True
        return self.service

    def headed_like(self, service: Service) -> bool:
        mine = self.service
        return mine.metadata == service.metadata and mine.endpoints == service.endpoints


@define(eq=False)
class Catalog:
    """What is registered. A node's id is unique within its service: under another version it moves there."""

    _services: dict[str, tuple[_Version, ...]] = field(factory=dict)
    _names: tuple[str, ...] | None = ()

    def __len__(self) -> int:
        return len(self._services)

    def __contains__(self, name: str) -> bool:
        return name in self._services

    def get(self, name: str) -> tuple[Service, ...]:
        """One service a version; empty where there is none."""
        return tuple(version.whole() for version in self._services.get(name, ()))

    def has(self, name: str, identity: str) -> bool:
        """Whether this node is there."""
        return any(identity in version.nodes for version in self._services.get(name, ()))

    def names(self) -> tuple[str, ...]:
        """All names, sorted."""
        if self._names is None:
            self._names = tuple(sorted(self._services))
        return self._names

    def put(self, service: Service, cause: Cause = UNSAID) -> list[Change]:
        """Add or renew the nodes of ``service``.

        :param cause: why, for what is told.
        :returns: a ``create`` with the nodes that were not there, an ``update`` with those that are not as they were;
            nothing for a pure renewal.
        """
        changes = self._put(self._headed(service), cause)
        self._prune(service.name, service.version)
        return changes

    def _headed(self, service: Service) -> Service:
        """Whoever adds a node and says nothing of endpoints or metadata leaves those of the version's others alone."""
        if service.metadata and service.endpoints:
            return service
        ids = {node.id for node in service.nodes}
        for version in self._services.get(service.name, ()):
            if version.service.version == service.version and not version.nodes.keys() <= ids:
                known = version.service
                metadata, endpoints = service.metadata or known.metadata, service.endpoints or known.endpoints
                return evolve(service, metadata=metadata, endpoints=endpoints)
        return service

    def _put(self, service: Service, cause: Cause) -> list[Change]:
        version = self._version(service)
        altered = not version.headed_like(service)
        if altered:
            version.service, version.fresh = service, False
        created: list[Node] = []
        updated: list[Node] = []
        for node in service.nodes:
            known = version.nodes.get(node.id)
            if known is not None:
                if known != node:
                    version.nodes[node.id] = node
                    version.fresh = False
                if known != node or altered:
                    updated.append(node)
                continue
            moved = self._take(service.name, node.id)
            (updated if moved else created).append(node)
            version.nodes[node.id] = node
            version.fresh = False
        if version.service is service:
            # All that it holds came just now (or with the old head): spare a second copy of the nodes.
            version.fresh = len(version.nodes) == len(service.nodes)
        return [*_change("create", service, created, cause), *_change("update", service, updated, cause)]

    def drop(self, name: str, ids: Iterable[str], cause: Cause = UNSAID) -> list[Change]:
        """Take nodes out; unknown ids are no error.

        :param cause: why, for what is told. :returns: one Change a version that lost some.
        """
        gone: dict[str, tuple[Service, list[Node]]] = {}
        for identity in ids:
            taken = self._take(name, identity)
            if taken is not None:
                version, node = taken
                gone.setdefault(version.service.version, (version.service, []))[1].append(node)
        if gone:
            self._prune(name)
        return [change for service, nodes in gone.values() for change in _change("delete", service, nodes, cause)]

    def replace(self, name: str, services: Iterable[Service], cause: Cause = UNSAID) -> list[Change]:
        """Make ``services`` all that is known of ``name``. A version may stand without nodes.

        :param cause: why, for what is told.
        :returns: what changed against what was known.
        """
        wanted = tuple(services)
        staying = {node.id for service in wanted for node in service.nodes}
        leaving = [
            identity
            for version in self._services.get(name, ())
            for identity in version.nodes
            if identity not in staying
        ]
        changes = self.drop(name, leaving, cause)
        for service in wanted:
            changes += self._put(service, cause)
        versions = {service.version for service in wanted}
        kept = tuple(
            version for version in self._services.get(name, ()) if version.nodes or version.service.version in versions
        )
        self._keep(name, kept)
        return changes

    def _version(self, service: Service) -> _Version:
        versions = self._services.get(service.name, ())
        for version in versions:
            if version.service.version == service.version:
                return version
        added = _Version(service, {})
        self._keep(service.name, (*versions, added))
        return added

    def _take(self, name: str, identity: str) -> tuple[_Version, Node] | None:
        for version in self._services.get(name, ()):
            node = version.nodes.pop(identity, None)
            if node is not None:
                version.fresh = False
                return version, node
        return None

    def _prune(self, name: str, but: str | None = None) -> None:
        """Let go of versions that lost their last node, except version ``but``."""
        versions = self._services.get(name, ())
        kept = tuple(version for version in versions if version.nodes or version.service.version == but)
        if len(kept) != len(versions):
            self._keep(name, kept)

    def _keep(self, name: str, versions: tuple[_Version, ...]) -> None:
        if versions:
            if name not in self._services:
                self._names = None
            self._services[name] = versions
        elif self._services.pop(name, None) is not None:
            self._names = None


def _change(action: Action, like: Service, nodes: list[Node], cause: Cause) -> list[Change]:
    return [Change.of(action, evolve(like, nodes=tuple(nodes)), cause)] if nodes else []
