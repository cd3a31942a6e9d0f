"""What happens now, as ``/live`` tells it: put together once a second while somebody looks, from counters that are kept
anyway."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from attrs import define, field, frozen

from sidecar.model import Node, Outcome
from sidecar.rpc.client import Client
from sidecar.rpc.ejection import Ejected
from sidecar.stats.labelled import CallMetrics
from sidecar.stats.nodes import LastAttempt, NodeCounters, NodeMemory
from sidecar.stats.process import ProcessSampler
from sidecar.stats.rates import NOTHING, Totals, quantile_ms, quantiles_ms, totals
from sidecar.stats.windows import Window, rate
from sidecar.web.observe.explain import why_ejected
from sidecar.web.observe.services import LiveServices
from sidecar.wire.registry.journal import date

#: Services and nodes that one event tells of: the busiest.
MAX_SERVICES: Final = 100
MAX_NODES: Final = 1000
#: Seconds for which a failed attempt explains its node, where nothing was heard of it since.
_LATELY: Final = 30.0
#: Seconds of the shortest time over which rates are told.
_SHORTEST: Final = 0.5


@frozen(kw_only=True)
class LiveSources:
    """Whom a live view asks. :ivar answers: HTTP answers since the start, by route and first digit of their status.
    :ivar sockets: what is open, by kind. :ivar topics, engines, apps: as they stand, each as JSON-like data."""

    client: Client
    calls: CallMetrics
    memory: NodeMemory
    ejected: Callable[[], Iterable[Ejected]]
    answers: Callable[[], Mapping[tuple[bytes, int], int]]
    sockets: Callable[[], Mapping[str, int]]
    topics: Callable[[float], list[dict[str, Any]]]
    engines: Callable[[], list[dict[str, Any]]]
    apps: Callable[[], list[dict[str, Any]]]
    seconds: Callable[[], float]
    wall: Callable[[], float]


@define(eq=False)
class LiveView:
    """Observes while somebody looks, and not at all otherwise.

    :ivar event: what was put together last.
    """

    _sources: LiveSources
    _services: LiveServices
    _sampler: ProcessSampler
    event: dict[str, Any] = field(factory=dict, init=False)
    _counters: NodeCounters = field(init=False)
    _by_service: Window[str] = field(factory=Window, init=False)
    _by_node: Window[tuple[str, str]] = field(factory=Window, init=False)
    _answered: Mapping[tuple[bytes, int], int] = field(factory=dict, init=False)
    _listeners: dict[object, Callable[[dict[str, Any]], None]] = field(factory=dict, init=False)
    _began: float = field(default=0.0, init=False)
    _end: Callable[[], None] | None = field(default=None, init=False)

    def __attrs_post_init__(self) -> None:
        self._counters = NodeCounters(self._sources.seconds)

    def listen(self, listener: Callable[[dict[str, Any]], None]) -> Callable[[], None]:
        """Have ``listener`` told once a second. :returns: what ends that; doing it twice is no error."""
        if not self._listeners:
            self._begin()
        key = object()
        self._listeners[key] = listener
        if self.event:
            listener(self.event)

        def end() -> None:
            if self._listeners.pop(key, None) is not None and not self._listeners:
                self._stop()

        return end

    def _begin(self) -> None:
        self._sources.client.observe(self._counters)
        self._services.start()
        self._end = self._sampler.listen(self._tick)
        self._answered = dict(self._sources.answers())
        self._sources.topics(1.0)
        self._began = self._sources.seconds()
        self._look()

    def _stop(self) -> None:
        self._sources.client.unobserve(self._counters)
        self._services.stop()
        if self._end is not None:
            self._end()
        for each in (self._by_service, self._by_node, self._counters):
            each.clear()
        self.event = {}

    def _look(self) -> None:
        """Read the counters, and see that the services shown are known."""
        now = self._sources.seconds()
        self._by_service.look(now, totals(self._sources.calls.known()))
        numbers = self._counters.numbers.items()
        self._by_node.look(now, {key: Totals(each.calls, each.errors, tuple(each.buckets)) for key, each in numbers})
        self._services.refresh(self._shown())

    def _tick(self) -> None:
        if self._sources.seconds() - self._began < _SHORTEST:
            return  # what is divided by a moment is no rate
        self._look()
        self.event = self._made()
        for listener in tuple(self._listeners.values()):
            listener(self.event)

    def _shown(self) -> list[str]:
        """The services that are told of: the busiest, then by name."""
        names = {*self._services.names, *self._sources.calls.known()}
        return sorted(names, key=lambda name: (-self._by_service.recent(name).calls, name))[:MAX_SERVICES]

    def _made(self) -> dict[str, Any]:
        sources, now = self._sources, self._sources.wall()
        seconds = self._by_service.seconds
        known = sources.calls.known()
        last = Totals.sum(self._by_service.last(name) for name in known) if known else NOTHING
        recent = Totals.sum(self._by_service.recent(name) for name in known) if known else NOTHING
        out = {each.address: each for each in sources.ejected()}
        services, nodes = self._of_services(out, now)
        return {
            "at": date(now),
            "rates": {"calls": rate(last.calls, seconds), "errors": rate(last.errors, seconds)},
            "latency_ms": quantiles_ms(recent.buckets),
            "status": self._of_answers(),
            "in_flight": sum(each["in_flight"] for each in services),
            "process": {
                "cpu": round(self._sampler.cpu, 4),
                "memory": self._sampler.memory,
                "reactor_delay_ms": round(self._sampler.delay * 1000, 3),
                "sockets": sum(sources.sockets().values()),
                "open": dict(sources.sockets()),
            },
            "services": services,
            "services_total": len({*self._services.names, *known}),
            "nodes": nodes[:MAX_NODES],
            "nodes_omitted": max(0, len(nodes) - MAX_NODES),
            "topics": sources.topics(seconds),
            "engines": sources.engines(),
            "apps": sources.apps(),
        }

    def _of_services(self, out: Mapping[str, Ejected], now: float) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        """:returns: the services, and their nodes: those that fail first, then the busiest."""
        services, nodes = [], []
        seconds, under_way = self._by_service.seconds, self._sources.client.under_way()
        flying: dict[str, int] = {}
        for (name, _), count in under_way.items():
            flying[name] = flying.get(name, 0) + count
        for name in self._shown():
            last, recent = self._by_service.last(name), self._by_service.recent(name)
            up = down = 0
            versions = []
            for service in self._services.get(name):
                versions.append(service.version)
                for node in service.nodes:
                    told = self._of_node(name, service.version, node, out, now)
                    told["in_flight"] = under_way.get((name, node.hostport), 0)
                    nodes.append(told)
                    down += node.hostport in out
                    up += node.hostport not in out
            services.append(
                {
                    "name": name,
                    "versions": versions,
                    "calls": rate(last.calls, seconds),
                    "errors": rate(last.errors, seconds),
                    "success": round(1 - recent.errors / recent.calls, 4) if recent.calls else None,
                    **{f"{name}_ms": value for name, value in quantiles_ms(recent.buckets).items()},
                    "in_flight": flying.get(name, 0),
                    "nodes_up": up,
                    "nodes_down": down,
                }
            )
        nodes.sort(key=lambda node: (not node["why"], -node["calls"]))
        return services, nodes

    def _of_node(self, name: str, version: str, node: Node, out: Mapping[str, Ejected], now: float) -> dict[str, Any]:
        key = name, node.hostport
        failed = self._sources.memory.last(node.hostport)
        last = self._counters.last(key, now) or failed
        passed, seconds = self._by_node.last(key), self._by_node.seconds
        ejected = out.get(node.hostport)
        return {
            "service": name,
            "version": version,
            "id": node.id,
            "address": node.hostport,
            "calls": rate(passed.calls, seconds),
            "errors": rate(passed.errors, seconds),
            "in_flight": 0,
            "p95_ms": quantile_ms(self._by_node.recent(key).buckets, 0.95),
            "last": None if last is None else last.told(),
            "why": _why(ejected, failed, last, now),
        }

    def _of_answers(self) -> dict[str, float]:
        """HTTP answers a second, by class."""
        answers, before = dict(self._sources.answers()), self._answered
        self._answered = answers
        seconds = self._by_service.seconds
        counts = dict.fromkeys((2, 3, 4, 5), 0)
        for key, count in answers.items():
            digit = key[1]
            if digit in counts:
                counts[digit] += count - before.get(key, 0)
        return {f"{digit}xx": rate(count, seconds) for digit, count in counts.items()}


def _why(ejected: Ejected | None, failed: LastAttempt | None, last: LastAttempt | None, now: float) -> str:
    """Why a node is not well, in words; "" where nothing is known against it. :param last: its last attempt of all."""
    if ejected is not None:
        return why_ejected(ejected, failed, now)
    if failed is None or failed.outcome is Outcome.CANCELLED:
        return ""  # a caller who left says nothing of the node
    if last is not None and last.outcome is failed.outcome and now - failed.at < _LATELY:
        return failed.ago(now)
    return ""
