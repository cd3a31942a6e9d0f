"""The nodes of one service, as they are chosen from: by version, by address, and those that we cannot reach."""

from __future__ import annotations

from collections.abc import Iterable

from attrs import define, field

from sidecar.errors import NoNodes, NotFound, UnknownTransport
from sidecar.model import Node, Service
from sidecar.rpc.strategy import Candidates


@define(eq=False)
class ServiceNodes:
    """What is known of one service.

    :ivar versions: its nodes by version, in the registry's order.
    :ivar unreachable: by version, its nodes that have no TCP port.
    :ivar narrowed: the candidates of single versions, made when one is asked for.
    :ivar stale: a change was told; it serves only where the registry cannot.
    """

    versions: dict[str, tuple[Node, ...]]
    candidates: Candidates
    by_address: dict[str, Node]
    unreachable: dict[str, tuple[Node, ...]]
    narrowed: dict[str, Candidates] = field(factory=dict)
    stale: bool = False

    @classmethod
    def of(cls, name: str, services: Iterable[Service]) -> ServiceNodes:
        """:raises NoNodes: there is none. :raises UnknownTransport: there are some, and none that we can reach."""
        versions: dict[str, tuple[Node, ...]] = {}
        unreachable: dict[str, tuple[Node, ...]] = {}
        for each in services:
            versions[each.version] = versions.get(each.version, ()) + tuple(node for node in each.nodes if node.port)
            without = tuple(node for node in each.nodes if not node.port)
            if without:
                unreachable[each.version] = unreachable.get(each.version, ()) + without
        nodes = tuple(node for each in versions.values() for node in each)
        if not nodes and unreachable:
            raise _unknown_transport(name, [node for each in unreachable.values() for node in each])
        if not nodes:
            raise NoNodes(f"{name}: the service is registered and has no node; start one")
        return cls(versions, Candidates.of(nodes), {node.hostport: node for node in reversed(nodes)}, unreachable)

    def same(self, other: ServiceNodes) -> bool:
        """Whether both have the same nodes."""
        return self.versions == other.versions and self.unreachable == other.unreachable

    def of_version(self, name: str, version: str | None) -> Candidates:
        """The candidates of one version, or of all (None). :raises NotFound: it has no node of that version."""
        if version is None:
            return self.candidates
        candidates = self.narrowed.get(version)
        if candidates is None:
            nodes = self.versions.get(version)
            if not nodes and version in self.unreachable:
                raise _unknown_transport(f"{name} {version}", self.unreachable[version])
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


def _unknown_transport(what: str, nodes: Iterable[Node]) -> UnknownTransport:
    """Nodes without a TCP port: go-micro's NATS transport registers the subject that it listens on."""
    spoken = sorted({node.metadata.get("transport") or _transport_of(node) for node in nodes})
    return UnknownTransport(
        f"{what}: its nodes have no TCP port, they speak the transport {' and '.join(spoken)}; "
        "the sidecar calls over HTTP and gRPC: start the service with one of those transports"
    )


def _transport_of(node: Node) -> str:
    return "nats" if node.address.startswith("_INBOX.") else f"of the address {node.address}"
