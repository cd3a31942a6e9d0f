"""Rates between two looks at counters."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sidecar.model import ANONYMOUS, Call, CallPolicy, Outcome
from sidecar.stats.history import History
from sidecar.stats.labelled import CallMetrics
from sidecar.stats.rates import NOTHING, Totals, quantile_ms, total, totals
from sidecar.stats.windows import Window

CALL = Call("foo", "A.B")


class Rates(SynchronousTestCase):
    def setUp(self) -> None:
        self.metrics = CallMetrics(lambda: 0.0)

    def call(self, outcome: Outcome, seconds: float = 0.0015, call: Call = CALL) -> None:
        self.metrics.began(call, ANONYMOUS, CallPolicy())
        self.metrics.ended(call, outcome, None, seconds, None)

    def test_errors(self) -> None:
        """A caller who left is no error; all else that was not answered well is."""
        for outcome in Outcome:
            self.call(outcome)
        self.assertEqual(total(self.metrics.known()).calls, len(Outcome))
        self.assertEqual(total(self.metrics.known()).errors, len(Outcome) - 2)

    def test_window(self) -> None:
        """What passed between the last two looks, and in ten of them; what nobody counts yet is nothing."""
        window: Window[str] = Window()
        self.assertEqual((window.last("foo"), window.seconds), (NOTHING, 1.0))
        for second in range(20):
            for _ in range(second):
                self.call(Outcome.ANSWERED)
            window.look(float(second), totals(self.metrics.known()))
        self.assertEqual(window.last("foo").calls, 19)
        self.assertEqual(window.recent("foo").calls, sum(range(10, 20)))
        self.assertEqual(window.last("bar"), NOTHING)

    def test_counted_anew(self) -> None:
        """Counters that begin again from nothing make no rate negative."""
        before = Totals(9, 1, NOTHING.buckets)
        after = Totals(2, 0, NOTHING.buckets)
        self.assertEqual(after.since(before), after)

    def test_quantiles(self) -> None:
        """Within their bucket calls are taken to lie evenly; without a call there is nothing to tell."""
        self.assertIsNone(quantile_ms(NOTHING.buckets, 0.5))
        for _ in range(100):
            self.call(Outcome.ANSWERED, 0.0015)
        self.assertEqual(quantile_ms(totals(self.metrics.known())["foo"].buckets, 0.5), 1.5)
        self.call(Outcome.ANSWERED, 1000.0)
        self.assertEqual(quantile_ms(totals(self.metrics.known())["foo"].buckets, 1.0), 10_000.0)

    def test_history(self) -> None:
        """An hour is kept, by the second, each kind as long as the others."""
        history = History()
        for step in range(400):
            self.call(Outcome.TIMED_OUT)
            history.add(step * 10.0, 10.0, total(self.metrics.known()), 0.25, 1000)
        told = history.told()
        self.assertEqual({len(told[name]) for name in told if name != "width"}, {360})
        self.assertEqual((told["calls"][0], told["errors"][-1], told["at"][-1]), (0.1, 0.1, 3990.0))
        self.assertEqual((told["p50"][0], told["cpu"][0], told["memory"][0]), (1.5, 0.25, 1000))
