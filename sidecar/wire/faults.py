"""go-micro's error object ``{"id","code","detail","status"}``: the form in which every error travels."""

from __future__ import annotations

from http import HTTPStatus

import orjson

from sidecar.model import Fault

_REASONS = {int(status): status.phrase for status in HTTPStatus}


def reason(code: int) -> str:
    """Go's reason phrase for a status, "" when it has none."""
    return _REASONS.get(code, "")


def encode(fault: Fault) -> bytes:
    """The object in JSON, keys in go-micro's order.

    :source: micro/go-micro@d3bfdc79:errors/errors.go
    """
    return orjson.dumps({"id": fault.id, "code": fault.code, "detail": fault.detail, "status": fault.status})


def parse(text: str) -> Fault:
    """Read the text of an error: the object above, or bare words.

    :returns: what the object says, a missing field as "" or 0; for bare words code 0 and the words as detail.
    :source: micro/go-micro@v6.10.0:errors/errors.go (``Parse``)
    """
    bare = Fault("", 0, text, "")
    if not text.lstrip().startswith("{"):
        return bare
    try:
        found = orjson.loads(text)
    except ValueError:
        return bare
    fault = of_members(found)
    return bare if fault is None else fault


def of_members(found: dict[str, object]) -> Fault | None:
    """The fault that a decoded object describes in go-micro's keys or JSON-RPC 2.0's, None where it is none."""
    id, code, status = found.get("id", ""), found.get("code", 0), found.get("status", "")
    detail = found.get("detail", found.get("message", ""))
    if not (isinstance(id, str) and isinstance(detail, str) and isinstance(status, str)):
        return None
    if isinstance(code, bool) or not isinstance(code, int) or not -(2**31) <= code < 2**31:
        return None
    return Fault(id, code, detail, status) if id or code or detail else None
