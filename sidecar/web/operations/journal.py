"""``/journal``: what came, altered and went in the registry, when and why."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, get_args

from sidecar.errors import BadRequest
from sidecar.model import Reason
from sidecar.registry.journal import Journal
from sidecar.web.params import Params, query
from sidecar.web.resource import MethodResource
from sidecar.web.response import Answer, Request, of_json
from sidecar.wire import durations
from sidecar.wire.registry import journal as form

#: Entries in one answer unless its caller says otherwise, and at most.
USUAL: Final = 100
MOST: Final = 10_000
_REASONS: Final[tuple[str, ...]] = get_args(Reason)


class JournalResource(MethodResource):
    """GET lists entries, the oldest first."""

    def __init__(self, journal: Journal, now: Callable[[], float]) -> None:
        """:param now: seconds since the epoch."""
        super().__init__({"GET": self._list})
        self._journal = journal
        self._now = now

    def _list(self, request: Request) -> Answer:
        asked = query(request.uri).expect("service", "since", "reason", "limit")
        reason = asked.one("reason")
        if reason is not None and reason not in _REASONS:
            raise BadRequest(f"reason: there is none of that name; there are {', '.join(_REASONS)}")
        entries = self._journal.find(asked.one("service"), self._since(asked), reason, _limit(asked))
        return of_json(
            [
                form.entry(one.index, one.time, one.action, one.reason, one.detail, one.by, one.service)
                for one in entries
            ]
        )

    def _since(self, asked: Params) -> float | None:
        """:returns: seconds since the epoch. :raises BadRequest: it is neither a date nor a duration."""
        text = asked.one("since")
        if text is None:
            return None
        try:
            return self._now() - durations.parse(text)
        except ValueError:
            try:
                return form.read_date(text)
            except ValueError as error:
                raise BadRequest(f"since: {error}, or like 1h") from None


def _limit(asked: Params) -> int:
    """:raises BadRequest: it is no number of entries."""
    text = asked.one("limit")
    if text is None:
        return USUAL
    if not (text.isascii() and text.isdigit() and len(text) < 10 and int(text)):
        raise BadRequest(f"limit: must be a whole number from 1 to {MOST}")
    return min(int(text), MOST)
