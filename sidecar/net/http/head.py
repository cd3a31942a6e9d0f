"""The parts of an answer's header, as bytes that are ready where they are common."""

from __future__ import annotations

import re
from collections.abc import Sequence
from http import HTTPStatus

from twisted.web import http

#: Statuses whose answers have no body.
BODILESS = frozenset((*range(100, 200), 204, 304))

#: Twisted's phrases, and those of the statuses that it does not know (426, 429, 451 and others).
_PHRASES: dict[int, bytes] = {**{code.value: code.phrase.encode("ascii") for code in HTTPStatus}, **http.RESPONSES}

STATUS_LINES: dict[int, bytes] = {code: b"HTTP/1.1 %d %b\r\n" % (code, reason) for code, reason in _PHRASES.items()}

#: The end of a header with a length, ready for lengths that are common.
LENGTH_LINES = [b"Content-Length: %d\r\n\r\n" % length for length in range(1024)]


def status_line(code: int, reason: bytes | None = None) -> bytes:
    """The first line of an answer, with its end of line. :param reason: the phrase, None for the usual one."""
    if reason is None or reason == _PHRASES.get(code):
        return STATUS_LINES.get(code) or b"HTTP/1.1 %d Unknown Status\r\n" % code
    return b"HTTP/1.1 %d %b\r\n" % (code, reason.translate(None, b"\r\n"))


def header_block(headers: bytes | Sequence[tuple[bytes, bytes]]) -> bytes:
    """Header fields as lines. :param headers: pairs, or lines already (``Name: value\\r\\n`` each)."""
    if isinstance(headers, bytes):
        return headers
    block = b"".join([b"%b: %b\r\n" % pair for pair in headers])
    if not block.count(b"\r") == block.count(b"\n") == len(headers):
        # Somebody's text found its way into a value: it shall not become a field of its own.
        clean = [(name, value.translate(None, b"\r\n")) for name, value in headers]
        block = b"".join([b"%b: %b\r\n" % pair for pair in clean])
    return block


_length = re.compile(rb"(?i)(?:\A|\n)content-length:[ \t]*(\d+)[ \t]*\r\n").search


def announced_length(block: bytes) -> int | None:
    """The ``Content-Length`` among header lines, None where there is none."""
    found = _length(block)
    return int(found[1]) if found is not None else None
