"""Messages in the forms in which they travel: go-micro's JSON between brokers, and what a WebSocket subscriber gets.

:source: go-micro ``broker/broker.go@v1.18.0`` (``Message``), ``broker/nats@v6.10.0``
"""

from __future__ import annotations

from base64 import b64decode
from binascii import Error as Base64Error
from binascii import b2a_base64
from collections.abc import Callable, Iterable, Mapping
from typing import Final

import orjson

from sidecar.errors import BadRequest
from sidecar.model import EMPTY, Message
from sidecar.wire import rawjson
from sidecar.wire.ws import frames

#: Names of a message's header. v1.9 and later services find their subscriber by ``Micro-Topic``.
CONTENT_TYPE: Final = "Content-Type"
TOPIC: Final = "Micro-Topic"
ID: Final = "Micro-Id"

JSON: Final = "application/json"
TEXT: Final = "text/plain"
BINARY: Final = "application/octet-stream"

#: What HTTP clients claim of any body that they are not told more about.
_MEANINGLESS: Final = (
    b"application/x-www-form-urlencoded",
    b"multipart/form-data",
    b"application/x-binary",
    b"*/*",
    b"",
)

#: Headers of a publisher that go along whatever their prefix: they belong to the message, not to the connection.
_CARRIED: Final = frozenset((b"traceparent", b"tracestate", b"baggage", b"date", b"message-id", b"correlation-id"))
#: Others go along by their prefix, unless they hold a secret, or tell of the connection or of the proxies on the way.
_PREFIXES: Final = (b"x-", b"micro-")
_SECRET: Final = (
    b"auth",
    b"token",
    b"secret",
    b"passw",
    b"key",
    b"cookie",
    b"csrf",
    b"xsrf",
    b"session",
    b"credential",
)
_HOP: Final = (b"x-forwarded", b"x-real-ip", b"x-envoy", b"x-micro-", b"x-client", b"x-cluster-client")
_OWN: Final = frozenset(
    (b"micro-topic", b"micro-id", b"micro-protocol", b"micro-target", b"micro-error", b"micro-stream")
)

#: First bytes that JSON can begin with: anything else need not be parsed to be known as no JSON.
_JSON_BEGINS: Final = b'{["-0123456789tfn \t\r\n'


def encode(message: Message) -> bytes:
    """``{"Header":{...},"Body":"<base64>"}``: what go-micro's brokers send each other."""
    return b'{"Header":%b,"Body":"%b"}' % (_header(message.header), b2a_base64(message.body, newline=False))


def envelope(message: Message, id: str = "") -> bytes:
    """The same with the body once more as ``Data``, the name under which the original's examples read it.

    :param id: what acknowledges the message, plain ASCII; "" where nothing does.
    """
    body = b2a_base64(message.body, newline=False)
    known = b',"ID":"%b"' % id.encode("ascii") if id else b""
    return b'{"Header":%b,"Body":"%b","Data":"%b"%b}' % (_header(message.header), body, body, known)


def _header(header: Mapping[str, str]) -> bytes:
    try:
        return orjson.dumps(header if type(header) is dict else dict(header))
    except orjson.JSONEncodeError:
        # A broker of somebody else's gave us text that is not Unicode. It shall not cost anybody the message.
        return orjson.dumps({_unicode(name): _unicode(value) for name, value in header.items()})


def _unicode(text: object) -> str:
    return str(text).encode("utf-8", "replace").decode("utf-8")


def decode(data: bytes) -> Message:
    """Read go-micro's message JSON, its keys in any case; what is absent or null is empty.

    :raises BadRequest: it is something else. The text names the field.
    """
    try:
        value = orjson.loads(rawjson.without_bom(data))
    except orjson.JSONDecodeError as error:
        raise BadRequest(f"message: is not JSON: {error}") from None
    if not isinstance(value, dict):
        raise BadRequest("message: must be a JSON object")
    fields = {name.lower(): content for name, content in value.items()}
    header = fields.get("header")
    if header is None:
        header = EMPTY
    elif not isinstance(header, dict):
        raise BadRequest("Header: must be an object")
    for name, content in header.items():
        if not isinstance(content, str):
            raise BadRequest(f"Header.{name}: must be a string")
    body = fields.get("body")
    if body is None:
        return Message(header, b"")
    if not isinstance(body, str):
        raise BadRequest("Body: must be a string in base64")
    try:
        return Message(header, b64decode(body, validate=True))
    except (Base64Error, ValueError):
        raise BadRequest("Body: is not base64") from None


