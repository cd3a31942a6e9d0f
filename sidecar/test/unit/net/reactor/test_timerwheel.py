"""Deadlines are kept, cheaply."""

from __future__ import annotations

from typing import Any

from attrs import define
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from sidecar.net.reactor.timerwheel import TimerWheel


@define(eq=False)
class Wait:
    clock: Clock
    slot: set[Any] | None = None
    ended: float | None = None

    def expired(self) -> None:
        assert self.ended is None
        self.ended = self.clock.seconds()


class Keeping(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(1_000.123)
        self.deadlines = TimerWheel(self.clock)

    def wait(self, seconds: float) -> Wait:
        wait = Wait(self.clock)
        self.deadlines.add(wait, self.clock.seconds() + seconds)
        return wait

    def test_on_time(self) -> None:
        """Each one expires not before its deadline and at most 20 ms after it."""
        waits = [(seconds, self.wait(seconds)) for seconds in (0.001, 0.01, 0.3, 0.305, 1.0, 5.0)]
        began = self.clock.seconds()
        self.clock.pump([0.001] * 5_100)
        for seconds, wait in waits:
            assert wait.ended is not None
            late = wait.ended - began - seconds
            self.assertTrue(-1e-6 <= late <= 0.0215, (seconds, late))

    def test_removed(self) -> None:
        """One that was removed does not expire; removing twice is no error."""
        wait = self.wait(0.1)
        self.deadlines.remove(wait)
        self.deadlines.remove(wait)
        self.clock.pump([0.01] * 50)
        self.assertIsNone(wait.ended)

    def test_no_timer_when_idle(self) -> None:
        """While nothing waits no timer runs, and nothing is kept."""
        wait = self.wait(5.0)
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)
        self.deadlines.remove(wait)
        self.clock.advance(0.02)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(self.deadlines.items(), [])
        again = self.wait(0.05)
        self.clock.pump([0.01] * 10)
        self.assertIsNotNone(again.ended)

    def test_past(self) -> None:
        """A deadline that has passed already expires with the next sweep."""
        self.wait(9.0)
        late = self.wait(-3.0)
        self.assertIsNone(late.ended)
        self.clock.pump([0.01] * 3)
        self.assertIsNotNone(late.ended)

    def test_pause(self) -> None:
        """After the process was stopped for an hour everything that is due expires at once, and only that."""
        due, later = [self.wait(seconds) for seconds in (1.0, 2.0, 50.0)], self.wait(7_200)
        self.clock.advance(3_600)
        self.assertTrue(all(wait.ended is not None for wait in due))
        self.assertIsNone(later.ended)

    def test_added_while_expiring(self) -> None:
        """What expires may wait again, and may end others that are due in the same moment."""

        class Chain(Wait):
            def expired(chain) -> None:  # two selves meet here
                super().expired()
                self.deadlines.remove(victim)
                again.append(self.wait(0.05))

        again: list[Wait] = []

        chain, victim = Chain(self.clock), Wait(self.clock)
        deadline = self.clock.seconds() + 0.1
        self.deadlines.add(chain, deadline)
        self.deadlines.add(victim, deadline)
        self.clock.pump([0.01] * 30)
        self.assertIsNotNone(again[0].ended)
        self.assertIsNotNone(chain.ended)

    def test_stop(self) -> None:
        """After stop nothing expires and no timer is left."""
        wait = self.wait(0.1)
        self.deadlines.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.clock.advance(1)
        self.assertIsNone(wait.ended)
