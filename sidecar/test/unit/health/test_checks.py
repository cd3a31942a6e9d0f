"""When the app is checked, by counted probes on a Clock."""

from __future__ import annotations

from attrs import define, field
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from sidecar.health.checks import FIRST, SOON, Checks, Schedule
from sidecar.health.threshold import CheckResult


@define(eq=False)
class CountedProbe:
    """Answers at once, unless it is told its answer. :ivar times: when it was asked."""

    clock: Clock
    times: list[float] = field(factory=list)
    answer: Deferred[CheckResult] | None = None

    def check(self) -> Deferred[CheckResult]:
        self.times.append(self.clock.seconds())
        answer, self.answer = self.answer, None
        return succeed(CheckResult(True, "well")) if answer is None else answer


class ScheduleTests(SynchronousTestCase):
    def test_new(self) -> None:
        """Every quarter of a second for ten seconds, then ever less often, up to the interval."""
        schedule = Schedule(30.0)
        schedule.watch(100.0)
        self.assertEqual([schedule.pause(100.0 + after) for after in (0.0, 5.0, FIRST - SOON)], [SOON] * 3)
        pauses = [schedule.pause(100.0 + FIRST + after) for after in range(20)]
        self.assertEqual(pauses, sorted(pauses))
        self.assertEqual(len(set(pauses[:10])), 10)
        self.assertEqual(pauses[-1], 30.0)

    def test_well(self) -> None:
        """The interval, and soon again when it falls ill."""
        schedule = Schedule(30.0)
        schedule.watch(0.0)
        schedule.relax()
        self.assertEqual(schedule.pause(1.0), 30.0)
        schedule.watch(1000.0)
        self.assertEqual(schedule.pause(1000.0), SOON)

    def test_short_interval(self) -> None:
        """It is never asked less often than its interval says."""
        schedule = Schedule(0.1)
        schedule.watch(0.0)
        self.assertEqual(schedule.pause(0.0), 0.1)


class ChecksTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.probe = CountedProbe(self.clock)
        self.found: list[CheckResult] = []
        self.checks = Checks(self.clock, self.probe, 30.0, self.found.append)

    def test_counted(self) -> None:
        """At once, and then forty times in the first ten seconds."""
        self.checks.startService()
        self.clock.pump([0.125] * 80)
        self.assertEqual(self.probe.times, [number * SOON for number in range(41)])
        self.assertEqual(len(self.found), 41)
        before = len(self.probe.times)
        self.clock.pump([0.125] * 8 * 120)
        self.assertLess(len(self.probe.times) - before, 17)

    def test_slow_app(self) -> None:
        """One that takes longer to answer than the pause is not asked again in the same breath."""
        slow = self.probe.answer = Deferred()
        self.checks.startService()
        self.clock.advance(5)
        slow.callback(CheckResult(False, "slow"))
        self.assertEqual(self.probe.times, [0.0])
        self.clock.advance(SOON)
        self.assertEqual(self.probe.times, [0.0, 5 + SOON])

    def test_broken_probe(self) -> None:
        """A check that breaks is logged, and the next one comes."""
        self.probe.answer = fail(ZeroDivisionError())
        self.checks.startService()
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.clock.advance(SOON)
        self.assertEqual(len(self.found), 1)

    def test_stop(self) -> None:
        """After its end nothing is asked, and nothing waits."""
        self.checks.startService()
        self.checks.stopService()
        self.assertEqual(self.clock.getDelayedCalls(), [])
