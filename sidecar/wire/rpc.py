"""The body of POST /rpc, form or JSON, read into a Call; the payload stays in the caller's own bytes.

:source: micro/micro@a45687f7 and @45ded138~1 (the sidecar's /rpc handler)
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final

from sidecar.errors import BadRequest, UnsupportedMedia
from sidecar.model import EMPTY, Call
from sidecar.wire import durations, rawjson, usualcalls
from sidecar.wire import fields as near
from sidecar.wire.bypath import operation
from sidecar.wire.usualcalls import RepeatedCalls

JSON: Final = usualcalls.JSON
PROTOBUF: Final = "application/protobuf"

#: Media types by what they mean here; what is not listed is looked at by :func:`media_kind`.
_KINDS: Final[Mapping[bytes, str]] = {
    b"application/json": "json",
    b"text/json": "json",
    b"application/json-rpc": "json",
    b"application/x-www-form-urlencoded": "form",
    b"application/protobuf": "protobuf",
    b"application/x-protobuf": "protobuf",
    b"application/proto": "protobuf",
    b"application/proto-rpc": "protobuf",
    b"application/octet-stream": "protobuf",
    b"": "",
}

#: Fields of one form; nothing of ours takes more than five.
_MAX_FIELDS: Final = 64
_LONGEST_NAME: Final = 1024
#: Bytes of a body from which on it is read in C where it can be.
_LARGE: Final = 64 * 1024


def read(
    body: bytes,
    headers: Mapping[bytes, bytes],
    metadata: Mapping[str, str] = EMPTY,
    query: bytes = b"",
    lines: bytes = b"",
) -> tuple[Call, float | None]:
    """Read a call.

    :param headers: lower-case names: ``content-type``, ``timeout``, and for protobuf ``micro-service`` and
        ``micro-method`` or ``micro-endpoint``.
    :param metadata: what goes along with the call.
    :param query: the text behind the question mark: what the body leaves out is looked for there. Where it names
        service and method, a JSON body that is no call of its own is the payload.
    :param lines: header lines of ours that go along.
    :returns: the call, and the seconds that the caller gives it, None where nothing is said.
    :raises BadRequest: naming the field. :raises UnsupportedMedia: the content type is none of these.
    """
    content_type = headers.get(b"content-type", b"")
    kind = _KINDS.get(content_type)
    if not kind:
        kind = media_kind(content_type, body)
    timeout = headers.get(b"timeout")
    if timeout is None and not query and kind != "protobuf":
        call = usualcalls.read(kind, body, metadata, lines)
        if call is not None:
            return call, None
    asked = form_fields(query) if query else {}
    if kind == "protobuf":
        return _read_protobuf(body, headers, metadata, asked, lines)
    body = rawjson.without_bom(body)
    complete = bool(asked.get("service") and asked.get("method"))
    if kind == "form" and (body.lstrip()[:1] == b"{" or (complete and rawjson.is_json(body))):
        kind = "json"  # ``curl -d '{...}'`` calls everything a form
    if kind == "form":
        fields = form_fields(body, "request")
    elif complete:
        fields = _json_fields_or_request(body)
    else:
        fields = _json_fields(body)
    return _call({**asked, **fields}, kind == "json", metadata, timeout, lines)


def repeated(headers: Mapping[bytes, bytes], query: bytes) -> RepeatedCalls | None:
    """What reads call after call that comes with the same header; None where each takes a closer look.

    :param headers: lower-case names. :param query: the text behind the question mark.
    """
    kind = _KINDS.get(headers.get(b"content-type", b""))
    return RepeatedCalls(kind) if kind in ("json", "form") and not query and b"timeout" not in headers else None


def media_kind(content_type: bytes, body: bytes) -> str:
    """How a body is to be read: ``json``, ``form`` or ``protobuf``. :raises UnsupportedMedia: in none of these ways."""
    media = content_type.partition(b";")[0].strip().lower()
    kind = _KINDS.get(media)
    if kind is None:
        if re.fullmatch(rb"application/[!-~]+\+json", media):
            return "json"
        shown = "".join(char if char.isprintable() else "?" for char in media[:100].decode("latin-1"))
        raise UnsupportedMedia(
            f"Content-Type {shown} is not read here: send application/json, application/x-www-form-urlencoded "
            "or application/protobuf"
        )
    return kind or ("json" if rawjson.without_bom(body).lstrip()[:1] == b"{" else "form")


# --- Fields, as bytes of JSON (from JSON) or of text (from a form) --------------------------------------------------

_NAMES = {name: name for name in ("service", "method", "address", "request", "timeout", "version", "verb")}

#: What others call ``request``: a call without one that has these would lose its payload.
_PAYLOADS: Final = frozenset(("params", "data", "body", "args", "payload", "input"))


def _refuse_lost(names: Iterable[str], has_request: bool = True) -> None:
    """Refuse names that are not ours and that were hardly meant to be ignored.

    :param names: that we do not know. :param has_request: whether the payload is there under its own name.
    :raises BadRequest: one is nearly a name of ours, or looks like the payload of a call that has none.
    """
    for name in names:
        lower = name.lower()
        meant = near.meant(lower, _NAMES)
        if meant is None and lower in _PAYLOADS and not has_request:
            meant = "request"
        if meant is not None:
            shown = "".join(char if char.isprintable() else "?" for char in name[:64])
            raise BadRequest(f"{shown}: a call has nothing of that name; {meant} was meant, it seems")


def _json_fields_or_request(body: bytes) -> dict[str, str | bytes]:
    """The fields of a body that is a call of its own, with a request and nothing that is not ours; any other JSON is
    the request itself."""
    members: dict[str, bytes] | None = None
    if len(body) > _LARGE:
        members = _cut_large(body)
        if members is None and b'"request"' not in body.lower() and rawjson.is_plain(body):
            members = {}
    try:
        members = rawjson.members(body) if members is None else members
    except ValueError:
        members = {}
    names = {name.lower() for name in members}
    if "request" in names and names <= _NAMES.keys():
        return _known_members(members)
    try:
        rawjson.check(body)
    except ValueError as error:
        raise BadRequest(f"invalid JSON: {error}") from None
    return {"request": body.strip(b" \t\r\n")}


#: Cuts a large call that has nothing but these.
_cut_large = rawjson.cutter(_NAMES)


def _json_fields(body: bytes) -> dict[str, str | bytes]:
    """The fields of a call. :raises BadRequest: it is none, or something in it would be lost."""
    large = _cut_large(body) if len(body) > _LARGE else None
    if large is not None:
        return _known_members(large)
    try:
        members = rawjson.members(body)
    except ValueError as error:
        raise BadRequest(f"invalid JSON: {error}") from None
    others = [name for name in members if name.lower() not in _NAMES]
    if others:
        _refuse_lost(others, any(name.lower() == "request" for name in members))
    return _known_members(members)


def _known_members(members: Mapping[str, bytes]) -> dict[str, str | bytes]:
    """Strings for what must be one, JSON slices as bytes for ``request`` and for everything that is no string."""
    fields: dict[str, str | bytes] = {}
    for name, value in members.items():
        known = _NAMES.get(name.lower())
        if known is None or (value == b"null" and known != "request"):
            continue
        text = rawjson.string(value)
        fields[known] = value if text is None else text
    return fields


def form_fields(body: bytes, needed: str = "") -> dict[str, str | bytes]:
    """Of a name given twice the first one counts, as in Go.

    :param needed: a field that should be there, and whose lack makes names suspect that look like it.
    """
    if body.count(b"&") >= _MAX_FIELDS:
        raise BadRequest(f"the form has more than {_MAX_FIELDS} fields")
    fields: dict[str, str | bytes] = {}
    others: list[str] = []
    for pair in body.split(b"&"):
        name, _, value = pair.partition(b"=")
        called = near.unquoted(name).decode("latin-1")
        known = _NAMES.get(called.lower())
        if known is None:
            others.append(called)
        if known is None or known in fields:
            continue
        try:
            fields[known] = near.unquoted(value).decode("utf-8")
        except UnicodeDecodeError:
            if known == "request":
                raise BadRequest("error decoding request string: not UTF-8") from None
            raise BadRequest(f"invalid {known}: not UTF-8") from None
    _refuse_lost(others, not needed or needed in fields)
    return fields


def _call(
    fields: dict[str, str | bytes],
    is_json: bool,
    metadata: Mapping[str, str],
    timeout_header: bytes | None,
    lines: bytes = b"",
) -> tuple[Call, float | None]:
    service = _name(fields, "service")
    method = _name(fields, "method")
    address = text_field(fields, "address") or None
    request = fields.get("request")
    if request is None:
        if not is_json and fields.get("verb") is None:
            raise BadRequest("error decoding request string: EOF")
        request = b"{}"  # what the command line's health and stats send
    elif isinstance(request, str):
        # A string holding JSON; its text is what the service gets.
        try:
            request = request.removeprefix("\ufeff").strip(" \t\r\n").encode("utf-8")
            rawjson.check(request)
        except ValueError as error:  # a lone surrogate is one too
            raise BadRequest(f"error decoding request string: {_why(error)}") from None
    version = text_field(fields, "version") or None
    timeout = durations.shortest(fields.get("timeout"), timeout_header)
    verb = _verb(fields, method)
    return Call(service, method, request, JSON, metadata, address, version, lines, verb), timeout


def _verb(fields: dict[str, str | bytes], method: str) -> str:
    """The method of HTTP that is asked for, "" for none. :raises BadRequest: nobody is called by it."""
    given = text_field(fields, "verb")
    verb = given and operation.verb_of(given)
    if verb and "/" not in method:
        raise BadRequest(f"verb: {verb} is for services that are called by path (/user/login), and not for {method}")
    return verb


def _why(error: ValueError) -> str:
    return "not UTF-8: a lone surrogate" if isinstance(error, UnicodeEncodeError) else str(error)


def text_field(fields: dict[str, str | bytes], name: str) -> str:
    value = fields.get(name, "")
    if isinstance(value, bytes):
        raise BadRequest(f"invalid {name}: a string is expected, not {rawjson.kind(value)}")
    if len(value) > _LONGEST_NAME or not value.isprintable():
        why = f"longer than {_LONGEST_NAME} characters" if len(value) > _LONGEST_NAME else "holds a control character"
        raise BadRequest(f"invalid {name}: {why}")
    return value


def _name(fields: dict[str, str | bytes], name: str) -> str:
    value = text_field(fields, name).strip()
    if not value:
        raise BadRequest(f"invalid {name}")
    return value


# --- Opaque protobuf ------------------------------------------------------------------------------------------------


def _read_protobuf(
    body: bytes,
    headers: Mapping[bytes, bytes],
    metadata: Mapping[str, str],
    fields: dict[str, str | bytes],
    lines: bytes,
) -> tuple[Call, float | None]:
    """The body is the payload; service and method stand in the query or in the headers that go-micro has for them.

    :param fields: of the query.
    """
    for name, places in (("service", (b"service",)), ("method", (b"method", b"endpoint"))):
        for place in places:
            value = headers.get(b"micro-" + place) or headers.get(b"x-micro-" + place)
            if value and name not in fields:
                fields[name] = value.decode("utf-8", "replace")
    service, method = _name(fields, "service"), _name(fields, "method")
    address = text_field(fields, "address") or None
    timeout = durations.shortest(fields.get("timeout"), headers.get(b"timeout"))
    version = text_field(fields, "version") or None
    verb = _verb(fields, method)
    return Call(service, method, body, PROTOBUF, metadata, address, version, lines, verb), timeout
