"""``/metrics``: what is counted, for Prometheus and whoever reads OpenMetrics."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from sidecar.stats.labelled import CallMetrics, RegistryMetrics
from sidecar.stats.recorder import StatsRecorder
from sidecar.web.resource import MethodResource
from sidecar.web.response import Answer, Request


class MetricsResource(MethodResource):
    """GET gives Prometheus' text form, or OpenMetrics to those who accept it."""

    def __init__(
        self,
        calls: CallMetrics,
        registry: RegistryMetrics,
        facts: Mapping[str, Callable[[], Any]],
        recorder: StatsRecorder,
    ) -> None:
        """:param facts: what ``/stats`` tells. :param recorder: counts HTTP answers."""
        super().__init__({"GET": self._tell})
        self._sources = (calls, registry, facts, lambda: recorder.totals, recorder.started)
        self._write: Callable[[str], tuple[bytes, str]] | None = None

    def _tell(self, request: Request) -> Answer:
        if self._write is None:
            # Imported here: a sidecar that nobody scrapes should not pay for it.
            from sidecar.stats.metrics import SidecarCollector, exposition

            self._write = exposition(SidecarCollector(*self._sources))
        body, content_type = self._write(request.fields.get(b"accept", b"").decode("latin-1"))
        return Answer(body, headers=b"Content-Type: %b\r\n" % content_type.encode("latin-1"))
