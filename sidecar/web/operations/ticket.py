"""``/ticket``: a ticket for a browser, which can set no header when it opens a WebSocket."""

from __future__ import annotations

from collections.abc import Callable

from sidecar.errors import NotFound
from sidecar.web.access.grants import date
from sidecar.web.access.tickets import LIFETIME
from sidecar.web.operations.policy import AccessPolicy
from sidecar.web.params import body
from sidecar.web.resource import MethodResource
from sidecar.web.response import Answer, Request, of_json

#: Bytes of a body, which says nothing.
_MOST = 4096


class TicketResource(MethodResource):
    """POST gives a ticket that stands for whoever asks."""

    def __init__(self, policy: AccessPolicy | None, now: Callable[[], float]) -> None:
        """:param policy: None where nobody has to show anything. :param now: the date, in seconds since the epoch."""
        super().__init__({"POST": self._issue})
        self._policy = policy
        self._now = now

    def _issue(self, request: Request) -> Answer:
        body(request, _MOST)
        if self._policy is None:
            raise NotFound("no ticket is needed here: the sidecar runs without --auth_tokens and --auth_roles")
        ticket, _ = self._policy.ticket(request)
        return of_json({"ticket": ticket, "expires": date(self._now() + LIFETIME)}, b"Cache-Control: no-store\r\n")
