"""What is done after an attempt failed: the table of ``rpc.attempts``, line by line."""

from __future__ import annotations

from random import Random
from typing import Literal

from twisted.trial.unittest import SynchronousTestCase

from sidecar.errors import (
    BadAnswer,
    BadRequest,
    CallError,
    CallTimeout,
    ConnectFailed,
    ConnectionLost,
    NotSent,
    Overloaded,
    ServiceFault,
)
from sidecar.model import Attempt, Call, CallPolicy, Fault, Node, Outcome
from sidecar.rpc.attempts import Attempts, GiveUp, Try, Wait
from sidecar.rpc.retrybudget import RetryBudget

A, B = Node("foo-1", "127.0.0.1", 9), Node("foo-2", "::1", 10)

NOT_RUN: tuple[CallError, ...] = (ConnectFailed("connection refused"), NotSent("closed"))
MAYBE_RUN: tuple[CallError, ...] = (ConnectionLost("closed"), BadAnswer("garbage"))
RAN: tuple[CallError, ...] = (
    ServiceFault(Fault("a", 500, "x", "")),
    ServiceFault(Fault("a", 408, "x", "")),
    ServiceFault(Fault("", 0, "x", "")),
)
REFUSED: tuple[CallError, ...] = (ServiceFault(Fault("a", 400, "x", "")), ServiceFault(Fault("a", 503, "x", "")))


def attempts(retry: Literal["safe", "error", "never"] = "safe", retries: int = 1, deadline: float = 5.0) -> Attempts:
    return Attempts(Call("foo", "Say.Hello"), CallPolicy(5.0, retries, retry), deadline, Random(1), RetryBudget(0.2))


def at(node: Node, seconds: float, detail: str = "") -> Attempt:
    return Attempt(node, node.hostport, 0.0, 0.0, seconds * 1000, Outcome.REFUSED, detail)


class Verdicts(SynchronousTestCase):
    def verdict(self, retry: Literal["safe", "error", "never"], error: CallError, untried: bool = True) -> object:
        return attempts(retry).failed(at(A, 0.1), error, untried, 0.1)

    def test_table(self) -> None:
        """``safe`` repeats what cannot have run, ``error`` also 408 and 500, ``never`` nothing."""
        for error in NOT_RUN:
            self.assertEqual(self.verdict("safe", error), Try())
            self.assertEqual(self.verdict("error", error), Try())
        for error in MAYBE_RUN + RAN:
            self.assertIsInstance(self.verdict("safe", error), GiveUp)
            self.assertEqual(self.verdict("error", error), Try())
        for error in REFUSED:
            self.assertIsInstance(self.verdict("error", error), GiveUp)
        for error in NOT_RUN + MAYBE_RUN + RAN + REFUSED:
            self.assertIsInstance(self.verdict("never", error), GiveUp)

    def test_full_queue(self) -> None:
        """A full queue of ours is never tried again, at whatever node: that would fill it."""
        for retry in ("safe", "error", "never"):
            verdict = self.verdict(retry, Overloaded("full"))
            self.assertIsInstance(verdict, GiveUp)

    def test_budget(self) -> None:
        """Once too many calls are tried again, the next ones are told their failure at once, and why."""
        budget = RetryBudget(0.0)
        verdicts = []
        for _ in range(101):
            machine = Attempts(Call("foo", "Say.Hello"), CallPolicy(), 5.0, Random(1), budget)
            verdicts.append(machine.failed(at(A, 0.1), NOT_RUN[0], True, 0.1))
        self.assertEqual(verdicts[:100], [Try()] * 100)
        self.assertIsInstance(verdicts[100], GiveUp)
        self.assertIn("retry budget", machine.made[0].why)

    def test_wait_at_the_same_node(self) -> None:
        """At the same node there is a pause first: ten times longer each time, jittered, a second at most."""
        machine = attempts(retries=5, deadline=100.0)
        for most in (0.01, 0.1, 1.0, 1.0, 1.0):
            verdict = machine.failed(at(A, 0.0), NOT_RUN[0], False, 0.0)
            assert isinstance(verdict, Wait)
            self.assertTrue(most / 2 <= verdict.seconds <= most, verdict)
        self.assertIsInstance(machine.failed(at(A, 0.0), NOT_RUN[0], False, 0.0), GiveUp)

    def test_jitter(self) -> None:
        """Two sidecars do not pause alike."""
        waits = {
            Attempts(Call("a", "b"), CallPolicy(), 5.0, Random(seed), RetryBudget(0.2)).failed(
                at(A, 0), NOT_RUN[0], False, 0
            )
            for seed in range(9)
        }
        self.assertGreater(len(waits), 5)

    def test_count(self) -> None:
        """There is one attempt more than ``retries``."""
        for retries in (0, 1, 3):
            machine = attempts(retries=retries)
            verdicts = [machine.failed(at(A, 0.0), NOT_RUN[0], True, 0.0) for _ in range(retries + 1)]
            self.assertEqual(verdicts[:-1], [Try()] * retries)
            self.assertIsInstance(verdicts[-1], GiveUp)

    def test_no_time(self) -> None:
        """No pause and no attempt beyond the deadline: the caller is told at once."""
        self.assertIsInstance(attempts(deadline=0.012).failed(at(A, 0.0), NOT_RUN[0], False, 0.01), GiveUp)
        self.assertIsInstance(attempts(deadline=1.0).failed(at(A, 1.0), NOT_RUN[0], True, 1.0), GiveUp)

    def test_not_a_node_s_fault(self) -> None:
        """What is wrong with the call itself is not tried elsewhere, and is told as it is."""
        error = BadRequest("method: x")
        verdict = attempts("error").failed(at(A, 0.0), error, True, 0.0)
        self.assertEqual(verdict, GiveUp(error))


