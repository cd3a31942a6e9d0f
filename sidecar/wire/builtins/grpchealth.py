"""gRPC's own health service. Pure.

:source: github.com/grpc/grpc, doc/health-checking.md; ``grpc/health/v1/health.proto``
"""

from __future__ import annotations

from typing import Final

import orjson

from sidecar.errors import BadRequest
from sidecar.wire.mucp import protorpc

CHECK: Final = "/grpc.health.v1.Health/Check"
WATCH: Final = "/grpc.health.v1.Health/Watch"
SERVING: Final = 1
NOT_SERVING: Final = 2
_NAMES: Final = {SERVING: "SERVING", NOT_SERVING: "NOT_SERVING"}


def asked(request: bytes, is_json: bool) -> str:
    """:returns: the service that is asked about, "" for the server. :raises BadRequest: it cannot be read."""
    try:
        if is_json:
            said = orjson.loads(request or b"{}")
            name = said.get("service", "") if isinstance(said, dict) else None
            if not isinstance(name, str):
                raise ValueError("service is no string")
            return name
        if not request:
            return ""
        tag, at = protorpc.read_varint(request, 0)
        length, at = protorpc.read_varint(request, at)
        if tag != 0x0A or at + length != len(request):
            raise ValueError("its field 1 is the service, and there is no other")
        return request[at:].decode("utf-8")
    except ValueError as error:
        raise BadRequest(f"health check: {error}") from None


def answer(status: int, is_json: bool) -> bytes:
    return orjson.dumps({"status": _NAMES[status]}) if is_json else bytes((0x08, status))
