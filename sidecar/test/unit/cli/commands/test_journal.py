"""The journal in words."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sidecar.cli.commands import journal


class EntryInWords(SynchronousTestCase):
    def test_journal_entry(self) -> None:
        """One line a node: when, who, why, by whom."""
        entry = {
            "at": "2026-11-25T03:00:00.123Z",
            "action": "delete",
            "reason": "check failed",
            "detail": "answered 503, 3 of 3",
            "by": "check",
            "service": {"name": "foo", "version": "1", "nodes": [{"id": "foo-1", "address": "::1", "port": 9}]},
        }
        self.assertEqual(
            journal.in_words(entry),
            "2026-11-25T03:00:00.123Z  foo 1  foo-1 at [::1]:9 left: check failed; answered 503, 3 of 3 (by check)",
        )
