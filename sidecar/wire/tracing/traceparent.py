"""W3C's trace context: by which trace, and which span of it, something was asked for. Pure.

:source: W3C Trace Context, 3.2 (traceparent header)
"""

from __future__ import annotations

import re
from typing import Final

from attrs import frozen

from sidecar.model import Call
from sidecar.wire.headers import pairs_of

#: The headers, in Go's case.
HEADER: Final = "Traceparent"
STATE: Final = "Tracestate"
_FORM = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_SAMPLED: Final = 1


@frozen
class TraceContext:
    """Where in a trace somebody is. :ivar trace_id: 32 hexadecimal digits. :ivar span_id: 16 of them.
    :ivar flags: two of them."""

    trace_id: str
    span_id: str
    flags: str = "01"

    @property
    def sampled(self) -> bool:
        """Whether its spans are recorded."""
        return bool(int(self.flags, 16) & _SAMPLED)

    def __str__(self) -> str:
        """The header's value."""
        return f"00-{self.trace_id}-{self.span_id}-{self.flags}"


def parse(text: str) -> TraceContext | None:
    """:param text: a header's value. :returns: None where it is none: a trace begins anew then, by the standard."""
    found = _FORM.fullmatch(text.strip())
    if found is None:
        return None
    version, trace, span, flags, more = found.groups()
    if version == "ff" or (version == "00" and more) or not trace.strip("0") or not span.strip("0"):
        return None
    return TraceContext(trace, span, flags)


def of_call(call: Call) -> TraceContext | None:
    """What goes along with a call."""
    for name, value in (*pairs_of(call.lines), *call.metadata.items()):
        if name.lower() == "traceparent":
            return parse(value)
    return None


def trace_id(call: Call | None) -> str:
    """:returns: the id of the trace that a call is part of, "" where it is of none."""
    found = None if call is None else of_call(call)
    return "" if found is None else found.trace_id
