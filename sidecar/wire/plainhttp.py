"""Apps that speak plain HTTP: ``POST /<Type>/<Method>``, JSON in, JSON out, errors by status.

Used both ways: to call a node whose metadata says ``protocol=http``, and to hand a go-micro call to an app that was
registered with ``--server_protocol=http``.
"""

from __future__ import annotations

import re
from urllib.parse import quote

import orjson

from sidecar.errors import BadRequest
from sidecar.model import Call, Fault, Node, Reply
from sidecar.wire import faults, rawjson
from sidecar.wire.bypath import operation
from sidecar.wire.bypath.operation import Operation

DEFAULT_TEMPLATE = "/{type}/{method}"

#: What ``server`` says in the metadata of a node that go-micro's plugin serves.
GO_SERVER = "http"
#: What stands in a target as it is: the reserved characters, and percent signs, since escapes are there already.
_TARGET = "/?:@!$&'()*+,;=%-._~[]"

_PLACE = re.compile(r"\{([A-Za-z]*)\}")

#: Characters of an app's words that an error carries on.
_WORDS = 2048


def asked(node: Node, call: Call) -> Operation:
    """What a call asks of a node: a POST to the path that its method makes, or what a path and a verb say.

    go-micro's own HTTP servers (``server=http``) know nothing of types: their endpoints are paths, to which Go's client
    posts as they are.

    :raises BadRequest: the method is neither, or the request cannot be asked so.
    :source: go-micro/plugins/v4 ``client/http`` and ``server/http``
    """
    by_path = call.method.startswith("/")
    if by_path or (node.metadata.get("server") == GO_SERVER and "path" not in node.metadata):
        target = quote(call.method if by_path else f"/{call.method}", safe=_TARGET)
        return operation.by_path(target, call.verb, call.request, "json" in call.content_type)
    return Operation(call.verb or "POST", path(call.service, call.method, node.metadata.get("path", "")), call.request)


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
