"""Which headers of a caller go along with a call, and how metadata is written on the wire."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Final

from sidecar.errors import BadRequest
from sidecar.model import EMPTY

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
    )
)

#: They steer go-micro's own machinery: a copied ``Micro-Topic`` would turn a call into an event.
_STEERING: Final = frozenset(
    prefix + name
    for prefix in ("micro-", "x-micro-")
    for name in ("topic", "target", "protocol", "error", "stream", "id", "service", "method", "endpoint")
)

#: What the sidecar itself reads of a call's headers.
_READ: Final = frozenset(
    (
        b"content-type",
        b"timeout",
        b"connection",
        b"micro-service",
        b"micro-method",
        b"micro-endpoint",
        b"x-micro-service",
        b"x-micro-method",
        b"x-micro-endpoint",
    )
)

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


@lru_cache(maxsize=2048)
def _known_as(name: bytes) -> str | None:
    text = name.decode("latin-1")
    return canonical(text) if forwardable(text) else None


def sort(pairs: Iterable[tuple[bytes, bytes]]) -> tuple[Mapping[str, str], Mapping[bytes, bytes]]:
    """Sort the headers of a caller into what goes along and what is ours to read.

    :param pairs: names in any case, values; repeated names are joined, since services read only the first.
    :returns: metadata, and by lower-case name the headers that the sidecar itself reads.
    """
    metadata: dict[str, str] = {}
    read: dict[bytes, bytes] = {}
    for name, value in pairs:
        known = _known_as(name)
        if known is None:
            lower = name.lower()
            if lower in _READ:
                read[lower] = value
        elif known in metadata:
            metadata[known] += ", " + value.decode("utf-8", "surrogateescape")
        else:
            metadata[known] = value.decode("utf-8", "surrogateescape")
    if metadata and b"connection" in read:
        # RFC 9110 7.6.1: headers that Connection names are for this hop alone.
        for token in read[b"connection"].split(b","):
            metadata.pop(canonical(token.strip().decode("latin-1")), None)
    return metadata or EMPTY, read


def block(metadata: Mapping[str, str]) -> bytes:
    """Metadata as header lines, each ended by CRLF; b"" for none.

    Names that would disturb the wire are left out, whoever gave them.

    :raises BadRequest: a value that no header can hold.
    """
    if not metadata:
        return b""
    lines: list[str] = []
    for name, value in metadata.items():
        if not forwardable(name):
            continue
        if _UNSAFE.search(value):
            raise BadRequest(f"metadata {name}: holds a control character")
        lines.append(f"{name}: {value}\r\n")
    try:
        return "".join(lines).encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        raise BadRequest("metadata: holds a lone surrogate, which no header can carry") from None
