"""Brings spans to an OpenTelemetry collector over OTLP/HTTP, in a thread: nobody ever waits for it."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

from twisted.application import service
from twisted.internet.defer import Deferred, succeed
from twisted.logger import Logger

from sidecar import __version__
from sidecar.stats.tracing.spans import Span
from sidecar.wire.tracing.traceparent import TraceContext

#: Seconds that the last spans may take at the stop.
_PATIENCE: Final = 2.0
#: Seconds between two log lines about spans that are lost.
_QUIET: Final = 60.0


class IExport(Protocol):
    """What brings spans to the collector. It may take its time."""

    def export(self, spans: list[Span]) -> bool:
        """:returns: whether the collector took them."""

    def shutdown(self) -> None:
        """Wait no more; called from another thread."""


class SpanExporter(service.Service):
    """Takes spans, and has a thread bring them to the collector by the batch.

    :ivar exported: spans that the collector took. :ivar dropped: spans that it did not, or that found no place.
    """

    log = Logger()

    def __init__(self, export: IExport, reactor: Any, where: str, environ: Mapping[str, str]) -> None:
        """:param where: the collector, for the log.
        :param environ: in which the standard's ``OTEL_BSP_...`` say how many spans wait, for how long.
        :source: OpenTelemetry, Environment Variable Specification, Batch Span Processor"""
        self._export = export
        self._reactor = reactor
        self._where = where
        self._most = _number(environ, "OTEL_BSP_MAX_QUEUE_SIZE", 2048)
        self._batch = min(_number(environ, "OTEL_BSP_MAX_EXPORT_BATCH_SIZE", 512), self._most)
        self._delay = _number(environ, "OTEL_BSP_SCHEDULE_DELAY", 5000) / 1000
        self._waiting: deque[Span] = deque()
        self._wake = threading.Event()
        self._stopping = False
        self._ended: Deferred[None] | None = None
        self._leaving: Deferred[None] | None = None
        self._thread: threading.Thread | None = None
        self._told_at = float("-inf")
        self.exported = self.dropped = 0

    def add(self, span: Span) -> None:
        if len(self._waiting) >= self._most:
            self.dropped += 1
            return
        self._waiting.append(span)
        if len(self._waiting) == self._batch:
            self._wake.set()

    def stats(self) -> dict[str, int]:
        """Numbers for ``/stats``."""
        return {"exported": self.exported, "dropped": self.dropped, "waiting": len(self._waiting)}

    # --- Life ---------------------------------------------------------------------------------------------------------

    def startService(self) -> None:
        super().startService()
        self._stopping = False
        self._ended = Deferred()
        self._thread = threading.Thread(target=self._run, name="spans", daemon=True)
        self._thread.start()

    def stopService(self) -> Deferred[None]:
        """Bring what waits to the collector, for two seconds at most."""
        super().stopService()
        ended, self._ended = self._ended, None
        if ended is None:
            return succeed(None)
        self._stopping = True
        self._wake.set()
        giving_up = self._reactor.callLater(_PATIENCE, self._export.shutdown)

        def over(result: object) -> None:
            if giving_up.active():
                giving_up.cancel()

        self._leaving = ended
        return ended.addBoth(over)

    def join(self, patience: float) -> None:
        """Wait for the thread's end. :param patience: seconds."""
        if self._thread is not None:
            self._thread.join(patience)

    # --- In the thread ------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._stopping:
            self._wake.wait(self._delay)
            self._wake.clear()
            self.bring()
        self.bring()
        self._export.shutdown()
        self._reactor.callFromThread(self._left)

    def bring(self) -> None:
        """Bring all that waits now, by the batch."""
        left = len(self._waiting)
        while left > 0:
            batch = [self._waiting.popleft() for _ in range(min(left, self._batch))]
            left -= len(batch)
            try:
                taken = self._export.export(batch)
            except Exception:
                taken = False
            self._reactor.callFromThread(self._told, len(batch), taken)

    def _told(self, count: int, taken: bool) -> None:
        """In the reactor's thread again."""
        if taken:
            self.exported += count
            return
        self.dropped += count
        now = self._reactor.seconds()
        if now - self._told_at >= _QUIET:
            self._told_at = now
            self.log.warn(
                "The collector at {where} takes no spans: {dropped} are lost so far",
                where=self._where,
                dropped=self.dropped,
            )

    def _left(self) -> None:
        leaving, self._leaving = self._leaving, None
        if leaving is not None:
            leaving.callback(None)


