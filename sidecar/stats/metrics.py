"""Everything that is counted, in Prometheus' form. Its library is slow to load: import this at the first scrape."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final, TypeAlias

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, InfoMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector
from prometheus_client.samples import Exemplar as Sample

from sidecar import __version__
from sidecar.model import Outcome
from sidecar.stats.families import FAMILIES, Family
from sidecar.stats.labelled import BUCKETS, OTHER, CallMetrics, RegistryMetrics, ServiceNumbers

#: The values of one family, each after those of its labels.
Values: TypeAlias = Iterable[tuple[tuple[str, ...], float]]

#: What of the numbers of ``/stats`` is a metric of its own.
_OF_WEBSOCKETS: Final = {
    "microsidecar_websockets": "connections",
    "microsidecar_websockets_refused_total": "refused",
    "microsidecar_websockets_shed_total": "shed",
    "microsidecar_broker_published_total": "published",
    "microsidecar_broker_failed_total": "failed",
    "microsidecar_broker_delivered_total": "delivered",
    "microsidecar_broker_dropped_total": "dropped",
    "microsidecar_broker_slow_total": "closed",
}
_OF_WATCHERS: Final = {
    "microsidecar_watchers": "open",
    "microsidecar_watchers_refused_total": "refused",
    "microsidecar_watchers_slow_total": "slow",
}


class SidecarCollector(Collector):
    """Gives everything that the sidecar counts in Prometheus' form, when it is asked."""

    def __init__(
        self,
        calls: CallMetrics,
        registry: RegistryMetrics,
        facts: Mapping[str, Callable[[], Any]],
        answers: Callable[[], Mapping[tuple[bytes, int], int]],
        started: float,
    ) -> None:
        """:param facts: what ``/stats`` tells. :param answers: HTTP answers by route and first digit of their status.
        :param started: seconds since the epoch."""
        self.calls = calls
        self._registry = registry
        self._facts = facts
        self._answers = answers
        self._started = started

    def collect(self) -> Iterator[Metric]:
        values = self._values()
        for family in FAMILIES:
            if family.kind == "info":
                yield InfoMetricFamily(family.name.removesuffix("_info"), family.help, {"version": __version__})
            elif family.kind == "histogram":
                yield self._durations(family)
            else:
                metric = _KINDS[family.kind](family.name, family.help, labels=family.labels)
                for labels, value in values[family.name]:
                    metric.add_metric(labels, value)
                yield metric

    def _values(self) -> dict[str, Values]:
        known = self.calls.known()
        calls, pools, sockets = (self._facts[name]() for name in ("calls", "pools", "websockets"))
        auth = self._facts["access"]() if "access" in self._facts else {}
        watchers = self._facts["watchers"]() if "watchers" in self._facts else {}
        reactor = self._facts["reactor"]() if "reactor" in self._facts else {}
        return {
            "microsidecar_start_time_seconds": [((), self._started)],
            "microsidecar_calls_total": [
                ((service, name, _word(outcome)), count)
                for service, numbers in known.items()
                for name, outcomes in numbers.by_class.items()
                for outcome, count in outcomes.items()
            ],
            "microsidecar_call_attempts_total": [
                ((service, _word(outcome)), count)
                for service, numbers in known.items()
                for outcome, count in _attempts(numbers).items()
            ],
            "microsidecar_call_retries_total": [((service,), numbers.retries) for service, numbers in known.items()],
            "microsidecar_calls_in_flight": [((), calls["in_flight"])],
            "microsidecar_streams_open": [((), calls["streams"])],
            "microsidecar_ejected_nodes": [((), len(self._facts["ejected"]()))],
            "microsidecar_ejections_total": [((), self._facts["ejections"]() if "ejections" in self._facts else 0)],
            "microsidecar_pool_connections": [
                (("idle",), pools["idle"]),
                (("busy",), pools["open"] - pools["idle"]),
                (("connecting",), pools["connecting"]),
            ],
            "microsidecar_pool_waiting": [((), pools["waiting"])],
            "microsidecar_registry_changes_total": [
                ((action, reason.replace(" ", "_")), count) for (action, reason), count in self._registry.counts.items()
            ],
            **self._of_backends(),
            "microsidecar_http_responses_total": [
                ((route.decode("ascii") or OTHER, f"{digit}xx"), count)
                for (route, digit), count in sorted(self._answers().items())
            ],
            **{name: [((), sockets[fact])] for name, fact in _OF_WEBSOCKETS.items()},
            **{name: [((), watchers.get(fact, 0))] for name, fact in _OF_WATCHERS.items()},
            **_of_memory(self._facts["buffers"]()),
            "microsidecar_spans_exported_total": [((), self._facts["traces"]()["exported"])],
            "microsidecar_spans_dropped_total": [((), self._facts["traces"]()["dropped"])],
            "microsidecar_http_waiting": [((), self._facts["overload"]()["waiting"])],
            "microsidecar_http_refused_total": [((), self._facts["overload"]()["refused"])],
            "microsidecar_app_healthy": [
                ((name,), 0 if healthy is False else 1) for name, healthy in _apps(self._facts["app"]())
            ],
            "microsidecar_checks_total": [
                ((each["app"], each["check"], each["outcome"]), each["count"])
                for each in (self._facts["checks"]() if "checks" in self._facts else ())
            ],
            "microsidecar_reactor_delay_seconds": [((), reactor.get("delay", 0.0))],
            "microsidecar_reactor_stalls_total": [((), reactor.get("stalls", 0))],
            "microsidecar_auth_refused_total": [((reason,), count) for reason, count in auth.items()],
        }

    def _of_backends(self) -> dict[str, Values]:
        states = {role: self._facts[role]() for role in ("registry", "broker")}
        by = {role: (role, state["kind"]) for role, state in states.items()}
        return {
            "microsidecar_backend_connected": [(by[role], int(state["connected"])) for role, state in states.items()],
            "microsidecar_backend_stale": [(by[role], int(state["stale"])) for role, state in states.items()],
            "microsidecar_backend_stale_seconds": [
                (by[role], max(0.0, self.calls.wall() - state["stale_since"]) if state["stale"] else 0.0)
                for role, state in states.items()
            ],
        }

    def _durations(self, family: Family) -> Metric:
        metric = HistogramMetricFamily(family.name, family.help, labels=family.labels)
        for service, numbers in self.calls.known().items():
            seen: float = 0
            buckets: list[Any] = []
            for index, (bound, count) in enumerate(zip((*BUCKETS, None), numbers.buckets, strict=True)):
                seen += count
                found = numbers.exemplars.get(index)
                example = None if found is None else Sample(dict(found.labels), found.seconds, found.at)
                buckets.append(("+Inf" if bound is None else f"{bound:g}", seen, example))
            metric.add_metric([service], buckets, numbers.seconds)
        return metric


