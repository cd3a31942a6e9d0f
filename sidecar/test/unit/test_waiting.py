"""Asking once for many, pauses that grow, far wake-ups, and answers from before a change."""

from __future__ import annotations

from random import Random
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import CancelledError, Deferred, fail, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from sidecar.waiting import LONGEST_TIMER, Alarm, AskOnce, Backoff, Clocks, Freshness, first_of, wall


class AskOnceTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.once: AskOnce[str, int] = AskOnce()
        self.asked: list[Deferred[int]] = []
        self.cancelled: list[Deferred[int]] = []

    def question(self) -> Deferred[int]:
        self.asked.append(Deferred(self.cancelled.append))
        return self.asked[-1]

    def test_asked_once(self) -> None:
        """However many ask, the question is asked once, and all are answered in order."""
        waiting = [self.once.ask("a", self.question) for _ in range(5)]
        order: list[int] = []
        for number, each in enumerate(waiting):

            def noted(answer: int, number: int = number) -> int:
                order.append(number)
                return answer

            each.addCallback(noted)
        self.assertEqual(len(self.asked), 1)
        self.assertIn("a", self.once)
        self.asked[0].callback(7)
        self.assertEqual([self.successResultOf(each) for each in waiting], [7] * 5)
        self.assertEqual(order, [0, 1, 2, 3, 4])
        self.assertNotIn("a", self.once)

    def test_other_questions(self) -> None:
        """Different questions are asked each for itself, and an answered one is asked again."""
        one, two = self.once.ask("a", self.question), self.once.ask("b", self.question)
        self.asked[1].callback(2)
        self.assertEqual(self.successResultOf(two), 2)
        self.assertNoResult(one)
        self.once.ask("b", self.question)
        self.assertEqual(len(self.asked), 3)

    def test_answered_at_once(self) -> None:
        """An answer that is there at once is given at once."""
        self.assertEqual(self.successResultOf(self.once.ask("a", lambda: succeed(1))), 1)
        self.failureResultOf(self.once.ask("a", lambda: fail(KeyError("a"))), KeyError)
        self.assertNotIn("a", self.once)

    def test_cannot_be_asked(self) -> None:
        """A question that raises leaves nothing behind."""

        def broken() -> Deferred[int]:
            raise ZeroDivisionError

        self.assertRaises(ZeroDivisionError, self.once.ask, "a", broken)
        self.assertNotIn("a", self.once)

    def test_all_are_told_of_failure(self) -> None:
        """A failure reaches everybody who waits."""
        waiting = [self.once.ask("a", self.question) for _ in range(3)]
        self.asked[0].errback(KeyError("a"))
        for each in waiting:
            self.failureResultOf(each, KeyError)

    def test_one_leaves(self) -> None:
        """One who cancels fails alone; the others are answered."""
        one, other = self.once.ask("a", self.question), self.once.ask("a", self.question)
        one.cancel()
        self.failureResultOf(one, CancelledError)
        self.assertEqual(self.cancelled, [])
        self.asked[0].callback(1)
        self.assertEqual(self.successResultOf(other), 1)

    def test_all_leave(self) -> None:
        """When the last one has left the question is cancelled, and who comes then asks anew."""
        waiting = [self.once.ask("a", self.question) for _ in range(2)]
        for each in waiting:
            each.cancel()
            self.failureResultOf(each, CancelledError)
        self.assertEqual(self.cancelled, self.asked)
        again = self.once.ask("a", self.question)
        self.asked[1].callback(2)
        self.assertEqual(self.successResultOf(again), 2)

    def test_leaves_while_told(self) -> None:
        """One who is told may cancel another who is yet to be told, and may ask again."""
        first = self.once.ask("a", self.question)
        second = self.once.ask("a", self.question)
        third = self.once.ask("a", self.question)
        again: list[Deferred[int]] = []
        first.addCallback(lambda _: second.cancel())
        first.addCallback(lambda _: again.append(self.once.ask("a", self.question)))
        self.asked[0].callback(1)
        self.failureResultOf(second, CancelledError)
        self.assertEqual(self.successResultOf(third), 1)
        self.asked[1].callback(2)
        self.assertEqual(self.successResultOf(again[0]), 2)

    def test_fail(self) -> None:
        """Whoever waits when it is all over fails with the reason; the questions are cancelled."""
        waiting = [self.once.ask(key, self.question) for key in "aab"]
        self.once.fail(KeyError("over"))
        for each in waiting:
            self.failureResultOf(each, KeyError)
        self.assertEqual(self.cancelled, self.asked)
        self.assertNotIn("a", self.once)

    @given(st.lists(st.tuples(st.sampled_from(["ask", "cancel", "answer", "fail"]), st.integers(0, 9)), max_size=40))
    def test_everybody_is_told_once(self, steps: list[tuple[str, int]]) -> None:
        """Whoever asks, leaves and answers in whatever order: each one is told exactly once, in the end all are."""
        once: AskOnce[int, int] = AskOnce()
        asked: dict[int, Deferred[int]] = {}
        told: list[int] = []
        waiting: list[Deferred[Any]] = []

        def tell(outcome: object, index: int) -> None:
            told.append(index)

        for step, number in steps:
            key = number % 3
            if step == "ask":

                def question(key: int = key) -> Deferred[int]:
                    asked[key] = Deferred()
                    return asked[key]

                waiting.append(once.ask(key, question))
                waiting[-1].addBoth(tell, len(waiting) - 1)
            elif step == "cancel" and number < len(waiting):
                waiting[number].cancel()
            elif step == "answer" and key in once:
                asked[key].callback(number)
            elif step == "fail" and key in once:
                asked[key].errback(KeyError(number))
        once.fail(KeyError("over"))
        self.assertEqual(sorted(told), list(range(len(waiting))))


