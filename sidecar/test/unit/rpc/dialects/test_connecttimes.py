"""How long is waited for a connection before another address is better."""

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
        self.times.waited(A, 2.0)
        self.assertIsNone(self.times.patience(A))

    def test_quick(self) -> None:
        """One that connected in a millisecond is left after a quarter of a second."""
        self.times.connected(A, 0.001)
        self.assertEqual(self.times.patience(A), 0.25)

    def test_slow(self) -> None:
        """One that is slow is waited for, and one that was slow once for some time."""
        self.times.connected(A, 0.1)
        self.assertEqual(self.times.patience(A), 0.8)
        self.times.connected(A, 0.001)
        self.assertAlmostEqual(self.times.patience(A) or 0.0, 0.72)
        for _ in range(50):
            self.times.connected(A, 0.001)
        self.assertEqual(self.times.patience(A), 0.25)
        self.times.connected(A, 0.3)
        self.assertIsNone(self.times.patience(A))

    def test_left_too_soon(self) -> None:
        """After it was left by three it gets twice as long, however many left together, until it connects again."""
        self.times.connected(A, 0.001)
        for _ in range(2):
            self.times.waited(A, 0.25)
        self.assertEqual(self.times.patience(A), 0.25)
        for waited, wanted in ((0.25, 0.5), (0.5, 1.0), (1.0, None)):
            for _ in range(100):
                self.times.waited(A, waited)
            self.assertEqual(self.times.patience(A), wanted)
        self.times.connected(A, 0.001)
        self.assertEqual(self.times.patience(A), 0.25)

    def test_left_for_other_reasons(self) -> None:
        """A caller who hangs up early says nothing of the address."""
        self.times.connected(A, 0.001)
        self.times.waited(A, 0.1)
        self.assertEqual(self.times.patience(A), 0.25)

    def test_bounded(self) -> None:
        """What was seen longest ago is forgotten."""
        for number in range(20_000):
            self.times.connected((f"h{number}", 1), 0.001)
        self.assertIsNone(self.times.patience(("h0", 1)))
        self.assertEqual(self.times.patience(("h19999", 1)), 0.25)
