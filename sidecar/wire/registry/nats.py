"""What go-micro services with the NATS registry tell each other: questions, answers and broadcasts, as JSON.

:source: micro/go-micro ``plugins/registry/nats/nats.go@v3.7.1`` (subjects ``micro.registry.nats.*``),
    ``registry/nats/nats.go@v6.10.0`` (subjects ``micro.nats.*``)
"""

from __future__ import annotations

from typing import Any, Literal

import orjson
from attrs import frozen

from sidecar.errors import MalformedRecord
from sidecar.model import Service
from sidecar.wire import rawjson, services
from sidecar.wire.partial import Skip

#: Where questions are asked and changes are told, in the dialect of the plugins (v3, v4) and that of v5.8 and later.
#: We say everything on both. On the first it is marked as a copy, a key that Go does not look at: who listens to both
#: (one of us) passes over copies, since messages of two subjects may overtake each other.
QUERY = ("micro.registry.nats.query", "micro.nats.query")
WATCH = ("micro.registry.nats.watch", "micro.nats.watch")


@frozen
class Query:
    """A question. :ivar name: the service that is asked for, None where all are."""

    name: str | None


@frozen
class Broadcast:
    """A change. :ivar gone: whether the nodes were taken out."""

    gone: bool
    service: Service


def query(name: str | None) -> tuple[tuple[str, bytes], ...]:
    """A question for one service, or for all: what to publish where.

    A ``get`` always names a service: who answers reads its name without looking whether there is one.
    """
    if name is None:
        return _said(QUERY, "list", None)
    return _said(QUERY, "get", Service(name))


def broadcast(action: Literal["create", "delete"], service: Service) -> tuple[tuple[str, bytes], ...]:
    """Nodes came (or are still there), or were taken out: what to publish where."""
    return _said(WATCH, action, service)


def answer(service: Service) -> bytes:
    """What a question is answered with, one message a version."""
    return orjson.dumps(services.to_go_json(service))


def decode_query(body: bytes) -> Query | None:
    """:returns: None for a copy or a question of another kind. :raises MalformedRecord: it is none."""
    action, subject, copy = _read(body)
    if copy:
        return None
    if action == "list":
        return Query(None)
    if action != "get":
        return None
    if not isinstance(subject, dict):
        raise MalformedRecord("a question for a service that names none")
    name = next((value for key, value in subject.items() if key.lower() == "name"), None)
    if not isinstance(name, str) or not name:
        raise MalformedRecord("a question for a service that names none")
    return Query(name)


def decode_broadcast(body: bytes, skip: Skip | None = None) -> Broadcast | None:
    """:param skip: told of parts that are left out. :returns: None for a copy. :raises MalformedRecord: it is none."""
    action, subject, copy = _read(body)
    if copy:
        return None
    if action not in ("create", "update", "delete"):
        raise MalformedRecord(f"the action {action[:40]!r} is not known")
    return Broadcast(action == "delete", services.from_json(subject, skip))


def decode_answer(body: bytes, skip: Skip | None = None) -> Service:
    """:param skip: told of parts that are left out. :raises MalformedRecord: it is none."""
    return services.decode_record(body, skip)


def _said(subjects: tuple[str, str], action: str, service: Service | None) -> tuple[tuple[str, bytes], ...]:
    # Capitalised, as Go writes fields without tags; the service's own have tags.
    result = {"Action": action, "Service": None if service is None else services.to_go_json(service)}
    older, newer = subjects
    return (older, orjson.dumps({**result, "Copy": True})), (newer, orjson.dumps(result))


def _read(body: bytes) -> tuple[str, Any, bool]:
    try:
        value = orjson.loads(rawjson.without_bom(body))
    except orjson.JSONDecodeError as error:
        raise MalformedRecord(f"not JSON: {error}") from None
    if not isinstance(value, dict):
        raise MalformedRecord("not a JSON object")
    fields = {key.lower(): content for key, content in value.items()}
    action = fields.get("action")
    if not isinstance(action, str):
        raise MalformedRecord("has no Action")
    return action, fields.get("service"), fields.get("copy") is True
