"""Which headers of a caller go along with a call, and how metadata is written on the wire."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Final

from sidecar.errors import BadRequest
from sidecar.model import EMPTY, Call

#: They describe the caller's connection or body, or the caller's secrets, and not the call.
_OURS: Final = frozenset(
    (
        "content-type",
        "content-length",
        "content-encoding",
        "transfer-encoding",
        "connection",
        "keep-alive",
        "proxy-connection",
        "proxy-authorization",
        "proxy-authenticate",
        "upgrade",
        "http2-settings",
        "te",
        "trailer",
        "expect",
        "host",
        "timeout",
        "cookie",
        "cookie2",
        "micro-sidecar-token",
    )
)

#: They steer go-micro's own machinery: a copied ``Micro-Topic`` would turn a call into an event.
_STEERING: Final = frozenset(
    prefix + name
    for prefix in ("micro-", "x-micro-")
    for name in ("topic", "target", "protocol", "error", "stream", "id", "service", "method", "endpoint")
)

#: What many requests hold besides, and nothing else: then there is nothing to forward.
_USUAL: Final = frozenset(
    name.encode("ascii")
    for name in (*_OURS, "accept", "accept-encoding", "accept-language", "accept-charset", "accept-ranges")
)

#: By which a request is known in logs, receipts and at nodes.
REQUEST_ID: Final = "X-Request-Id"

_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_UNSAFE = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")


def forwardable(name: str) -> bool:
    """Whether a header of the caller may go to the service.

    :param name: in any case.
    """
    lower = name.lower()
    return not (lower in _OURS or lower in _STEERING or lower.startswith("accept")) and bool(_NAME.fullmatch(name))


def canonical(name: str) -> str:
    """A header's name in Go's case, ``X-Request-Id``, under which handlers look for it.

    :source: Go ``textproto.CanonicalMIMEHeaderKey``
    """
    return "-".join(part[:1].upper() + part[1:].lower() for part in name.split("-"))


_may_pass = lru_cache(maxsize=512)(forwardable)


@lru_cache(maxsize=512)
def _known_as(name: bytes) -> str | None:
    text = name.decode("latin-1")
    return canonical(text) if forwardable(text) else None


def metadata(fields: Mapping[bytes, bytes], pairs: Iterable[tuple[bytes, bytes]]) -> Mapping[str, str]:
    """What of a caller's headers goes along with its call.

    :param fields: the headers by lower-case name. :param pairs: the same as they came; repeated ones are joined, since
        services read only the first.
    """
    if fields.keys() <= _USUAL:
        return EMPTY
    forwarded: dict[str, str] = {}
    for name, value in pairs:
        known = _known_as(name)
        if known is None:
            continue
        text = value.decode("utf-8", "surrogateescape")
        forwarded[known] = f"{forwarded[known]}, {text}" if known in forwarded else text
    connection = fields.get(b"connection")
    if connection is not None and forwarded:
        # RFC 9110 7.6.1: headers that Connection names are for this hop alone.
        for token in connection.split(b","):
            forwarded.pop(canonical(token.strip().decode("latin-1")), None)
    return forwarded or EMPTY


def sort(pairs: Iterable[tuple[bytes, bytes]]) -> tuple[Mapping[str, str], Mapping[bytes, bytes]]:
    """The same for those who have only the pairs. :returns: metadata, and the headers by lower-case name."""
    pairs = list(pairs)
    fields = {name.lower(): value for name, value in pairs}
    return metadata(fields, pairs), fields


def of_call(call: Call) -> bytes:
    """All header lines that go along with a call. :raises BadRequest: as for :func:`block`."""
    return call.lines + block(call.metadata) if call.metadata else call.lines


def pairs_of(lines: bytes) -> list[tuple[str, str]]:
    """Names and values of header lines of ours."""
    pairs = (line.partition(": ") for line in lines.decode("ascii").split("\r\n") if line)
    return [(name, value) for name, _, value in pairs]


def request_id(call: Call) -> str:
    """The id of the request that a call came with, "" where it has none."""
    for name, value in (*pairs_of(call.lines), *call.metadata.items()):
        if name.lower() == "x-request-id":
            return value
    return ""


def block(metadata: Mapping[str, str]) -> bytes:
    """Metadata as header lines, each ended by CRLF; b"" for none.

    Names that would disturb the wire are left out, whoever gave them.

    :raises BadRequest: a value that no header can hold.
    """
    if not metadata:
        return b""
    lines: list[str] = []
    for name, value in metadata.items():
        if not _may_pass(name):
            continue
        if _UNSAFE.search(value):
            raise BadRequest(f"metadata {name}: holds a control character")
        lines.append(f"{name}: {value}\r\n")
    try:
        return "".join(lines).encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        raise BadRequest("metadata: holds a lone surrogate, which no header can carry") from None
