"""Has spans recorded and brought to a collector, where somebody asks for that."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from random import Random
from typing import Any

from attrs import field, frozen
from twisted.logger import Logger

from sidecar.errors import ConfigError
from sidecar.health.checks import IProbe
from sidecar.interfaces import ICallObserver
from sidecar.redaction import redacted
from sidecar.stats.tracing import export
from sidecar.stats.tracing.calls import CallTracer
from sidecar.stats.tracing.checks import TracedProbe
from sidecar.stats.tracing.export import OtlpExport, SpanExporter
from sidecar.stats.tracing.messages import TracedBroker
from sidecar.stats.tracing.parents import Parents
from sidecar.web.requests.traces import RecordedTraces
from sidecar.web.site import SidecarSite
from sidecar.wire.tracing.traceparent import TraceContext

_log = Logger()

#: What is said where the extra is missing.
_MISSING = (
    "the OpenTelemetry SDK is not installed; install it by: pip install 'opentelemetry-sdk>=1.30' "
    "'opentelemetry-exporter-otlp-proto-http>=1.30' (or install the sidecar with it: the extra is microsidecar[otel])"
)


@frozen
class Tracing:
    """What records spans, or nothing where nobody asks for that.

    :ivar spans: brings them to the collector, None where nobody takes any.
    """

    spans: SpanExporter | None = None
    _samples: Callable[[str, TraceContext | None], bool] = lambda trace_id, given: False
    _wall: Callable[[], float] = float
    _parents: Parents = field(factory=Parents)
    _random: Random = field(factory=Random)

    @property
    def services(self) -> tuple[SpanExporter, ...]:
        """What is to be started with the daemon."""
        return () if self.spans is None else (self.spans,)

    @property
    def observers(self) -> tuple[ICallObserver, ...]:
        """Who records calls and attempts."""
        return tuple(CallTracer(spans, self._parents, self._random, self._wall) for spans in self.services)

    def broker(self, broker: Any) -> Any:
        """:returns: ``broker``, its messages recorded."""
        if self.spans is None:
            return broker
        return TracedBroker(broker, self.spans, self._parents, self._random, self._wall)

    def probe(self, name: str, probe: IProbe) -> IProbe:
        """:returns: ``probe``, its checks recorded. :param name: of the check."""
        return probe if self.spans is None else TracedProbe(probe, name, self.spans, self._random, self._wall)

    def attach(self, site: SidecarSite) -> None:
        """Have ``site`` begin traces that are recorded, and continue those of callers."""
        if self.spans is not None:
            site.traces = RecordedTraces(self._random, self._parents, self._samples)

    def stats(self) -> dict[str, int]:
        """Numbers for ``/stats``."""
        return {"exported": 0, "dropped": 0, "waiting": 0} if self.spans is None else self.spans.stats()


def build(endpoint: str, environ: Mapping[str, str], reactor: Any, wall: Callable[[], float]) -> Tracing:
    """What records spans, or nothing where nobody asks for that.

    :param endpoint: ``--otlp_endpoint``, "" where it is not given: then the standard variables in ``environ`` count.
    :raises ConfigError: the extra is missing, or a standard variable makes no sense.
    """
    if not endpoint and not export.is_wanted(environ):
        return Tracing()
    where = f"{endpoint.rstrip('/')}/v1/traces" if endpoint else ""
    try:
        otlp = OtlpExport(where)
    except ImportError:
        if not endpoint:
            _log.warn("No spans are recorded, though OTEL_EXPORTER_OTLP_ENDPOINT is set: {why}", why=_MISSING)
            return Tracing()
        raise ConfigError(f"--otlp_endpoint={redacted(endpoint)}: {_MISSING}") from None
    except ValueError as error:
        raise ConfigError(f"OTEL_...: a variable of OpenTelemetry's makes no sense: {error}") from error
    shown = redacted(where) or "OTEL_EXPORTER_OTLP_ENDPOINT"
    return Tracing(SpanExporter(otlp, reactor, shown, environ), otlp.samples, wall)
