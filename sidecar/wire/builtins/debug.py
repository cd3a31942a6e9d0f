"""``Debug.Health`` and ``Debug.Stats``, which go-micro's servers offer without telling. Pure.

:source: ``debug/proto/debug.proto`` and ``debug/handler`` of micro/go-micro@v1.18.0, @v2.9.1 (fields 7 and 8)
"""

from __future__ import annotations

import orjson
from attrs import asdict, frozen

from sidecar.model import Reply
from sidecar.wire.mucp import protorpc

HEALTH = "Debug.Health"
STATS = "Debug.Stats"


@frozen
class DebugStats:
    """In the order of their numbers in protobuf, from 1 on.

    :ivar timestamp: now, and ``started``: seconds since the epoch. :ivar uptime: seconds. :ivar memory: bytes.
    :ivar gc: nanoseconds that the collector has taken. :ivar requests: so far. :ivar errors: of these.
    """

    timestamp: int
    started: int
    uptime: int
    memory: int
    threads: int
    gc: int
    requests: int
    errors: int


def health(is_json: bool) -> Reply:
    """The answer of a server that is well."""
    return Reply(b'{"status":"ok"}') if is_json else Reply(b"\x0a\x02ok", "application/protobuf")


def stats(figures: DebugStats, is_json: bool) -> Reply:
    """Zero is left out of protobuf, as its writers do."""
    if is_json:
        return Reply(orjson.dumps(asdict(figures)))
    fields = [
        protorpc.varint(number << 3) + protorpc.varint(value)
        for number, value in enumerate(asdict(figures).values(), 1)
        if value
    ]
    return Reply(b"".join(fields), "application/protobuf")
