"""``/rpc/stream``: a WebSocket that is a go-micro stream."""

from __future__ import annotations

from typing import Any

from sidecar.errors import BadRequest
from sidecar.model import Call
from sidecar.problems import RPC
from sidecar.web import handshake
from sidecar.web.access.grants import check_service
from sidecar.web.auth import caller_of
from sidecar.web.cors import CorsPolicy
from sidecar.web.params import query
from sidecar.web.requests import traces
from sidecar.web.resource import MethodResource
from sidecar.web.response import Request
from sidecar.wire import headers


class StreamResource(MethodResource):
    """GET with an upgrade opens a stream; what cannot be opened is refused before the handshake, as /rpc would."""

    def __init__(self, sockets: handshake.IStreamSockets, cors: CorsPolicy) -> None:
        super().__init__({"GET": self._open}, RPC)
        self._sockets = sockets
        self._cors = cors

    def _open(self, request: Any) -> int:
        asked = query(request.uri).expect("service", "method", "address", "version")
        service, method = asked.one("service"), asked.one("method")
        if not service:
            raise BadRequest("invalid service")
        if not method:
            raise BadRequest("invalid method")
        handshake.check(request, self._cors, "a stream is a WebSocket; for a single call, POST to /rpc")
        caller = caller_of(request)
        check_service(caller, "call", service)
        self._sockets.admit(request)
        forwarded, trace = traces.lines(request, metadata(request))
        call = Call(
            service,
            method,
            metadata={**forwarded, **dict(headers.pairs_of(trace))},
            address=asked.one("address"),
            version=asked.one("version") or None,
        )
        return self._sockets.upgrade(request, call, caller)


def metadata(request: Request) -> Any:
    """The headers of the handshake that go along, less those of the handshake itself."""
    pairs = [
        (name, value) for name, value in _pairs(request) if not name.lower().startswith((b"sec-websocket", b"origin"))
    ]
    return headers.sort(pairs)[0]


def _pairs(request: Any) -> list[tuple[bytes, bytes]]:
    pairs: list[tuple[bytes, bytes]] = request.fields_raw
    return pairs
