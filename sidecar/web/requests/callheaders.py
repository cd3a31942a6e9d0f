"""What the header of a call comes to, kept for the calls that follow with the same one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from attrs import frozen

from sidecar.web.requests.requestids import RequestIds
from sidecar.web.requests.traces import Traces
from sidecar.wire import rpc
from sidecar.wire.usualcalls import RepeatedCalls

#: Fields that ask for something which is looked at in each request.
_CLOSER: Final = frozenset((b"content-encoding", b"micro-explain", b"traceparent", b"x-request-id"))


@frozen
class CallHeader:
    """What a header that asks for nothing unusual comes to. Clients send the same one again and again on a connection,
    which keeps it.

    :ivar metadata: what of it goes along with a call.
    :ivar calls: reads the bodies. :ivar ids: gives each request its id, and :ivar traces: its trace.
    """

    metadata: Mapping[str, str]
    calls: RepeatedCalls
    ids: RequestIds
    traces: Traces


def prepared(request: Any) -> CallHeader | None:
    """What was made before of the same header, or of one that differs in the length of the body, on this connection."""
    head = request.head
    if head is None or request.fields_raw is not head.fields_raw:
        return None  # something was taken out of this one
    found: CallHeader | None = head.alike
    return found


def prepare(request: Any, metadata: Mapping[str, str]) -> None:
    """Make of the header of ``request`` what all like it need, unless each takes a closer look.

    :param metadata: what of it goes along with a call.
    """
    head, site = request.head, request.channel.site
    ids, traces = getattr(site, "request_ids", None), getattr(site, "traces", None)
    if head is None or ids is None or traces is None or not _CLOSER.isdisjoint(request.fields):
        return
    if request.fields_raw is not head.fields_raw:
        return
    calls = rpc.repeated(request.fields, request.uri.partition(b"?")[2])
    if calls is not None:
        head.alike = CallHeader(metadata, calls, ids, traces)
