"""Receipts tell every attempt of a call, and never grow too long for a header."""

from __future__ import annotations

import json

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from sidecar.model import ANONYMOUS, Attempt, Call, CallPolicy, Node, Outcome
from sidecar.rpc.receipts import MAX_RECEIPT, Receipt

CALL = Call("foo", "Say.Hello")


def attempt(number: int, outcome: Outcome, next: str = "answer", detail: str = "", why: str = "") -> Attempt:
    node = Node(f"foo-{number}", "127.0.0.1", 9090)
    return Attempt(node, node.hostport, 0.0, 0.1, 12.1, outcome, detail, next, why)  # type: ignore[arg-type]  # a word


class Receipts(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.receipt = Receipt("id-1", "random", 5.0, self.clock.seconds)
        self.receipt.began(CALL, ANONYMOUS, CallPolicy())

    def test_attempts(self) -> None:
        """Which node was tried, how long each part took, how it ended, and what came next and why."""
        self.receipt.attempted(CALL, attempt(1, Outcome.REFUSED, "retry", "connection refused", "nothing was sent"))
        self.receipt.attempted(CALL, attempt(2, Outcome.ANSWERED))
        self.clock.advance(0.0123)
        told = json.loads(self.receipt.line())
        self.assertEqual(
            {name: told[name] for name in ("id", "service", "method", "strategy", "deadline_ms", "total_ms")},
            {
                "id": "id-1",
                "service": "foo",
                "method": "Say.Hello",
                "strategy": "random",
                "deadline_ms": 5000.0,
                "total_ms": 12.3,
            },
        )
        first, second = told["attempts"]
        self.assertEqual((first["node"], first["outcome"], first["connect_ms"]), ("foo-1", "refused", 0.1))
        self.assertEqual(first["next"], "tried foo-2: nothing was sent; connection refused")
        self.assertEqual((second["outcome"], second["next"]), ("answered", ""))

    def test_bounded(self) -> None:
        """Thousands of attempts are counted, the last are shown, in 4 KiB of ASCII."""
        for number in range(1000):
            self.receipt.attempted(CALL, attempt(number, Outcome.BROKEN, "wait", "ä" * 500, "again"))
        line = self.receipt.line()
        self.assertLessEqual(len(line), MAX_RECEIPT)
        self.assertTrue(line.isascii())
        told = json.loads(line)
        self.assertEqual(told["attempts"][-1]["node"], "foo-999")
        self.assertEqual(told["attempts_omitted"] + len(told["attempts"]), 1000)
