"""Acknowledges at once what came of an answer while the rest of it is due.

A peer that writes an answer in two pieces, as Python's ``http.server`` does, and leaves Nagle's algorithm on, keeps the
second piece until the first is acknowledged; and our kernel waits 40 ms for something to say along with that. Whoever
writes answers whole never comes here.
"""

from __future__ import annotations

import socket
from typing import Any, Final

#: None where the system has no such option.
_QUICKACK: Final[int | None] = getattr(socket, "TCP_QUICKACK", None)


def acknowledge(transport: Any) -> None:
    """:param transport: of a connection on which more has to come; one without a socket, as in tests, is left alone."""
    sock = getattr(transport, "socket", None)
    if sock is None or _QUICKACK is None:
        return
    try:
        sock.setsockopt(socket.IPPROTO_TCP, _QUICKACK, 1)
    except (OSError, AttributeError):
        pass  # closed, or no TCP: nothing is waited for
