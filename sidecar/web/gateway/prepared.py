"""What a request's header comes to on its way to a node: worked out once for all that have the same."""

from __future__ import annotations

from typing import Final

from attrs import define

from sidecar.model import Node
from sidecar.net.http.events import Fields
from sidecar.web.auth import address_of
from sidecar.web.response import StreamedRequest
from sidecar.wire.gateway import forwarding
from sidecar.wire.gateway.forwarding import Hop
from sidecar.wire.gateway.mapping import PathTarget
from sidecar.wire.tracing import traceparent
from sidecar.wire.tracing.traceparent import TraceContext

_ASKED: Final = (b"1", b"true", b"yes")
_TRACE: Final = b"traceparent"
_STATE: Final = b"tracestate"
_TRACED: Final = frozenset((_TRACE, _STATE))


@define(eq=False)
class PreparedHead:
    """What a request's header comes to. Clients send the same one again and again on a connection, which keeps it.

    :ivar raw: the header's fields, by which it is known again. :ivar target: what its path means.
    :ivar lines: for a node, all but Host and our id. :ivar length: bytes of the body, -1 for one in chunks.
    :ivar has_id: the request has an id of its client's. :ivar explain: it asks for a receipt.
    :ivar trace: the trace that it is part of, None where one begins. :ivar trace_lines: how it said so.
    :ivar node: the last that had such a request. :ivar start: what went to it before the id.
    """

    raw: Fields
    target: PathTarget
    lines: bytes
    length: int
    has_id: bool
    explain: bool
    method: str
    trace: TraceContext | None
    trace_lines: bytes
    node: Node | None = None
    start: bytes = b""


def known(request: StreamedRequest) -> PreparedHead | None:
    """What was made of the same header before, on this connection."""
    found: PreparedHead | None = request.head.prepared
    return found if found is not None and found.raw is request.fields_raw else None


def prepare(request: StreamedRequest, target: PathTarget) -> PreparedHead:
    """Make of a header what its request and all like it need. :param target: what the path means."""
    fields, raw, channel = request.fields, request.fields_raw, request.channel
    hop = Hop(address_of(channel.getPeer()), channel.isSecure())
    trace, said = traceparent.parse(fields.get(_TRACE, b"").decode("latin-1")), b""
    if trace is not None:
        said = b"".join([b"%b: %b\r\n" % pair for pair in raw if pair[0].lower() == _TRACE])
    # The state of a trace that cannot be read is nobody's.
    lines = forwarding.request_lines(
        raw, fields, hop, request.upgrade, _TRACED if trace is None else _TRACED - {_STATE}
    )
    length = -1 if b"transfer-encoding" in fields else int(fields.get(b"content-length", b"0"))
    explain = fields.get(b"micro-explain", b"").strip().lower() in _ASKED
    method = request.method.decode("latin-1")
    has_id = b"x-request-id" in fields
    made = PreparedHead(raw, target, lines, length, has_id, explain, method, trace, said)
    if not request.upgrade:
        request.head.prepared = made
    return made
