"""A receipt: what became of one call, attempt by attempt, for a caller who asked."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any, Final

from attrs import define, field
from zope.interface import implementer

from sidecar.interfaces import ICallObserver
from sidecar.model import Attempt, Call, Caller, CallPolicy, Outcome, Reply
from sidecar.wire.tracing.traceparent import trace_id

#: Bytes of a receipt: it goes into a header.
MAX_RECEIPT: Final = 4096
#: Attempts that are kept; older ones are counted.
_KEPT: Final = 32
_LONGEST_WORDS: Final = 200


@implementer(ICallObserver)
@define(eq=False)
class Receipt:
    """Notes one call's attempts. It is handed to the client with the call.

    :ivar id: of the request. :ivar strategy: by which nodes are chosen. :ivar deadline: seconds that the call may take.
    """

    id: str
    strategy: str
    deadline: float
    _seconds: Callable[[], float]
    _call: Call | None = field(default=None, init=False)
    _began: float = field(default=0.0, init=False)
    _attempts: list[Attempt] = field(factory=list, init=False)
    _omitted: int = field(default=0, init=False)
    detailed = True

    @property
    def attempts(self) -> Sequence[Attempt]:
        """The newest attempts so far; it grows with them."""
        return self._attempts

    def began(self, call: Call, caller: Caller, policy: CallPolicy) -> None:
        self._call, self._began = call, self._seconds()

    def attempted(self, call: Call, attempt: Attempt) -> None:
        self._attempts.append(attempt)
        if len(self._attempts) > _KEPT:
            del self._attempts[0]
            self._omitted += 1

    def ended(
        self, call: Call, outcome: Outcome, error: BaseException | None, seconds: float, reply: Reply | None
    ) -> None:
        """The attempts have told it."""

    def told(self) -> dict[str, Any]:
        """:returns: the receipt as JSON-like data."""
        call = self._call
        service, method = ("", "") if call is None else (call.service, call.method)
        seconds = self._seconds() - self._began
        trace = trace_id(call)
        return told(
            self.id, trace, service, method, self.strategy, self.deadline, seconds, self._attempts, self._omitted
        )

    def line(self) -> str:
        """:returns: it in one line of JSON in ASCII, the oldest attempts left out where it would be too long."""
        found = self.told()
        while True:
            text = json.dumps(found, separators=(",", ":"))
            if len(text) <= MAX_RECEIPT or not found["attempts"]:
                return text[:MAX_RECEIPT]
            del found["attempts"][0]
            found["attempts_omitted"] = found.get("attempts_omitted", 0) + 1


def told(
    id: str,
    trace: str,
    service: str,
    method: str,
    strategy: str,
    deadline: float,
    seconds: float,
    attempts: Sequence[Attempt],
    omitted: int = 0,
) -> dict[str, Any]:
    """A receipt as JSON-like data.

    :param id: of the request. :param trace: the id of the trace, "" where there is none.
    :param strategy: by which nodes are chosen. :param deadline: seconds that the call might take.
    :param seconds: that it took. :param omitted: how many older attempts are not among ``attempts``.
    """
    kept = attempts[-_KEPT:]
    omitted += len(attempts) - len(kept)
    found: dict[str, Any] = {
        "id": id,
        **({"trace_id": trace} if trace else {}),
        "service": service,
        "method": method,
        "strategy": strategy,
        "deadline_ms": round(deadline * 1000, 3),
        "total_ms": round(seconds * 1000, 3),
        "attempts": [
            {
                "node": attempt.node.id,
                "address": attempt.address,
                "queued_ms": round(attempt.queued, 3),
                "connect_ms": round(attempt.connecting, 3),
                "wait_ms": round(attempt.waiting, 3),
                "outcome": attempt.outcome.value,
                "next": _next(kept, index, attempt),
            }
            for index, attempt in enumerate(kept)
        ],
    }
    if omitted:
        found["attempts_omitted"] = omitted
    return found


def _next(attempts: Sequence[Attempt], index: int, attempt: Attempt) -> str:
    """What came next, in words."""
    if attempt.next == "answer":
        return ""
    detail = attempt.detail[:_LONGEST_WORDS]
    if attempt.next == "give up":
        return f"gave up: {attempt.why}; {detail}" if detail else f"gave up: {attempt.why}"
    following = attempts[index + 1].node.id if index + 1 < len(attempts) else "another"
    return f"tried {following}: {attempt.why}" + (f"; {detail}" if detail else "")
