"""``/live`` and ``/tap``: what happens now, as Server-Sent Events; ``/errors``: the last calls that failed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import orjson
from twisted.web.server import NOT_DONE_YET

from sidecar.errors import BadRequest, Forbidden
from sidecar.model import Caller
from sidecar.rpc.failures import KEPT, RecentFailures
from sidecar.rpc.tap import Tap, TapRequest
from sidecar.stats.history import History
from sidecar.web.access.grants import check_service, matches
from sidecar.web.auth import caller_of
from sidecar.web.events.longanswers import LongAnswers
from sidecar.web.observe.live import LiveView
from sidecar.web.params import query
from sidecar.web.resource import MethodResource
from sidecar.web.response import Answer, Request, of_json
from sidecar.wire import events

#: Calls a second that a tap shows unless another rate is asked for, and at most.
USUAL_RATE, MAX_RATE = 50, 1000
_UNCACHED: Final = b"Cache-Control: no-store\r\n"


class LiveStreamResource(MethodResource):
    """GET streams what happens now: an event each second."""

    def __init__(self, view: LiveView, history: History, answers: LongAnswers) -> None:
        super().__init__({"GET": self._open})
        self._view = view
        self._history = history
        self._answers = answers
        self._last: tuple[dict[str, Any], bytes] = ({}, b"")

    def _open(self, request: Request) -> int:
        hour = query(request.uri).expect("history").flag("history")
        ends: list[Callable[[], None]] = []
        stream = self._answers.stream(request, lambda: _end(ends))
        if stream.open:
            if hour:
                stream.send(events.encode("history", orjson.dumps(self._history.told())))
            ends.append(self._view.listen(lambda event: stream.send(self._written(event))))
        return NOT_DONE_YET

    def _written(self, event: dict[str, Any]) -> bytes:
        """The bytes of an event, made once for all who listen."""
        if self._last[0] is not event:
            self._last = event, events.encode("live", orjson.dumps(event))
        return self._last[1]


class TapResource(MethodResource):
    """GET streams calls as they end."""

    def __init__(self, tap: Tap, answers: LongAnswers) -> None:
        super().__init__({"GET": self._open})
        self._tap = tap
        self._answers = answers

    def _open(self, request: Request) -> int:
        asked = query(request.uri).expect("service", "bodies", "rate")
        service, bodies = asked.one("service") or None, asked.flag("bodies")
        caller = caller_of(request)
        if service is not None:
            check_service(caller, "read", service)
        if bodies and "admin" not in caller.roles:
            raise Forbidden(
                f"bodies: {caller.name or 'this caller'} has not the role admin, which it takes to see them"
            )
        wanted = TapRequest(_admits(service, caller), bodies, _rate(asked.one("rate")))
        ends: list[Callable[[], None]] = []
        stream = self._answers.stream(request, lambda: _end(ends))
        if stream.open:
            ends.append(self._tap.listen(wanted, lambda call: stream.send(events.encode("call", orjson.dumps(call)))))
        return NOT_DONE_YET


class FailuresResource(MethodResource):
    """GET gives the last calls that failed."""

    def __init__(self, failures: RecentFailures) -> None:
        super().__init__({"GET": self._tell})
        self._failures = failures

    def _tell(self, request: Request) -> Answer:
        asked = query(request.uri).expect("service", "limit")
        service = asked.one("service") or None
        caller = caller_of(request)
        if service is not None:
            check_service(caller, "read", service)
        admits = _admits(service, caller)
        found = [each for each in self._failures.told() if admits(each["service"])]
        return of_json(found[: _limit(asked.one("limit"))], _UNCACHED)


def _end(ends: list[Callable[[], None]]) -> None:
    for end in ends:
        end()


def _admits(service: str | None, caller: Caller) -> Callable[[str], bool]:
    """Which services are shown: the one asked for, of those that ``caller`` may see."""
    patterns = caller.services
    if service is not None:
        return service.__eq__
    return (lambda name: True) if patterns is None else (lambda name: matches(patterns, name))


def _rate(text: str | None) -> float:
    if text is None:
        return USUAL_RATE
    return _number("rate", text, MAX_RATE)


def _limit(text: str | None) -> int:
    return KEPT if text is None else _number("limit", text, KEPT)


def _number(name: str, text: str, most: int) -> int:
    """:raises BadRequest: it is no number from 1 on."""
    if not (text.isascii() and text.isdigit() and len(text) < 10 and int(text)):
        raise BadRequest(f"{name}: must be a whole number from 1 to {most}")
    return min(int(text), most)
