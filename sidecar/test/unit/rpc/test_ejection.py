"""Addresses that fail get no calls for a while: times and shares, on numbers for a clock."""

from __future__ import annotations

from random import Random

from twisted.trial.unittest import SynchronousTestCase

from sidecar.model import Outcome
from sidecar.rpc.ejection import Ejection, EjectionLimits

A, B, C, D = (("10.0.0.1", 1), ("10.0.0.2", 2), ("10.0.0.3", 3), ("fe80::4", 4))


class Ejecting(SynchronousTestCase):
    def setUp(self) -> None:
        self.ejection = Ejection(EjectionLimits(failures=3, time=4.0, longest=60.0, slow_start=10.0), Random(1))

    def fail(self, outcome: Outcome = Outcome.REFUSED, now: float = 100.0, times: int = 1) -> None:  # type: ignore[override]
        for _ in range(times):
            self.ejection.failed(A, outcome, now, (A, B, C))

    def seconds(self, now: float) -> float:
        return self.ejection.ejected(now)[0].seconds

    def test_one_refusal(self) -> None:
        """One refusal is enough."""
        self.ejection.answered(A)
        self.assertFalse(self.ejection.is_out(A))
        self.fail()
        self.assertTrue(self.ejection.is_out(A))
        self.assertTrue(self.ejection.was_refused(A))
        self.assertTrue(3.2 <= self.seconds(100.0) <= 4.0)
        self.fail()
        self.assertEqual(self.ejection.ejections, 1, "a late failure is no ejection")

    def test_failures_in_a_row(self) -> None:
        """Three broken or timed out calls in a row are, and an answer between them begins the row anew."""
        self.fail(Outcome.BROKEN)
        self.fail(Outcome.TIMED_OUT)
        self.ejection.answered(A)
        self.fail(Outcome.TIMED_OUT, times=2)
        self.assertFalse(self.ejection.is_out(A))
        self.fail(Outcome.BROKEN)
        self.assertTrue(self.ejection.is_out(A))
        self.assertFalse(self.ejection.was_refused(A))
        told = self.ejection.ejected(100.0)[0]
        self.assertEqual((told.address, told.why), ("10.0.0.1:1", "3 failures in a row, the last one broken"))

    def test_cancelled_is_nothing(self) -> None:
        """What we ended ourselves tells nothing."""
        self.fail(Outcome.CANCELLED, times=9)
        self.assertFalse(self.ejection.is_out(A))

    def test_success_rate(self) -> None:
        """Who answers less than half as often as the others is ejected, though it never fails three times in a row."""
        for _ in range(30):
            self.ejection.answered(B)
            self.ejection.answered(C)
            self.fail(Outcome.BROKEN, times=2)
            self.ejection.answered(A)
        self.assertTrue(self.ejection.is_out(A))
        self.assertIn("far less often", self.ejection.ejected(100.0)[0].why)

    def test_success_rate_of_all(self) -> None:
        """Where all answer as seldom nobody is."""
        for _ in range(30):
            for address in (A, B, C):
                self.ejection.failed(address, Outcome.BROKEN, 100.0, (A, B, C))
                self.ejection.answered(address)
        self.assertEqual(self.ejection.ejected(100.0), ())

    def test_penalty_grows(self) -> None:
        """Each ejection in a row takes about twice as long as the one before, up to the longest."""
        now = 100.0
        for most in (4.0, 8.0, 16.0, 32.0, 60.0, 60.0):
            self.fail(now=now)
            left = self.seconds(now)
            self.assertTrue(0.8 * most <= left <= most, (most, left))
            now += left
            self.assertTrue(self.ejection.probe_due(A, now))

    def test_late_failures(self) -> None:
        """Calls that were under way when it was ejected make no penalty longer."""
        self.fail()
        left = self.seconds(100.0)
        self.fail(now=101.0, times=5)
        self.assertAlmostEqual(self.seconds(101.0), left - 1.0)

    def test_jitter(self) -> None:
        """Two sidecars that ejected an address together do not try it together."""
        found = set()
        for seed in range(9):
            self.ejection = Ejection(EjectionLimits(), Random(seed))
            self.fail()
            found.add(self.seconds(100.0))
        self.assertGreater(len(found), 5)

    def test_one_probe(self) -> None:
        """After its time one call is sent there, no second one meanwhile, and one that is cancelled is no answer."""
        self.fail()
        self.assertFalse(self.ejection.probe_due(A, 102.0))
        self.assertTrue(self.ejection.probe_due(A, 104.0))
        self.assertFalse(self.ejection.probe_due(A, 104.0))
        self.fail(Outcome.CANCELLED, now=104.5)
        self.assertTrue(self.ejection.probe_due(A, 104.5))
        # A probe of which nothing is heard is lost some day, and not for ever.
        self.assertFalse(self.ejection.probe_due(A, 120.0))
        self.assertTrue(self.ejection.probe_due(A, 140.0))

    def test_slow_start(self) -> None:
        """The probe was answered: it is back at once, with a small share that grows to the full one."""
        self.fail()
        self.assertTrue(self.ejection.probe_due(A, 104.0))
        self.assertFalse(self.ejection.answered(A))
        self.ejection.returned(A, 104.0)
        self.assertFalse(self.ejection.is_out(A))
        declined = [sum(self.ejection.declines(A, now) for _ in range(1000)) for now in (104.0, 109.0, 113.0, 114.0)]
        for found, meant in zip(declined, (900, 500, 100, 0), strict=True):
            self.assertTrue(abs(found - meant) < 60, declined)
        self.assertEqual(self.ejection.noted, {})
        self.fail(now=200.0)
        self.assertLessEqual(self.seconds(200.0), 4.0)

    def test_tidy(self) -> None:
        """What nobody calls any more, and what had the time to come back, costs no call a look for ever."""
        self.fail()
        self.ejection.failed(B, Outcome.REFUSED, 100.0)
        self.assertTrue(self.ejection.probe_due(B, 104.0))
        self.ejection.returned(B, 104.0)
        self.ejection.tidy(110.0)
        self.assertEqual(set(self.ejection.noted), {A, B})
        before = self.ejection.generation
        self.ejection.tidy(115.0)
        self.assertEqual(set(self.ejection.noted), {A})
        self.ejection.tidy(200.0)
        self.assertEqual(self.ejection.noted, {})
        self.assertGreater(self.ejection.generation, before)
        self.assertTrue(self.ejection.answered(A))
        self.fail(now=300.0)
        self.assertLessEqual(self.seconds(300.0), 4.0)

    def test_heeded(self) -> None:
        """Never the last one; and where failures would leave less than the panic share they are not heeded, refusals
        are."""
        addresses = [("10.0.1.1", port) for port in range(10)]

        def heeded(outcome: Outcome, count: int) -> int:
            ejection = Ejection(EjectionLimits(failures=1, panic=0.3), Random(1))
            for address in addresses[:count]:
                ejection.failed(address, outcome, 100.0)
            return len(ejection.heeded(addresses))

        self.assertEqual([heeded(Outcome.TIMED_OUT, count) for count in (0, 1, 7, 8, 10)], [0, 1, 7, 0, 0])
        self.assertEqual([heeded(Outcome.REFUSED, count) for count in (1, 8, 9, 10)], [1, 8, 9, 0])

    def test_off(self) -> None:
        """With no failures allowed for, only refusals count."""
        self.ejection = Ejection(EjectionLimits(failures=0), Random(1))
        self.fail(Outcome.TIMED_OUT, times=50)
        self.assertFalse(self.ejection.is_out(A))

    def test_ipv6(self) -> None:
        """An address is shown as people write it."""
        self.ejection.failed(D, Outcome.REFUSED, 1.0)
        self.assertEqual(self.ejection.ejected(1.0)[0].address, "[fe80::4]:4")

    def test_bounded(self) -> None:
        """However many addresses come and go, what is remembered has an end, and what is ejected stays."""
        self.fail()
        for number in range(140_000):
            self.ejection.answered((f"h{number}", 1))
        self.assertLess(len(self.ejection._records), 70_000)
        self.assertTrue(self.ejection.is_out(A))
