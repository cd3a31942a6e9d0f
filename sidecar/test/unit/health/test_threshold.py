"""So many passes, or failures, in a row make a verdict."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sidecar.health.threshold import Threshold


class ThresholdTests(SynchronousTestCase):
    def verdicts(self, results: str, rise: int, fall: int) -> str:
        threshold, verdicts = Threshold(rise, fall), ""
        for result in results:
            threshold = threshold.found(result == "+")
            verdicts += {None: "?", True: "+", False: "-"}[threshold.healthy]
        return verdicts

    def test_one_result_is_enough_by_default(self) -> None:
        """With rise and fall of 1 each result is the verdict."""
        self.assertEqual(self.verdicts("+--+-", 1, 1), "+--+-")

    def test_failures_in_a_row_make_it_unhealthy(self) -> None:
        """A single failure between passes changes nothing where three are asked for."""
        self.assertEqual(self.verdicts("+--+---", 1, 3), "++++++-")

    def test_passes_in_a_row_make_it_healthy(self) -> None:
        """An unhealthy app has to pass as often as asked, without a failure between."""
        self.assertEqual(self.verdicts("-+-++", 2, 1), "----+")

    def test_no_verdict_before_there_is_reason_for_one(self) -> None:
        """At start nothing is known until one side has its results in a row."""
        self.assertEqual(self.verdicts("+-+-++", 2, 2), "?????+")
        self.assertEqual(self.verdicts("+--", 2, 2), "??-")
