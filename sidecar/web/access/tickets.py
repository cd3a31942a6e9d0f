"""Tickets: what a page in a browser shows in a URL, where it can set no header. Good once, and for a minute."""

from __future__ import annotations

import secrets
from typing import Final

from attrs import define, field

from sidecar.model import Caller

#: Seconds that one is good for.
LIFETIME: Final = 60.0
#: So many may be out at once; the oldest make place.
_MOST: Final = 10_000


@define(eq=False)
class Tickets:
    """Those that are out."""

    _out: dict[str, tuple[Caller, float]] = field(factory=dict, init=False)

    def issue(self, caller: Caller, now: float) -> str:
        """:param now: seconds, by a clock that nobody sets. :returns: a ticket that stands for ``caller``."""
        while self._out and (len(self._out) >= _MOST or next(iter(self._out.values()))[1] <= now):
            del self._out[next(iter(self._out))]
        ticket = secrets.token_urlsafe(24)
        self._out[ticket] = (caller, now + LIFETIME)
        return ticket

    def use(self, ticket: str, now: float) -> Caller | None:
        """:returns: whom it stands for; None where it is unknown, was used, or is too old."""
        caller, until = self._out.pop(ticket, (None, 0.0))
        return caller if until > now else None
