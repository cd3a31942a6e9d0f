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
