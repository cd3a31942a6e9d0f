"""A daemon that is killed while apps register at it."""

from __future__ import annotations

from pathlib import Path
from random import Random

from twisted.trial.unittest import SynchronousTestCase

from sidecar.test.faults.kills import KillRounds, Ledger

#: How often: ``python -m bench.soak --kills 200`` does it longer.
ROUNDS = 10


class Kills(SynchronousTestCase):
    def test_rounds(self) -> None:
        """After each of ten kills all that was acknowledged is there, and nothing that was taken out or ran out is."""
        rounds = KillRounds(Path(self.mktemp()).absolute(), Random(11))
        for _ in range(ROUNDS):
            self.assertEqual(rounds.round(), [])
        self.assertEqual(rounds.last(), [])
        self.assertGreater(rounds.ledger.acknowledged, ROUNDS)
        self.assertGreater(len(rounds.ledger.present), 0)

    def test_judgement(self) -> None:
        """What is lost, raised or invented is told; what was under way when it was killed may be either way, once."""
        ledger = Ledger()
        for name, there in (("a", True), ("b", True), ("c", False)):
            ledger.asked(name)
            ledger.answered(name, there)
        ledger.asked("b")
        ledger.asked("d")
        self.assertEqual(ledger.compared({"a", "d"}), [])
        self.assertEqual(
            ledger.compared({"b", "c", "e"}),
            [
                "a was acknowledged and is lost",
                "d was acknowledged and is lost",
                "b was gone and is there",
                "c was gone and is there",
                "e was never asked for",
            ],
        )
