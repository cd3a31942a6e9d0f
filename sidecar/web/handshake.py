"""What every room that opens WebSockets asks of a request first."""

from __future__ import annotations

from typing import Any

from sidecar.errors import BadRequest, Forbidden
from sidecar.problems import UpgradeRequired
from sidecar.web.cors import CorsPolicy
from sidecar.web.params import shown
from sidecar.wire.ws import handshake


def check(request: Any, cors: CorsPolicy, purpose: str) -> None:
    """See that a WebSocket can be opened from ``request``.

    :param purpose: what else to do, for somebody who did not ask for one.
    :raises UpgradeRequired: none was asked for. :raises BadRequest: it was asked for wrongly.
    :raises Forbidden: a page of that origin may not.
    """
    fields = request.fields
    if not handshake.wanted(fields) or request.method != b"GET":
        raise UpgradeRequired(purpose)
    problem = handshake.problem(request.clientproto, fields)
    if problem is not None:
        raise BadRequest(problem)
    origin = fields.get(b"origin")
    if not cors.permits_websocket(origin, fields.get(b"host")):
        raise Forbidden(f"Origin {shown(origin or b'')} may not open a WebSocket here: see --sidecar_cors")
