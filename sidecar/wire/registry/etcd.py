"""etcd's v3 JSON gateway, and go-micro's keys and values in it.

A node's key is ``/micro/registry/<service>/<node id>``; its value the JSON of its service with just this node.

:source: micro/go-micro@v1.18.0:registry/etcd/etcd.go, micro/go-micro@v6.10.0:registry/etcd/etcd.go;
    etcd v3.4 API reference (etcdserverpb/rpc.proto) and its gRPC gateway
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from typing import Any

import orjson
from attrs import evolve, frozen

from sidecar.errors import MalformedRecord
from sidecar.model import Node, Service
from sidecar.wire import services
from sidecar.wire.partial import Skip

PREFIX = "/micro/registry/"

#: gRPC status codes that the gateway answers.
INVALID_ARGUMENT = 3
DEADLINE_EXCEEDED = 4
OUT_OF_RANGE = 11
UNAVAILABLE = 14
UNAUTHENTICATED = 16


def key(name: str, identity: str) -> str:
    """The key of a node."""
    return f"{PREFIX}{name.replace('/', '-')}/{identity.replace('/', '-')}"


def value(service: Service, node: Node) -> bytes:
    """What stands at a node's key."""
    return orjson.dumps(services.to_go_json(evolve(service, nodes=(node,))))


def end_of(prefix: str) -> str:
    """The first key after all that begin with ``prefix``."""
    return prefix[:-1] + chr(ord(prefix[-1]) + 1)


@frozen
class Record:
    """A key as etcd tells it. :ivar revision: of its last change. :ivar lease: 0 for none."""

    key: str
    value: bytes
    revision: int
    lease: int = 0

    def service(self, skip: Skip | None = None) -> Service:
        """:param skip: told of parts that are left out. :raises MalformedRecord: it is no service with one node."""
        found = services.decode_record(self.value, skip)
        if not found.nodes:
            raise MalformedRecord("nodes: has none")
        return found


@frozen
class Page:
    """One page of a range."""

    records: tuple[Record, ...]
    revision: int
    more: bool


@frozen
class Progress:
    """One message of a watch.

    :ivar events: puts, as records, and deletes, as a key with its revision, in order.
    :ivar compacted: the history that was asked for is gone since this revision; 0 where it is not.
    :ivar canceled: why etcd ends the watch, None where it does not.
    """

    revision: int
    events: tuple[Record | tuple[str, int], ...] = ()
    compacted: int = 0
    canceled: str | None = None


# --- Requests -------------------------------------------------------------------------------------------------------


def put(at: str, what: bytes, lease: int) -> bytes:
    """The body of ``/v3/kv/put``."""
    return orjson.dumps({"key": _pack(at.encode()), "value": _pack(what), **({"lease": str(lease)} if lease else {})})


def delete(at: str) -> bytes:
    """The body of ``/v3/kv/deleterange``."""
    return orjson.dumps({"key": _pack(at.encode())})


def delete_unchanged(at: str, revision: int) -> bytes:
    """The body of ``/v3/kv/txn`` that deletes a key if its last change is of ``revision``, and else counts it."""
    at_ = _pack(at.encode())
    return orjson.dumps(
        {
            "compare": [{"key": at_, "target": "MOD", "result": "EQUAL", "mod_revision": str(revision)}],
            "success": [{"request_delete_range": {"key": at_}}],
            "failure": [{"request_range": {"key": at_, "count_only": True}}],
        }
    )


def is_gone(txn: dict[str, Any]) -> bool:
    """Whether the key of :func:`delete_unchanged` is not there any more. :param txn: the answer."""
    if txn.get("succeeded"):
        return True
    responses = txn.get("responses") or [{}]
    found = responses[0].get("response_range") or {}
    return number(found.get("count")) == 0


def page(start: str, end: str, limit: int, revision: int = 0) -> bytes:
    """The body of ``/v3/kv/range``: up to ``limit`` keys from ``start`` to before ``end``, as of ``revision``."""
    return orjson.dumps(
        {
            "key": _pack(start.encode()),
            "range_end": _pack(end.encode()),
            "limit": str(limit),
            **({"revision": str(revision)} if revision else {}),
        }
    )


