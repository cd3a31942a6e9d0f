"""The id of each request: the caller's own, or one that is made here."""

from __future__ import annotations

import re
import secrets
from itertools import count
from typing import Any, Final

from sidecar.wire.headers import REQUEST_ID

HEADER: Final = REQUEST_ID
_FIELD: Final = b"x-request-id"
#: What is taken from a caller: it goes into log lines, headers and receipts as it is.
_FIT = re.compile(rb"[!-~]{1,128}")


class RequestIds:
    """Makes ids that no other process makes: a random part that is this process's own, and a count."""

    def __init__(self, prefix: str = "") -> None:
        """:param prefix: for tests."""
        self._line = b"X-Request-Id: %b-%%x\r\n" % (prefix or secrets.token_hex(6)).encode("ascii")
        self._count = count(1)

    def line(self) -> bytes:
        """:returns: the header line of a new one."""
        return self._line % next(self._count)


def line(request: Any) -> bytes:
    """:returns: the header line of a request's id, the same each time; b"" where its connection has ended."""
    known: bytes | None = request.id_line
    if known is not None:
        return known
    given = request.fields.get(_FIELD)
    if given is not None and _FIT.fullmatch(given):
        made = b"X-Request-Id: %b\r\n" % given
    else:
        channel = request.channel
        ids = None if channel is None else getattr(channel.site, "request_ids", None)
        made = ids.line() if ids is not None else b""
    request.id_line = made
    return made


def request_id(request: Any) -> str:
    """:returns: the id of ``request``; "" of one whose connection has ended."""
    return line(request)[len("X-Request-Id: ") : -2].decode("ascii")