#: All that go-micro's envelope holds, and ``Data``, which ours holds besides.
_ENVELOPE: Final = frozenset(("header", "body", "data"))


def decode_any(data: bytes, topic: str) -> Message:
    """Read what came over a broker that others use too: go-micro's message JSON, or else the bytes as they came.

    :returns: for what is no envelope of go-micro's a message that holds the bytes, and says what they look like.
    """
    try:
        value = orjson.loads(rawjson.without_bom(data))
        if isinstance(value, dict) and value and _ENVELOPE.issuperset(name.lower() for name in value):
            return decode(data)
    except (orjson.JSONDecodeError, BadRequest):
        pass
    return Message({CONTENT_TYPE: content_type(data), TOPIC: topic}, data)


# --- What a publisher's bytes become --------------------------------------------------------------------------------


def content_type(body: bytes) -> str:
    """What a body is, where nobody says."""
    text = rawjson.without_bom(body)
    if text[:1] and text[:1] in _JSON_BEGINS:
        try:
            orjson.loads(text)
            return JSON
        except orjson.JSONDecodeError:
            pass
    return TEXT if is_text(body) else BINARY


def is_text(body: bytes) -> bool:
    """Whether it is UTF-8."""
    if body.isascii():
        return True
    try:
        body.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def stated_type(value: bytes | None) -> str | None:
    """The content type that a publisher means, or None where it says none or one that its HTTP client put there."""
    if value is None or value.partition(b";")[0].strip().lower() in _MEANINGLESS:
        return None
    return value.strip().decode("latin-1")


def header(pairs: Iterable[tuple[bytes, bytes]], topic: str, id: str, body: bytes) -> dict[str, str]:
    """The header of a message published over HTTP: the universal ones, and of the request's own those that speak of
    the message. Credentials and cookies never go along.

    :param pairs: the request's header fields. :param id: unique to the message.
    """
    kept: dict[str, str] = {}
    stated = None
    for name, value in pairs:
        lower = name.lower()
        if lower == b"content-type":
            stated = stated_type(value)
        elif _goes_along(lower):
            text = value.decode("utf-8", "replace")
            known = name.decode("latin-1")
            kept[known] = f"{kept[known]}, {text}" if known in kept else text
    return {CONTENT_TYPE: stated or content_type(body), **kept, TOPIC: topic, ID: id}


def _goes_along(lower: bytes) -> bool:
    if lower in _CARRIED:
        return True
    if not lower.startswith(_PREFIXES) or lower in _OWN or lower.startswith(_HOP):
        return False
    return not any(word in lower for word in _SECRET)


# --- What a subscriber gets -----------------------------------------------------------------------------------------


def _as_envelope(message: Message) -> bytes:
    return frames.frame(frames.TEXT, envelope(message))


def _as_text(message: Message) -> bytes:
    """The body in a text frame; one that is not UTF-8, which a text frame cannot hold, in a binary frame."""
    return frames.frame(frames.TEXT if is_text(message.body) else frames.BINARY, message.body)


def _as_raw(message: Message) -> bytes:
    return frames.frame(frames.BINARY, message.body)


def _as_json(message: Message) -> bytes:
    """The body in a text frame that is always JSON: itself where it is JSON, text as a JSON string, else its base64 as
    a JSON string."""
    body = message.body
    kind = content_type(body)
    if kind == JSON:
        body = rawjson.without_bom(body)
    elif kind == TEXT:
        body = orjson.dumps(body.decode("utf-8"))
    elif kind == BINARY:
        body = b'"%b"' % b2a_base64(body, newline=False)
    return frames.frame(frames.TEXT, body)


#: By the value of ``format=``: what makes one whole WebSocket frame of a message.
FORMATS: Final[Mapping[str, Callable[[Message], bytes]]] = {
    "": _as_envelope,
    "text": _as_text,
    "raw": _as_raw,
    "json": _as_json,
}