def watch(prefix: str, revision: int) -> bytes:
    """The body of ``/v3/watch``: every change under ``prefix`` from ``revision`` on."""
    return orjson.dumps(
        {
            "create_request": {
                "key": _pack(prefix.encode()),
                "range_end": _pack(end_of(prefix).encode()),
                "start_revision": str(revision),
                "progress_notify": True,
            }
        }
    )


def grant(seconds: int) -> bytes:
    """The body of ``/v3/lease/grant``."""
    return orjson.dumps({"TTL": str(seconds)})


def lease(identity: int) -> bytes:
    """The body of ``/v3/lease/keepalive`` and ``/v3/lease/revoke``."""
    return orjson.dumps({"ID": str(identity)})


def login(username: str, password: str) -> bytes:
    """The body of ``/v3/auth/authenticate``."""
    return orjson.dumps({"name": username, "password": password})


# --- Answers --------------------------------------------------------------------------------------------------------


def answer(body: bytes) -> dict[str, Any]:
    """Any answer. :raises MalformedRecord: it is not an object."""
    try:
        found = orjson.loads(body)
    except ValueError as error:
        raise MalformedRecord(f"etcd's answer is not JSON: {error}") from None
    if not isinstance(found, dict):
        raise MalformedRecord("etcd's answer is not an object")
    return found


def revision_of(found: dict[str, Any]) -> int:
    """The store's revision when it answered; 0 where it does not say."""
    header = found.get("header")
    return number(header.get("revision")) if isinstance(header, dict) else 0


def number(text: object) -> int:
    """A 64-bit integer, which the gateway writes as a string and leaves out when it is 0.

    :raises MalformedRecord: it is none.
    """
    if text is None:
        return 0
    if isinstance(text, int) or (isinstance(text, str) and len(text) <= 20 and text.lstrip("-").isdigit()):
        return int(text)
    raise MalformedRecord(f"{str(text)[:40]!r} is not a number")


def read_page(body: bytes) -> Page:
    """Read the answer of ``/v3/kv/range``. :raises MalformedRecord: it is none."""
    found = answer(body)
    return Page(tuple(_record(kv) for kv in _list(found.get("kvs"))), revision_of(found), bool(found.get("more")))


def read_progress(line: bytes) -> Progress:
    """Read one line of a watch. :raises MalformedRecord: it is none."""
    found = answer(line)
    result = found.get("result")
    if not isinstance(result, dict):
        raise MalformedRecord(f"the watch answered {line[:200].decode('utf-8', 'replace')}")
    events: list[Record | tuple[str, int]] = []
    for event in _list(result.get("events")):
        if not isinstance(event, dict):
            raise MalformedRecord("an event of the watch is not an object")
        record = _record(event.get("kv"))
        events.append((record.key, record.revision) if event.get("type") == "DELETE" else record)
    canceled = str(result.get("cancel_reason") or "no reason given") if result.get("canceled") else None
    return Progress(revision_of(result), tuple(events), number(result.get("compact_revision")), canceled)


def fault(body: bytes) -> tuple[int, str]:
    """The gRPC code and message of an answer that is not 200; 0 where it says none."""
    try:
        found = answer(body)
        error = found.get("error")
        code = number(found.get("code"))
    except MalformedRecord:
        return 0, body[:200].decode("utf-8", "replace")
    return code, str(found.get("message") or (error if isinstance(error, str) else "") or "no reason given")[:300]


def _record(kv: object) -> Record:
    if not isinstance(kv, dict):
        raise MalformedRecord("a record of etcd's is not an object")
    name = _unpack(kv.get("key")).decode("utf-8", "replace")
    return Record(name, _unpack(kv.get("value")), number(kv.get("mod_revision")), number(kv.get("lease")))


def _list(found: object) -> list[Any]:
    return found if isinstance(found, list) else []


def _pack(raw: bytes) -> str:
    return b64encode(raw).decode("ascii")


def _unpack(text: object) -> bytes:
    try:
        return b64decode(text, validate=True) if isinstance(text, str) else b""
    except ValueError:
        raise MalformedRecord("a record of etcd's is not base64") from None
