"""The last calls that failed, each with what became of it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, Final

from attrs import define, field, frozen
from zope.interface import implementer

from sidecar.interfaces import IFailureObserver
from sidecar.model import Attempt, Call, Caller, CallPolicy, Outcome
from sidecar.rpc import receipts
from sidecar.wire.headers import request_id
from sidecar.wire.registry.journal import date
from sidecar.wire.tracing.traceparent import trace_id

#: Failed calls that are kept.
KEPT: Final = 200
#: Letters of an error's words that are kept.
_LONGEST: Final = 2000


@frozen
class FailedCall:
    """One call that failed. :ivar at: when it ended, in seconds since the epoch. :ivar seconds: that it took.
    :ivar deadline: seconds that it might have taken. :ivar caller: who made it, in words."""

    at: float
    id: str
    trace: str
    service: str
    method: str
    caller: str
    outcome: Outcome
    error: str
    seconds: float
    deadline: float
    attempts: tuple[Attempt, ...]


@implementer(IFailureObserver)
@define(eq=False)
class RecentFailures:
    """Remembers the last failed calls.

    :ivar strategy: by which nodes are chosen.
    """

    strategy: str
    _wall: Callable[[], float]
    _calls: deque[FailedCall] = field(factory=lambda: deque(maxlen=KEPT), init=False)

    def attempt_failed(self, call: Call, attempt: Attempt) -> None:
        """The call's error will tell of it."""

    def call_failed(
        self, call: Call, caller: Caller, policy: CallPolicy, outcome: Outcome, error: BaseException, seconds: float
    ) -> None:
        self._calls.append(
            FailedCall(
                self._wall(),
                request_id(call),
                trace_id(call),
                call.service[:_LONGEST],
                call.method[:_LONGEST],
                (caller.name or caller.address)[:_LONGEST],
                outcome,
                str(error)[:_LONGEST],
                seconds,
                policy.timeout,
                tuple(getattr(error, "attempts", ())),
            )
        )

    def told(self) -> list[dict[str, Any]]:
        """:returns: them as JSON-like data, the newest first."""
        return [self._told(each) for each in reversed(self._calls)]

    def _told(self, call: FailedCall) -> dict[str, Any]:
        return {
            "id": call.id,
            "trace_id": call.trace,
            "at": date(call.at),
            "service": call.service,
            "method": call.method,
            "caller": call.caller,
            "outcome": call.outcome.value,
            "error": call.error,
            "total_ms": round(call.seconds * 1000, 3),
            "receipt": receipts.told(
                call.id,
                call.trace,
                call.service,
                call.method,
                self.strategy,
                call.deadline,
                call.seconds,
                call.attempts,
            ),
        }
