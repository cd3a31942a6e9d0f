"""Everything that is counted, in Prometheus' form. Its library is slow to load: import this at the first scrape."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, InfoMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from sidecar import __version__
from sidecar.stats.labelled import BUCKETS, CallMetrics, RegistryMetrics


class SidecarCollector(Collector):
    """Gives everything that the sidecar counts in Prometheus' form, when it is asked."""

    def __init__(
        self,
        calls: CallMetrics,
        registry: RegistryMetrics,
        facts: Mapping[str, Callable[[], Any]],
        answers: Callable[[], Mapping[int, int]],
    ) -> None:
        """:param facts: what ``/stats`` tells. :param answers: HTTP answers by the first digit of their status."""
        self._calls = calls
        self._registry = registry
        self._facts = facts
        self._answers = answers

    def collect(self) -> Iterator[Metric]:
        yield InfoMetricFamily("microsidecar_build", "Which microsidecar this is.", {"version": __version__})
        yield from self._of_calls()
        yield from self._of_backends()
        answers = CounterMetricFamily(
            "microsidecar_http_responses", "HTTP answers by the class of their status.", labels=["code"]
        )
        for code, count in sorted(self._answers().items()):
            answers.add_metric([f"{code}xx"], count)
        yield answers
        yield from self._of_pubsub()
        yield from self._of_apps()

    def _of_calls(self) -> Iterator[Metric]:
        total = CounterMetricFamily("microsidecar_calls", "Calls by how they ended.", labels=["service", "outcome"])
        retries = CounterMetricFamily("microsidecar_call_retries", "Attempts after the first.", labels=["service"])
        took = HistogramMetricFamily("microsidecar_call_duration_seconds", "How long calls took.", labels=["service"])
        for service, numbers in list(self._calls.known().items()):
            for outcome, count in numbers.outcomes.items():
                total.add_metric([service, outcome.value.replace(" ", "_")], count)
            retries.add_metric([service], numbers.retries)
            seen, buckets = 0, []
            for bound, count in zip((*BUCKETS, None), numbers.buckets, strict=True):
                seen += count
                buckets.append(("+Inf" if bound is None else f"{bound:g}", seen))
            took.add_metric([service], buckets, numbers.seconds)
        yield from (total, retries, took)
        calls = self._facts["calls"]()
        yield GaugeMetricFamily("microsidecar_calls_in_flight", "Calls under way.", calls["in_flight"])
        yield GaugeMetricFamily("microsidecar_streams_open", "Streams of services that are open.", calls["streams"])
        yield GaugeMetricFamily(
            "microsidecar_ejected_nodes", "Addresses that get no calls.", len(self._facts["ejected"]())
        )

    def _of_backends(self) -> Iterator[Metric]:
        changes = CounterMetricFamily(
            "microsidecar_registry_changes", "Nodes that came, altered or went.", labels=["action", "reason"]
        )
        for (action, reason), count in self._registry.counts.items():
            changes.add_metric([action, reason.replace(" ", "_")], count)
        yield changes
        connected = GaugeMetricFamily(
            "microsidecar_backend_connected", "Whether an engine answers.", labels=["role", "kind"]
        )
        stale = GaugeMetricFamily(
            "microsidecar_backend_stale", "Whether reads are answered from memory.", labels=["role", "kind"]
        )
        for role in ("registry", "broker"):
            state = self._facts[role]()
            connected.add_metric([role, state["kind"]], int(bool(state["connected"])))
            stale.add_metric([role, state["kind"]], int(bool(state["stale"])))
        yield from (connected, stale)

    def _of_pubsub(self) -> Iterator[Metric]:
        for name, value in _numbers(self._facts["websockets"]()):
            yield GaugeMetricFamily(f"microsidecar_pubsub_{name}", f"WebSockets: {name.replace('_', ' ')}.", value)

    def _of_apps(self) -> Iterator[Metric]:
        healthy = GaugeMetricFamily(
            "microsidecar_app_healthy", "Whether the app is found well, 1 where it is not checked.", labels=["app"]
        )
        for name, healthy_now in _apps(self._facts["app"]()):
            healthy.add_metric([name], 0 if healthy_now is False else 1)
        yield healthy


def exposition(collector: SidecarCollector) -> Callable[[str], tuple[bytes, str]]:
    """:returns: what writes all metrics, given the Accept header: the body and its content type."""
    registry = CollectorRegistry()
    registry.register(collector)
    ProcessCollector(registry=registry)

    def write(accept: str) -> tuple[bytes, str]:
        encode, content_type = choose_encoder(accept)
        return encode(registry), content_type

    return write


def _numbers(facts: Any, prefix: str = "") -> Iterable[tuple[str, float]]:
    if not isinstance(facts, Mapping):
        return
    for name, value in facts.items():
        if isinstance(value, bool):
            yield f"{prefix}{name}", int(value)
        elif isinstance(value, (int, float)):
            yield f"{prefix}{name}", value


def _apps(facts: Any) -> Iterable[tuple[str, bool | None]]:
    if isinstance(facts, Mapping) and "healthy" in facts:
        yield str(facts.get("name", "app")), facts["healthy"]
    elif isinstance(facts, Mapping):
        for name, one in facts.items():
            if isinstance(one, Mapping):
                yield str(name), one.get("healthy")
    elif isinstance(facts, (list, tuple)):
        for one in facts:
            if isinstance(one, Mapping):
                yield str(one.get("name", "app")), one.get("healthy")
