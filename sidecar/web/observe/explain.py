"""``/explain``: which nodes of a service would be called now, which not and why, and where each was learnt."""

from __future__ import annotations

from typing import Any

from sidecar.errors import BadRequest, NotFound
from sidecar.interfaces import IRegistry
from sidecar.model import Node
from sidecar.rpc.ejection import Ejected
from sidecar.rpc.selector import Selector
from sidecar.rpc.strategy import weight
from sidecar.stats.labelled import CallMetrics
from sidecar.stats.nodes import LastAttempt, NodeMemory
from sidecar.stats.rates import NOTHING, quantile_ms
from sidecar.web.params import query
from sidecar.web.resource import MethodResource
from sidecar.web.response import Answer, Request, of_json
from sidecar.wire.registry.journal import date


def why_ejected(ejected: Ejected, last: LastAttempt | None, now: float) -> str:
    """Why an address gets no calls, in words. :param last: how the last attempt that failed went.
    :param now: seconds since the epoch."""
    until = f"ejected until {date(now + ejected.seconds)}: {ejected.why}"
    return until if last is None else f"{until}; {last.ago(now)}"


class ExplainResource(MethodResource):
    """GET tells of one service, as its calls would find it now."""

    def __init__(
        self, registry: IRegistry, selector: Selector, metrics: CallMetrics, memory: NodeMemory, strategy: str
    ) -> None:
        """:param strategy: by which nodes are chosen."""
        super().__init__({"GET": self._tell})
        self._registry = registry
        self._selector = selector
        self._metrics = metrics
        self._memory = memory
        self._strategy = strategy

    async def _tell(self, request: Request) -> Answer:
        asked = query(request.uri).expect("service", "version")
        name, version = asked.one("service"), asked.one("version") or None
        if not name:
            raise BadRequest("service: of which service? Name it by service=")
        services = await self._registry.get(name)
        if not any(service.nodes for service in services):
            raise NotFound(f"{name} has no node")
        out = {each.address: each for each in self._selector.ejected()}
        engine = self._registry.state().kind
        told: list[dict[str, Any]] = []
        for service in services:
            for node in service.nodes:
                last = self._memory.last(node.hostport)
                why = self._why_not(node, service.version, version, out, last)
                told.append(
                    {
                        "id": node.id,
                        "address": node.hostport,
                        "version": service.version,
                        "chosen": not why,
                        "weight": weight(node),
                        "share": 0.0,
                        "why": why,
                        "source": self._memory.source(name, node, engine),
                        "last": None if last is None else last.told(),
                    }
                )
        _share(told)
        numbers = self._metrics.known().get(name)
        buckets = NOTHING.buckets if numbers is None else numbers.buckets
        return of_json(
            {
                "service": name,
                "strategy": self._strategy,
                "nodes": told,
                "p50_ms": quantile_ms(buckets, 0.5),
                "p95_ms": quantile_ms(buckets, 0.95),
            }
        )

    def _why_not(
        self, node: Node, version: str, wanted: str | None, out: dict[str, Ejected], last: LastAttempt | None
    ) -> str:
        """Why ``node`` is not chosen, "" where it is."""
        if wanted is not None and version != wanted:
            return f"other version: {version or 'none'}"
        if node.port == 0:
            return f"other transport: {node.metadata.get('transport') or 'not reached over TCP'}"
        ejected = out.get(node.hostport)
        return "" if ejected is None else why_ejected(ejected, last, self._memory.wall())


def _share(nodes: list[dict[str, Any]]) -> None:
    """Fill in the share of calls that each chosen node gets."""
    chosen = [node for node in nodes if node["chosen"]]
    working = [node for node in chosen if node["weight"]] or chosen
    total = sum(node["weight"] or 1 for node in working)
    for node in working:
        node["share"] = round((node["weight"] or 1) / total, 4)