class Telling(SynchronousTestCase):
    def test_details(self) -> None:
        """The caller reads which nodes were tried and what happened at each."""
        machine = attempts()
        machine.failed(at(A, 0.1, "connection refused"), ConnectFailed("connection refused"), True, 0.1)
        verdict = machine.failed(
            at(B, 0.2, "the connection was closed"), ConnectionLost("the connection was closed"), False, 0.3
        )
        assert isinstance(verdict, GiveUp)
        error = verdict.error
        assert isinstance(error, ConnectionLost)
        self.assertEqual(
            str(error),
            "foo Say.Hello: 2 attempts failed: 127.0.0.1:9 (foo-1): connection refused; "
            "[::1]:10 (foo-2): the connection was closed",
        )
        first, second = error.attempts
        self.assertEqual((first.next, first.why), ("retry", "there is another address"))
        self.assertEqual((second.node, second.next, second.why), (B, "give up", "no attempt is left"))

    def test_one(self) -> None:
        """One attempt is one attempt."""
        verdict = attempts(retries=0).failed(at(A, 0.1, "connection refused"), NOT_RUN[0], True, 0.1)
        assert isinstance(verdict, GiveUp)
        self.assertEqual(str(verdict.error), "foo Say.Hello: 1 attempt failed: 127.0.0.1:9 (foo-1): connection refused")

    def test_own_words(self) -> None:
        """A service's error keeps its own words, and the attempts stand beside it."""
        machine = attempts()
        machine.failed(at(A, 0.1, "connection refused"), NOT_RUN[0], True, 0.1)
        verdict = machine.failed(at(B, 0.1), REFUSED[0], True, 0.2)
        assert isinstance(verdict, GiveUp)
        assert isinstance(verdict.error, ServiceFault)
        self.assertEqual((verdict.error.fault, len(verdict.error.attempts)), (Fault("a", 400, "x", ""), 2))

    def test_expired(self) -> None:
        """A timeout says how long was waited, for what, and where."""
        machine = attempts()
        machine.failed(at(A, 0.1, "connection refused"), NOT_RUN[0], True, 0.1)
        error = machine.expired(at(B, 4.9, "no answer in 4.9 s"), "no answer")
        self.assertIsInstance(error, CallTimeout)
        self.assertEqual(
            str(error),
            "foo Say.Hello: timed out after 5 s: 2 attempts failed: 127.0.0.1:9 (foo-1): connection refused; "
            "[::1]:10 (foo-2): no answer in 4.9 s",
        )
        self.assertIn("no node was tried: silence", str(attempts().expired(None, "silence")))
