"""The body of a call by path: all of it is the request, as JSON, as a form's fields, or as protobuf. Pure.

:source: micro/go-api@0d3ead1:handler/rpc (the sidecar of 2018, which takes JSON and protobuf)
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import orjson

from sidecar.errors import BadRequest
from sidecar.model import EMPTY, Call
from sidecar.wire import durations, rawjson, rpc
from sidecar.wire import fields as near
from sidecar.wire.gateway.mapping import PathTarget

#: Fields of one form.
_MOST: Final = 1000
_LONGEST_TYPE: Final = 100


def read(
    target: PathTarget,
    body: bytes,
    headers: Mapping[bytes, bytes],
    metadata: Mapping[str, str] = EMPTY,
    query: bytes = b"",
) -> tuple[Call, float | None, str]:
    """Read a call by path.

    :param headers: lower-case names: ``content-type`` and ``timeout``. :param metadata: what goes along with the call.
    :param query: the text behind the question mark: ``timeout``, ``version`` and ``address`` are looked for there.
    :returns: the call, the seconds that the caller gives it or None, and the content type of its answer.
    :raises BadRequest: saying where. :raises UnsupportedMedia: the content type is none of these.
    """
    asked = rpc.form_fields(query) if query else {}
    content_type = headers.get(b"content-type", b"")
    kind = rpc.media_kind(content_type, body)
    answer = rpc.JSON
    if kind == "protobuf":
        # The answer's type echoes the request's, as the original has it.
        media = content_type.partition(b";")[0].strip().decode("latin-1")
        answer = media if 0 < len(media) <= _LONGEST_TYPE and media.isprintable() else rpc.PROTOBUF
        request = body
    elif kind == "form" and not _is_json(content_type, body):
        request = of_form(body)
    else:
        request = _checked(body)
    call = Call(
        target.service,
        target.method,
        request,
        rpc.PROTOBUF if kind == "protobuf" else rpc.JSON,
        metadata,
        rpc.text_field(asked, "address") or None,
        rpc.text_field(asked, "version") or None,
    )
    return call, durations.shortest(asked.get("timeout"), headers.get(b"timeout")), answer


def of_form(body: bytes) -> bytes:
    """The fields of a form as a JSON object: each a string, a repeated one an array of them.

    :raises BadRequest: it is none.
    """
    if body.count(b"&") >= _MOST:
        raise BadRequest(f"the form has more than {_MOST} fields")
    found: dict[str, str | list[str]] = {}
    for pair in body.split(b"&"):
        if not pair:
            continue
        name, _, value = pair.partition(b"=")
        try:
            called, said = near.unquoted(name).decode("utf-8"), near.unquoted(value).decode("utf-8")
        except UnicodeDecodeError:
            raise BadRequest("the form is not UTF-8") from None
        before = found.get(called)
        if before is None:
            found[called] = said
        elif isinstance(before, list):
            before.append(said)
        else:
            found[called] = [before, said]
    return orjson.dumps(found)


def _is_json(content_type: bytes, body: bytes) -> bool:
    """Whether what is called a form, or nothing, is JSON: ``curl -d '{...}'`` calls everything a form."""
    start = rawjson.without_bom(body).lstrip()[:1]
    return start == b"{" or (not content_type and (not start or rawjson.is_json(body)))


def _checked(body: bytes) -> bytes:
    """One JSON value; nothing at all stands for an empty object. :raises BadRequest: it is anything else."""
    body = rawjson.without_bom(body)
    if rawjson.is_plain(body):
        return body
    if not body.strip():
        return b"{}"
    try:
        rawjson.check(body)
    except ValueError as error:
        raise BadRequest(f"invalid JSON: {error}") from None
    return body.strip(b" \t\r\n")
