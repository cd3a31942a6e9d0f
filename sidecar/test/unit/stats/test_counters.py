"""Windows of counts and latencies."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sidecar.stats.counters import KEPT, WIDTH, Counters


class CountersTests(SynchronousTestCase):
    def test_classes(self) -> None:
        """Answers are counted by their true class; interim ones are none."""
        counters = Counters(1000.0)
        for status in (200, 204, 301, 404, 405, 503, 101, 100):
            counters.record(1001.0, status, 0.001)
        (only,) = counters.windows(1002.0)
        self.assertEqual((only.timestamp, only.total), (1000, 6))
        self.assertEqual(only.classes, {2: 2, 3: 1, 4: 2, 5: 1})

    def test_windows(self) -> None:
        """A window is five seconds wide, and those in which nothing happened are there too."""
        counters = Counters(1000.0)
        counters.record(1004.9, 200, 0.1)
        counters.record(1015.0, 200, 0.1)
        found = [(counts.timestamp, counts.total) for counts in counters.windows(1021.0)]
        self.assertEqual(found, [(1000, 1), (1005, 0), (1010, 0), (1015, 1), (1020, 0)])

    def test_kept(self) -> None:
        """The last 23 windows are kept and no more, however long it runs."""
        counters = Counters(0.0)
        for second in range(1000):
            counters.record(float(second), 200, 0.1)
        windows = counters.windows(1000.0)
        self.assertEqual(len(windows), KEPT)
        self.assertEqual(windows[-1].timestamp, 1000)
        self.assertEqual(windows[0].timestamp, 1000 - int(WIDTH) * (KEPT - 1))
        self.assertEqual({counts.total for counts in windows[:-1]}, {5})
        self.assertEqual({counts.total for counts in counters.windows(1e6)}, {0})

    def test_clock_set_back(self) -> None:
        """A clock that is set back loses nothing and breaks nothing."""
        counters = Counters(1000.0)
        counters.record(1012.0, 200, 0.1)
        counters.record(900.0, 200, 0.1)
        self.assertEqual([counts.total for counts in counters.windows(900.0)], [0, 0, 2])

    def test_latency(self) -> None:
        """Percentiles are right to a quarter, and old windows do not count."""
        counters = Counters(0.0)
        self.assertEqual(counters.latency(0.0).p99, 0.0)
        for number in range(100):
            counters.record(1.0, 200, 0.001 if number < 95 else 2.0)
        latency = counters.latency(2.0)
        self.assertTrue(0.001 <= latency.p50 <= 0.00125)
        self.assertTrue(0.001 <= latency.p90 <= 0.00125)
        self.assertTrue(2.0 <= latency.p99 <= 2.5)
        self.assertEqual(counters.latency(1000.0).p50, 0.0)

    def test_endless(self) -> None:
        """A latency off the scale counts as the longest on it."""
        counters = Counters(0.0)
        counters.record(0.0, 200, 1e9)
        self.assertGreater(counters.latency(0.0).p50, 200)
