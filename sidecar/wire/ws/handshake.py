"""Whether an HTTP request opens a WebSocket, and whether it does so properly.

:source: RFC 6455, 4.2.1; RFC 9110, 7.8
"""

from __future__ import annotations

from base64 import b64decode
from binascii import Error as Base64Error
from collections.abc import Mapping

#: The only version that was ever finished.
VERSION = b"13"


def wanted(fields: Mapping[bytes, bytes]) -> bool:
    """Whether the request asks for a WebSocket. :param fields: header fields by lower-case name."""
    return b"websocket" in _tokens(fields.get(b"upgrade", b""))


def problem(version: bytes, fields: Mapping[bytes, bytes]) -> str | None:
    """What is wrong with a request that wants a WebSocket, None when nothing is.

    :param version: of HTTP: ``HTTP/1.1``.
    """
    if version != b"HTTP/1.1":
        return "a WebSocket needs HTTP/1.1"
    if b"upgrade" not in _tokens(fields.get(b"connection", b"")):
        return "Connection: must name Upgrade to open a WebSocket"
    if fields.get(b"sec-websocket-version", b"").strip() != VERSION:
        return "Sec-WebSocket-Version: must be 13"
    try:
        key = b64decode(fields.get(b"sec-websocket-key", b"").strip(), validate=True)
    except Base64Error:
        key = b""
    if len(key) != 16:
        return "Sec-WebSocket-Key: must be 16 bytes in base64"
    return None


def _tokens(value: bytes) -> set[bytes]:
    return {token.strip().lower() for token in value.split(b",")}
