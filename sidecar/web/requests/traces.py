"""The trace of each request: the caller's own, or one that begins here."""

from __future__ import annotations

from binascii import hexlify
from collections.abc import Callable, Mapping
from random import Random
from typing import Any, Final

from sidecar.stats.tracing.parents import Parents
from sidecar.stats.tracing.spans import new_span_id, new_trace_id
from sidecar.wire.tracing import traceparent
from sidecar.wire.tracing.traceparent import HEADER, STATE, TraceContext

_FIELD: Final = b"traceparent"


class Traces:
    """Takes traces as they come, and begins one where none comes. What is begun is marked as sampled, so that services
    record it as they would have recorded a trace of their own."""

    def __init__(self, random: Random) -> None:
        self._bits = random.getrandbits

    def begun(self) -> bytes:
        """:returns: the header line of a new trace."""
        # Sixteen bytes and eight, written at once: that is half of what two numbers cost. (All zeros would be no id;
        # with 64 bits that does not happen.)
        return b"Traceparent: 00-%b-01\r\n" % hexlify(self._bits(192).to_bytes(24, "little"), "-", -16)

    def taken(self, given: TraceContext) -> TraceContext:
        """:returns: what goes along in place of ``given``."""
        return given


def lines(request: Any, forwarded: Mapping[str, str]) -> tuple[Mapping[str, str], bytes]:
    """What tells of the trace of ``request``.

    :param forwarded: what of its headers goes along. :returns: what still does, and the header line that does besides.
    """
    traces = _traces(request)
    if traces is None:
        return forwarded, b""
    if _FIELD not in request.fields:
        return forwarded, traces.begun()
    given = traceparent.parse(forwarded.get(HEADER, ""))
    if given is None:
        return {name: value for name, value in forwarded.items() if name not in (HEADER, STATE)}, traces.begun()
    taken = traces.taken(given)
    if taken is given:
        return forwarded, b""
    return {name: value for name, value in forwarded.items() if name != HEADER}, b"Traceparent: %b\r\n" % str(
        taken
    ).encode("ascii")


def of_request(request: Any) -> str:
    """:returns: the value of the header for what ``request`` publishes, "" where nobody begins traces."""
    traces = _traces(request)
    if traces is None:
        return ""
    given = traceparent.parse(request.fields.get(_FIELD, b"").decode("latin-1"))
    return str(traces.taken(given)) if given is not None else traces.begun().decode("ascii")[len(HEADER) + 2 : -2]


def trace_id(request: Any) -> str:
    """:returns: the id of the trace that ``request`` is part of: its call's, else its caller's, else ""."""
    known = traceparent.trace_id(getattr(request, "call", None))
    if known:
        return known
    given = traceparent.parse(request.fields.get(_FIELD, b"").decode("latin-1"))
    return "" if given is None else given.trace_id


def _traces(request: Any) -> Traces | None:
    channel = request.channel
    found: Traces | None = None if channel is None else getattr(channel.site, "traces", None)
    return found


class RecordedTraces(Traces):
    """Traces of which spans are recorded here: what goes along names a span of ours, a child of the caller's."""

    def __init__(self, random: Random, parents: Parents, samples: Callable[[str, TraceContext | None], bool]) -> None:
        """:param parents: told whose child each span is. :param samples: whether a trace is recorded, given its id and
        by whom it was passed to us."""
        super().__init__(random)
        self._random = random
        self._parents = parents
        self._samples = samples

    def begun(self) -> bytes:
        trace_id, span_id = new_trace_id(self._random), new_span_id(self._random)
        self._parents.put(span_id, "")
        flags = "01" if self._samples(trace_id, None) else "00"
        return b"Traceparent: %b\r\n" % str(TraceContext(trace_id, span_id, flags)).encode("ascii")

    def taken(self, given: TraceContext) -> TraceContext:
        span_id = new_span_id(self._random)
        self._parents.put(span_id, given.span_id)
        return TraceContext(given.trace_id, span_id, "01" if self._samples(given.trace_id, given) else "00")
