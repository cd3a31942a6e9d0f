"""Retries are a share of the calls, and a few besides."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sidecar.rpc.retrybudget import RetryBudget


class Budget(SynchronousTestCase):
    def taken(self, budget: RetryBudget, now: float, wanted: int) -> int:
        return sum(budget.withdraw(now) for _ in range(wanted))

    def test_few_calls(self) -> None:
        """Ten a second are always allowed, ten seconds' worth at once."""
        budget = RetryBudget(0.2)
        self.assertEqual(self.taken(budget, 50.0, 500), 100)
        self.assertEqual(self.taken(budget, 59.9, 500), 0)
        self.assertEqual(self.taken(budget, 60.0, 500), 100)

    def test_share(self) -> None:
        """Of many calls one in five may be tried again; what was saved is kept for ten seconds."""
        budget = RetryBudget(0.2)
        for _ in range(1000):
            budget.called(50.5)
        self.assertEqual(self.taken(budget, 55.0, 5000), 300)
        budget = RetryBudget(0.2)
        for _ in range(1000):
            budget.called(50.5)
        self.assertEqual(self.taken(budget, 61.0, 5000), 100)

    def test_outage(self) -> None:
        """Where every call fails and would be tried again, attempts are at most a fifth more than calls, and a few."""
        budget = RetryBudget(0.2)
        attempts = 0
        for number in range(60_000):
            now = 100.0 + number / 1000
            budget.called(now)
            attempts += 1 + budget.withdraw(now)
        self.assertLess(attempts, 60_000 * 1.2 + 10 * 60 + 500)

    def test_clock_that_stood_still(self) -> None:
        """Whatever the clock says, only the last ten seconds are remembered."""
        budget = RetryBudget(1.0)
        for now in (1.0, 500.0, 499.0, 1e9, 0.0):
            budget.called(now)
            self.assertTrue(budget.withdraw(now))
        self.assertLess(len(budget._seconds), 11)