def _number(environ: Mapping[str, str], name: str, usual: int) -> int:
    """:returns: what a standard variable says, ``usual`` where it says nothing that makes sense, as the SDK does."""
    text = environ.get(name, "").strip()
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 and int(text) else usual


def is_wanted(environ: Mapping[str, str]) -> bool:
    """Whether the standard's variables ask for spans, and do not forbid them."""
    if environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return False
    if environ.get("OTEL_TRACES_EXPORTER", "").strip().lower() == "none":
        return False
    return bool(environ.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") or environ.get("OTEL_EXPORTER_OTLP_ENDPOINT"))


class OtlpExport:
    """The OpenTelemetry SDK's exporter, resource and sampler, by its standard ``OTEL_...`` variables."""

    def __init__(self, endpoint: str) -> None:
        """:param endpoint: the whole URL, "" where the variables tell it.

        :raises ImportError: the SDK is not installed. :raises ValueError: a variable makes no sense."""
        # Imported here: it is optional, and slow to load.
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk import trace as sdk
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace.export import SpanExportResult

        # It logs to the standard library's log, which would write on our standard error past our own.
        library = logging.getLogger("opentelemetry")
        library.addHandler(logging.NullHandler())
        library.propagate = False
        resource = Resource.create({"service.version": __version__})
        if str(resource.attributes.get("service.name", "")).startswith("unknown_service"):
            resource = resource.merge(Resource({"service.name": "microsidecar"}))
        self._resource = resource
        self._exporter = OTLPSpanExporter(endpoint=endpoint or None)
        self._success = SpanExportResult.SUCCESS
        self._sampler = sdk.TracerProvider(resource=resource, shutdown_on_exit=False).sampler

    def export(self, spans: list[Span]) -> bool:
        return self._exporter.export([self._made(span) for span in spans]) is self._success

    def shutdown(self) -> None:
        self._exporter.shutdown()

    def samples(self, trace_id: str, given: TraceContext | None) -> bool:
        """Whether spans of a trace are recorded. :param given: by whom it was passed to us, None where it begins."""
        from opentelemetry import trace

        parent = None if given is None else trace.set_span_in_context(trace.NonRecordingSpan(_context(given, True)))
        return bool(self._sampler.should_sample(parent, int(trace_id, 16), "call").decision.is_sampled())

    def _made(self, span: Span) -> Any:
        from opentelemetry import trace
        from opentelemetry.sdk.trace import ReadableSpan
        from opentelemetry.sdk.util.instrumentation import InstrumentationScope

        context = TraceContext(span.trace_id, span.span_id)
        status = trace.Status(trace.StatusCode.UNSET)
        if span.error is not None:
            status = trace.Status(trace.StatusCode.ERROR, span.error)
        return ReadableSpan(
            name=span.name,
            context=_context(context),
            parent=_context(TraceContext(span.trace_id, span.parent)) if span.parent else None,
            resource=self._resource,
            attributes=dict(span.attributes),
            kind=_KINDS[span.kind](trace),
            status=status,
            start_time=int(span.start * 1e9),
            end_time=int(span.end * 1e9),
            instrumentation_scope=InstrumentationScope("microsidecar", __version__),
        )


_KINDS: Final[Mapping[str, Callable[[Any], Any]]] = {
    "client": lambda trace: trace.SpanKind.CLIENT,
    "producer": lambda trace: trace.SpanKind.PRODUCER,
    "consumer": lambda trace: trace.SpanKind.CONSUMER,
    "internal": lambda trace: trace.SpanKind.INTERNAL,
}


def _context(found: TraceContext, remote: bool = False) -> Any:
    from opentelemetry import trace

    flags = trace.TraceFlags(int(found.flags, 16))
    return trace.SpanContext(int(found.trace_id, 16), int(found.span_id, 16), remote, flags)
