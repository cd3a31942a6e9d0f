"""Counts calls by how they ended."""

from __future__ import annotations

from attrs import define
from zope.interface import implementer

from sidecar.errors import ServiceFault
from sidecar.interfaces import ICallObserver
from sidecar.model import Attempt, Call, Caller, CallPolicy, Outcome, Reply


@implementer(ICallObserver)
@define(eq=False)
class CallCounters:
    """Numbers since the start, as ``/stats`` tells them.

    :ivar started: calls that began.
    :ivar succeeded: calls that were answered well. :ivar faulted: by an error of the service.
    :ivar timed_out: calls that ran out of time. :ivar failed: calls that failed otherwise.
    :ivar cancelled: calls whose caller left. :ivar retried: attempts after the first.
    """

    started: int = 0
    succeeded: int = 0
    faulted: int = 0
    timed_out: int = 0
    failed: int = 0
    cancelled: int = 0
    retried: int = 0
    detailed = False

    @property
    def in_flight(self) -> int:
        return self.started - self.succeeded - self.faulted - self.timed_out - self.failed - self.cancelled

    def began(self, call: Call, caller: Caller, policy: CallPolicy) -> None:
        self.started += 1

    def attempted(self, call: Call, attempt: Attempt) -> None:
        if attempt.next in ("retry", "wait"):
            self.retried += 1

    def ended(
        self, call: Call, outcome: Outcome, error: BaseException | None, seconds: float, reply: Reply | None
    ) -> None:
        if outcome is Outcome.ANSWERED:
            self.succeeded += 1
        elif outcome is Outcome.CANCELLED:
            self.cancelled += 1
        elif isinstance(error, ServiceFault):
            self.faulted += 1
        elif outcome is Outcome.TIMED_OUT:
            self.timed_out += 1
        else:
            self.failed += 1
