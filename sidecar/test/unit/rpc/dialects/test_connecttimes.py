"""How long is waited for a connection."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sidecar.rpc.dialects.connecttimes import ConnectTimes

A, B = ("10.0.0.1", 1), ("10.0.0.2", 2)


class Times(SynchronousTestCase):
    def setUp(self) -> None:
        self.times = ConnectTimes(2.0)

    def test_unknown(self) -> None:
        """An address of which nothing is known gets all the time."""
        self.times.connected(B, 0.001)
        self.times.given_up(A)
        self.assertEqual(self.times.timeout(A), 2.0)

    def test_quick(self) -> None:
        """One that connected in a millisecond is given up soon, but not before its kernel was asked a second time."""
        self.times.connected(A, 0.001)
        self.assertEqual(self.times.timeout(A), 1.2)

    def test_slow(self) -> None:
        """One that is slow is waited for, and one that was slow once for some time."""
        self.times.connected(A, 0.08)
        self.assertEqual(self.times.timeout(A), 1.6)
        self.times.connected(A, 0.001)
        self.assertAlmostEqual(self.times.timeout(A), 1.44)
        for _ in range(50):
            self.times.connected(A, 0.001)
        self.assertEqual(self.times.timeout(A), 1.2)
        self.times.connected(A, 1.5)
        self.assertEqual(self.times.timeout(A), 2.0)

    def test_given_up_too_soon(self) -> None:
        """Each time that it was given up it gets twice as long, up to all the time there is."""
        self.times.connected(A, 0.001)
        found = []
        self.times.most = 3.0
        for _ in range(3):
            self.times.given_up(A)
            found.append(round(self.times.timeout(A), 3))
        self.assertEqual(found, [2.4, 3.0, 3.0])

    def test_bounded(self) -> None:
        """What was seen longest ago is forgotten."""
        for number in range(20_000):
            self.times.connected((f"h{number}", 1), 0.001)
        self.assertEqual(self.times.timeout(("h0", 1)), 2.0)
        self.assertEqual(self.times.timeout(("h19999", 1)), 1.2)
