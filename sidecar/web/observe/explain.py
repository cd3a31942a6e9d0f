"""``/explain``: which nodes of a service would be called now, which not and why, and where each was learnt."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from datetime import datetime, timezone
from typing import Any, Final

from attrs import define, field
from zope.interface import implementer

from sidecar.errors import BadRequest, NotFound
from sidecar.interfaces import ICallObserver, IRegistry, IWatcher
from sidecar.model import Attempt, Call, Caller, Change, Node, Outcome
from sidecar.rpc.selector import Selector
from sidecar.rpc.strategy import weight
from sidecar.stats.labelled import CallMetrics
from sidecar.web.params import query
from sidecar.web.resource import MethodResource
from sidecar.web.response import Answer, Request, of_json

#: Nodes of which it is remembered how they came and how the last failed attempt went.
_REMEMBERED: Final = 10_000


@implementer(IWatcher, ICallObserver)
@define(eq=False)
class NodeMemory:
    """Remembers of each node when it came and by whose doing, and how the last attempt that failed went."""

    _wall: Callable[[], float]
    _came: OrderedDict[tuple[str, str], tuple[float, str]] = field(factory=OrderedDict, init=False)
    _last: OrderedDict[str, dict[str, Any]] = field(factory=OrderedDict, init=False)
    detailed = False

    def changed(self, change: Change) -> None:
        for node in change.nodes:
            key = (change.service.name, node.id)
            if change.action == "delete":
                self._came.pop(key, None)
            elif change.action == "create" or key not in self._came:
                _remember(self._came, key, (change.time, change.by))

    def invalidated(self, name: str) -> None:
        """Whether its nodes are still the same is not known; how they came is."""

    def began(self, call: Call, caller: Caller) -> None:
        """Nothing to remember yet."""

    def attempted(self, call: Call, attempt: Attempt) -> None:
        _remember(
            self._last,
            attempt.address,
            {
                "outcome": attempt.outcome.value,
                "ms": round(attempt.queued + attempt.connecting + attempt.waiting, 3),
                "at": _date(self._wall()),
                "detail": attempt.detail[:300],
            },
        )

    def ended(self, call: Call, outcome: Outcome, error: BaseException | None, seconds: float) -> None:
        """The attempts have told it."""

    def source(self, name: str, node: Node, engine: str) -> dict[str, Any]:
        """Where a node was learnt. :param engine: the registry's kind."""
        since, by = self._came.get((name, node.id), (0.0, ""))
        return {"engine": engine, "since": _date(since) if since else None, "by": by}

    def last(self, node: Node) -> dict[str, Any] | None:
        """How the last attempt that failed went."""
        return self._last.get(node.hostport)


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
                why = self._why_not(node, service.version, version, out)
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
                        "last": self._memory.last(node),
                    }
                )
        _share(told)
        p50, p95 = (self._metrics.quantile(name, share) for share in (0.5, 0.95))
        return of_json(
            {
                "service": name,
                "strategy": self._strategy,
                "nodes": told,
                "p50_ms": p50 and p50 * 1000,
                "p95_ms": p95 and p95 * 1000,
            }
        )

    def _why_not(self, node: Node, version: str, wanted: str | None, out: dict[str, Any]) -> str:
        """Why ``node`` is not chosen, "" where it is."""
        if wanted is not None and version != wanted:
            return f"other version: {version or 'none'}"
        if node.port == 0:
            return f"other transport: {node.metadata.get('transport') or 'not reached over TCP'}"
        ejected = out.get(node.hostport)
        if ejected is not None:
            return f"ejected: {ejected.why}" if getattr(ejected, "why", "") else "ejected"
        return ""


def _share(nodes: list[dict[str, Any]]) -> None:
    """Fill in the share of calls that each chosen node gets."""
    chosen = [node for node in nodes if node["chosen"]]
    working = [node for node in chosen if node["weight"]] or chosen
    total = sum(node["weight"] or 1 for node in working)
    for node in working:
        node["share"] = round((node["weight"] or 1) / total, 4)


def _remember(memory: OrderedDict[Any, Any], key: Any, value: Any) -> None:
    memory[key] = value
    memory.move_to_end(key)
    if len(memory) > _REMEMBERED:
        memory.popitem(last=False)


def _date(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")
