"""Spans of checks: each is a trace of its own."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from attrs import define
from twisted.internet.defer import Deferred

from sidecar.health.checks import IProbe
from sidecar.health.threshold import CheckResult
from sidecar.stats.tracing.spans import ISpans, Span, new_span_id, new_trace_id


@define(eq=False)
class TracedProbe:
    """A probe as it was, whose checks are recorded. :ivar name: of the check."""

    _probe: IProbe
    name: str
    _spans: ISpans
    _random: Random
    _wall: Callable[[], float]

    def check(self) -> Deferred[CheckResult]:
        start = self._wall()

        def found(result: CheckResult) -> CheckResult:
            trace_id, span_id = new_trace_id(self._random), new_span_id(self._random)
            error = None if result.healthy else result.detail
            told: dict[str, str | bool] = {
                "micro.check": self.name,
                "micro.passed": result.healthy,
                "micro.found": result.detail,
            }
            span = Span(f"check {self.name}", "internal", trace_id, span_id, "", start, self._wall(), told, error)
            self._spans.add(span)
            return result

        return self._probe.check().addCallback(found)
