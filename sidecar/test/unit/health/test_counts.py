"""What checks find is counted, and passed on."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sidecar.health.counts import CheckCounts
from sidecar.health.threshold import CheckResult


class Counting(SynchronousTestCase):
    def test_counts(self) -> None:
        """Each check of each app has its own numbers, from zero on, and whoever was told is told as before."""
        counts = CheckCounts()
        heard: list[CheckResult] = []
        first = counts.counting("foo", "url", heard.append)
        second = counts.counting("foo", "disk", heard.append)
        results = [CheckResult(True, "well"), CheckResult(False, "ill", 500), CheckResult(True, "so so", warning=True)]
        for result in (*results, results[1]):
            first(result)
        second(results[0])
        self.assertEqual(heard, [*results, results[1], results[0]])
        told = {(each["app"], each["check"], each["outcome"]): each["count"] for each in counts.told()}
        self.assertEqual(
            told,
            {
                ("foo", "url", "passed"): 1,
                ("foo", "url", "warned"): 1,
                ("foo", "url", "failed"): 2,
                ("foo", "disk", "passed"): 1,
                ("foo", "disk", "warned"): 0,
                ("foo", "disk", "failed"): 0,
            },
        )

    def test_again(self) -> None:
        """An app whose settings are read again goes on counting."""
        counts = CheckCounts()
        for _ in range(2):
            counts.counting("foo", "url", lambda result: None)(CheckResult(True, ""))
        self.assertEqual(counts.by["foo", "url", "passed"], 2)
