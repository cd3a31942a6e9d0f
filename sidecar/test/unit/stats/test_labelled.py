"""Calls are counted by how they ended."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from sidecar.errors import BadAnswer, CallTimeout, NotFound, ServiceFault
from sidecar.interfaces import ICallObserver
from sidecar.model import ANONYMOUS, Attempt, Call, CallPolicy, Fault, Node, Outcome
from sidecar.stats.labelled import CallMetrics

CALL = Call("foo", "A.B")


class Counting(SynchronousTestCase):
    def test_interface(self) -> None:
        """They are an observer, one that needs no details."""
        verifyObject(ICallObserver, CallMetrics())
        self.assertFalse(CallMetrics().detailed)

    def test_ends(self) -> None:
        """Each call counts once, where its end belongs; a service's error is the service's, whatever form it had."""
        counters = CallMetrics()
        fault = Fault("a", 503, "x", "")
        ends: list[tuple[Outcome, BaseException | None]] = [
            (Outcome.ANSWERED, None),
            (Outcome.FAULT, ServiceFault(fault)),
            (Outcome.BROKEN, ServiceFault(fault, enveloped=False)),
            (Outcome.BROKEN, BadAnswer("garbage")),
            (Outcome.TIMED_OUT, CallTimeout("late")),
            (Outcome.REFUSED, NotFound("nobody")),
            (Outcome.CANCELLED, None),
        ]
        for _ in range(len(ends) + 2):
            counters.began(CALL, ANONYMOUS, CallPolicy())
        for outcome, error in ends:
            counters.ended(CALL, outcome, error, 0.1, None)
        self.assertEqual((counters.succeeded, counters.faulted, counters.timed_out), (1, 2, 1))
        self.assertEqual((counters.failed, counters.cancelled, counters.succeeded), (2, 1, 1))

    def test_retried(self) -> None:
        """An attempt that another one follows is a retry, at once or after a pause."""
        counters = CallMetrics()
        node = Node("a", "127.0.0.1", 1)
        for next in ("retry", "wait", "give up", "answer"):
            attempt = Attempt(node, node.hostport, 0, 0, 0, Outcome.REFUSED, next=next)
            counters.attempted(CALL, attempt)
        self.assertEqual(counters.retried, 2)
