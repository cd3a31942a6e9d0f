"""A receipt as people see it."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sidecar.cli.commands import calls


class ReceiptInWords(SynchronousTestCase):
    def test_receipt(self) -> None:
        """Each attempt is a row; what is no receipt is shown as it came."""
        text = calls.receipt(
            '{"id":"a","service":"foo","method":"S.H","strategy":"random","deadline_ms":5000,"total_ms":12.3,"attempts":'
            '[{"node":"foo-1","address":"h:1","queued_ms":0,"connect_ms":0.1,"wait_ms":12.1,"outcome":"refused",'
            '"next":"tried foo-2: nothing was sent"}]}'
        )
        self.assertIn("foo S.H  12.3 ms of 5000 ms, random, id a", text)
        self.assertIn("foo-1  h:1", text)
        self.assertIn("tried foo-2: nothing was sent", text)
        self.assertEqual(calls.receipt("{"), "receipt: {")