_KINDS: Final[Mapping[str, Any]] = {"counter": CounterMetricFamily, "gauge": GaugeMetricFamily}


def exposition(collector: SidecarCollector) -> Callable[[str], tuple[bytes, str]]:
    """:returns: what writes all metrics, given the Accept header: the body and its content type."""
    registry = CollectorRegistry()
    registry.register(collector)
    ProcessCollector(registry=registry)

    def write(accept: str) -> tuple[bytes, str]:
        encode, content_type = choose_encoder(accept)
        if content_type.startswith("application/openmetrics-text"):
            # The other form has no place for examples, so nobody pays for them before.
            collector.calls.exemplify = True
        return encode(registry), content_type

    return write


def _attempts(numbers: ServiceNumbers) -> dict[Outcome, int]:
    """Attempts by outcome: a call that was answered had one attempt that was."""
    answered = numbers.outcomes.get(Outcome.ANSWERED, 0)
    return {**({Outcome.ANSWERED: answered} if answered else {}), **numbers.failures}


def _word(outcome: Outcome) -> str:
    return outcome.value.replace(" ", "_")


def _of_memory(memory: Mapping[str, Any]) -> dict[str, Values]:
    return {
        "microsidecar_memory_limit_bytes": [((), memory["limit"])],
        "microsidecar_memory_buffered_bytes": [((), memory["buffered"])],
        "microsidecar_memory_shed_total": [((kind,), count) for kind, count in memory["shed"].items()],
    }


def _apps(facts: Any) -> Iterable[tuple[str, bool | None]]:
    """The apps of ``/stats``: one by itself, or several by their names."""
    if isinstance(facts, Mapping) and "healthy" in facts:
        yield str(facts["name"]), facts["healthy"]
    elif isinstance(facts, Mapping):
        for name, one in facts.items():
            yield str(name), one["healthy"]
