"""A receipt: what became of one call, attempt by attempt, for a caller who asked."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Final

from attrs import define, field
from zope.interface import implementer

from sidecar.interfaces import ICallObserver
from sidecar.model import Attempt, Call, Caller, Outcome

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

    def began(self, call: Call, caller: Caller) -> None:
        self._call, self._began = call, self._seconds()

    def attempted(self, call: Call, attempt: Attempt) -> None:
        self._attempts.append(attempt)
        if len(self._attempts) > _KEPT:
            del self._attempts[0]
            self._omitted += 1

    def ended(self, call: Call, outcome: Outcome, error: BaseException | None, seconds: float) -> None:
        """The attempts have told it."""

    def told(self) -> dict[str, Any]:
        """:returns: the receipt as JSON-like data."""
        call = self._call
        found: dict[str, Any] = {
            "id": self.id,
            "service": call.service if call is not None else "",
            "method": call.method if call is not None else "",
            "strategy": self.strategy,
            "deadline_ms": round(self.deadline * 1000, 3),
            "total_ms": round((self._seconds() - self._began) * 1000, 3),
            "attempts": [
                {
                    "node": attempt.node.id,
                    "address": attempt.address,
                    "queued_ms": round(attempt.queued, 3),
                    "connect_ms": round(attempt.connecting, 3),
                    "wait_ms": round(attempt.waiting, 3),
                    "outcome": attempt.outcome.value,
                    "next": self._next(index, attempt),
                }
                for index, attempt in enumerate(self._attempts)
            ],
        }
        if self._omitted:
            found["attempts_omitted"] = self._omitted
        return found

    def _next(self, index: int, attempt: Attempt) -> str:
        """What came next, in words."""
        if attempt.next == "answer":
            return ""
        detail = attempt.detail[:_LONGEST_WORDS]
        if attempt.next == "give up":
            return f"gave up: {attempt.why}; {detail}" if detail else f"gave up: {attempt.why}"
        following = self._attempts[index + 1].node.id if index + 1 < len(self._attempts) else "another"
        return f"tried {following}: {attempt.why}" + (f"; {detail}" if detail else "")

    def line(self) -> str:
        """:returns: it in one line of JSON in ASCII, the oldest attempts left out where it would be too long."""
        told = self.told()
        while True:
            text = json.dumps(told, separators=(",", ":"))
            if len(text) <= MAX_RECEIPT or not told["attempts"]:
                return text[:MAX_RECEIPT]
            del told["attempts"][0]
            told["attempts_omitted"] = told.get("attempts_omitted", 0) + 1
