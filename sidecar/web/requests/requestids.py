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
        self._prefix = prefix or secrets.token_hex(6)
        self._count = count(1)

    def make(self) -> str:
        """:returns: a new one."""
        return f"{self._prefix}-{next(self._count):x}"


def request_id(request: Any) -> str:
    """:returns: the id of ``request``, the same each time; "" of one whose connection has ended."""
    known: str | None = request.request_id
    if known is not None:
        return known
    given = request.fields.get(_FIELD)
    if given is not None and _FIT.fullmatch(given):
        made = given.decode("ascii")
    else:
        channel = request.channel
        ids = None if channel is None else getattr(channel.site, "request_ids", None)
        made = ids.make() if ids is not None else ""
    request.request_id = made
    return made


def line(request: Any) -> bytes:
    """:returns: the header line that tells the id, b"" where there is none."""
    made = request_id(request)
    return b"X-Request-Id: %b\r\n" % made.encode("ascii") if made else b""
