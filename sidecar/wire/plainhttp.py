"""Apps that speak plain HTTP: ``POST /<Type>/<Method>``, JSON in, JSON out, errors by status.

Used both ways: to call a node whose metadata says ``protocol=http``, and to hand a go-micro call to an app that was
registered with ``--server_protocol=http``.
"""

from __future__ import annotations

import re
from urllib.parse import quote

import orjson

from sidecar.errors import BadRequest
from sidecar.model import Fault, Reply
from sidecar.wire import faults, rawjson

DEFAULT_TEMPLATE = "/{type}/{method}"

_PLACE = re.compile(r"\{([A-Za-z]*)\}")

#: Characters of an app's words that an error carries on.
_WORDS = 2048


def path(service: str, method: str, template: str = "") -> str:
    """The path that a call is posted to.

    :param template: with ``{service}``, ``{type}`` and ``{method}`` where those go, as node metadata ``path`` gives it;
        "" for ``/{type}/{method}``. A ``{Type}`` means the same as ``{type}``.
    :raises BadRequest: the method is not ``Type.Method``, or the template is no path.
    """
    kind, _, name = method.rpartition(".")
    if not kind or not name:
        raise BadRequest(f"method: {method!r} is not Type.Method")
    parts = {"service": service, "type": kind, "method": name}
    template = template or DEFAULT_TEMPLATE

    def fill(match: re.Match[str]) -> str:
        part = parts.get(match[1].lower())
        if part is None:
            raise BadRequest(
                f"path: {template!r} has {match[0]}, and only {{service}}, {{type}} and {{method}} are known"
            )
        return quote(part, safe="")

    filled = _PLACE.sub(fill, template)
    if not re.fullmatch(r"/[!-~]*", filled):
        raise BadRequest(f"path: {template!r} is no path: it has to begin with / and be printable ASCII")
    return filled


def method(path: str) -> str | None:
    """``/<Type>/<Method>`` read back; None where it is no such path."""
    match = re.fullmatch(r"/([^/?#]+)/([^/?#]+)", path)
    return f"{match[1]}.{match[2]}" if match else None


def answer(service: str, status: int, content_type: str, body: bytes) -> Reply | Fault:
    """What the answer of a plain app means.

    Any 2xx is a reply: its body is the result, ``null`` when there is none. Anything else is a fault: go-micro's error
    JSON is kept as it is, other words become the detail and the status the code.
    """
    if 200 <= status < 300:
        if "protobuf" in content_type or "octet-stream" in content_type:
            return Reply(body, "application/protobuf")
        if not body.strip():
            return Reply(b"null")
        bare = rawjson.without_bom(body)
        return Reply(bare) if _is_json(bare) else Reply(orjson.dumps(body.decode("utf-8", "replace")))
    text = rawjson.without_bom(body).decode("utf-8", "replace").strip()
    if text.startswith("{"):
        fault = faults.parse(text)
        if fault.code:
            return fault
    return Fault(id=service, code=status, detail=text[:_WORDS] or faults.reason(status), status=faults.reason(status))


def _is_json(body: bytes) -> bool:
    try:
        orjson.loads(body)
    except orjson.JSONDecodeError:
        return False
    return True
