"""How much each sender may say."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sidecar.net.ratelimit import TokenBuckets


class Gate(SynchronousTestCase):
    def test_burst_and_rate(self) -> None:
        """A burst passes at once, then so many a second; one sender's flood is not another's."""
        gate = TokenBuckets(rate=10.0, burst=5.0)
        self.assertEqual([gate.admits("a", 0.0) for _ in range(7)], [True] * 5 + [False] * 2)
        self.assertTrue(gate.admits("b", 0.0))
        self.assertTrue(gate.admits("a", 0.1))
        self.assertFalse(gate.admits("a", 0.1))
        self.assertEqual(sum(gate.admits("a", 100.0) for _ in range(10)), 5)

    def test_bounded(self) -> None:
        """Only so many senders are remembered; the busy ones stay."""
        gate = TokenBuckets(rate=1.0, burst=1.0, senders=10)
        for number in range(1000):
            gate.admits("busy", 0.0)
            gate.admits(str(number), 0.0)
        self.assertFalse(gate.admits("busy", 0.0))
        self.assertLessEqual(len(gate._buckets), 10)