class FreshnessTests(SynchronousTestCase):
    def test_before_and_after(self) -> None:
        """An answer holds when nothing changed since it was asked for."""
        fresh = Freshness()
        asked = fresh.asked()
        self.assertTrue(fresh.holds(asked))
        fresh.changed()
        self.assertFalse(fresh.holds(asked))
        self.assertTrue(fresh.holds(fresh.asked()))


class BackoffTests(SynchronousTestCase):
    def test_grows(self) -> None:
        """Pauses double up to the longest, each shortened by half at most; a success begins anew."""
        backoff = Backoff(0.1, 1.0, Random(1))
        for whole in (0.1, 0.2, 0.4, 0.8, 1.0, 1.0):
            pause = backoff.pause()
            self.assertTrue(whole / 2 <= pause <= whole, (whole, pause))
        backoff.reset()
        self.assertLessEqual(backoff.pause(), 0.1)

    def test_spread(self) -> None:
        """Many who begin at once do not come back at once."""
        random = Random(1)
        self.assertGreater(len({round(Backoff(1.0, 1.0, random).pause(), 3) for _ in range(50)}), 30)


class AlarmTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.rung: list[float] = []
        self.alarm = Alarm(self.clock, lambda: self.rung.append(self.clock.seconds()))

    def test_rings_once(self) -> None:
        """At its time, once, with one timer however often it was set."""
        for deadline in (9.0, 2.0, 5.0):
            self.alarm.set(deadline)
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)
        self.clock.pump([1.0] * 12)
        self.assertEqual(self.rung, [5.0])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_far(self) -> None:
        """A century away sets no timer that a reactor could not wait for, and rings when it is over."""
        self.alarm.set(3 * LONGEST_TIMER + 5)
        for _ in range(3):
            (timer,) = self.clock.getDelayedCalls()
            self.assertLessEqual(timer.getTime() - self.clock.seconds(), LONGEST_TIMER)
            self.clock.advance(LONGEST_TIMER)
        self.assertEqual(self.rung, [])
        self.clock.advance(5)
        self.assertEqual(self.rung, [3 * LONGEST_TIMER + 5])

    def test_cancelled(self) -> None:
        """Cancelled it does not ring and leaves no timer; twice is no error."""
        self.alarm.set(1.0)
        self.alarm.cancel()
        self.alarm.cancel()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_past(self) -> None:
        """A time that is over rings in the next turn, not inside the call that set it."""
        self.clock.advance(5)
        self.alarm.set(1.0)
        self.assertEqual(self.rung, [])
        self.clock.advance(0)
        self.assertEqual(self.rung, [5.0])

    def test_set_while_ringing(self) -> None:
        """Whoever is rung may set it anew."""

        def ring() -> None:
            self.rung.append(self.clock.seconds())
            self.alarm.set(self.clock.seconds() + 1)

        self.alarm.ring = ring
        self.alarm.set(1.0)
        self.clock.pump([1.0] * 3)
        self.assertEqual(self.rung, [1.0, 2.0, 3.0])


class ClocksTests(SynchronousTestCase):
    def test_two_clocks(self) -> None:
        """Waits go by the one, dates by the other; a wall clock that is set moves no wait."""
        timer = Clock()
        date = 1_700_000_000.0
        clocks = Clocks(timer, lambda: date)
        verifyObject(IReactorTime, clocks)
        rung: list[str] = []
        clocks.callLater(5, rung.append, "rung")
        date -= 7200
        timer.advance(4)
        self.assertEqual((rung, clocks.seconds(), wall(clocks)), ([], 4, date))
        date += 100_000
        timer.advance(1)
        self.assertEqual(rung, ["rung"])

    def test_machine(self) -> None:
        """A clock that keeps no date leaves it to the machine."""
        self.assertGreater(wall(Clock()), 1_700_000_000)


class FirstOfTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.works: list[Deferred[None]] = [Deferred(), Deferred(), Deferred()]

    def test_first(self) -> None:
        """The first one to end ends the waiting, and the others are cancelled without a word in the log."""
        waiting = Deferred.fromCoroutine(first_of(*self.works))
        self.assertNoResult(waiting)
        self.works[1].callback(None)
        self.successResultOf(waiting)
        self.assertEqual([work.called for work in self.works], [True] * 3)

    def test_failure(self) -> None:
        """What the first one failed with is raised."""
        waiting = Deferred.fromCoroutine(first_of(*self.works))
        self.works[2].errback(ZeroDivisionError())
        self.failureResultOf(waiting, ZeroDivisionError)
        self.assertEqual([work.called for work in self.works], [True] * 3)

    def test_cancelled(self) -> None:
        """Cancelling the waiting cancels all."""
        waiting = Deferred.fromCoroutine(first_of(*self.works))
        waiting.cancel()
        self.failureResultOf(waiting, CancelledError)
        self.assertEqual([work.called for work in self.works], [True] * 3)
