"""Entries of the journal as JSON, and dates."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sidecar.model import Node, Service
from sidecar.wire.registry import journal


class JournalJson(SynchronousTestCase):
    def test_entry(self) -> None:
        """An entry says which, when, what, why, by whom, and of which nodes."""
        service = Service("foo", "1", nodes=(Node("foo-1", "10.0.0.1", 80),))
        told = journal.entry(42, 1_764_039_600.123, "delete", "check failed", "answered 503, 3 of 3", "check", service)
        self.assertEqual(
            json.loads(json.dumps(told)),
            {
                "index": 42,
                "at": "2025-11-25T03:00:00.123Z",
                "action": "delete",
                "reason": "check failed",
                "detail": "answered 503, 3 of 3",
                "by": "check",
                "service": {
                    "name": "foo",
                    "version": "1",
                    "metadata": {},
                    "endpoints": [],
                    "nodes": [{"id": "foo-1", "address": "10.0.0.1", "port": 80, "metadata": {}}],
                },
            },
        )

    @given(st.integers(0, 10_000_000_000_000))
    def test_dates(self, milliseconds: int) -> None:
        """A date is read as it was written."""
        self.assertAlmostEqual(journal.read_date(journal.date(milliseconds / 1000)), milliseconds / 1000, places=3)

    def test_dates_of_others(self) -> None:
        """Dates of other zones and precisions are read; what is none is refused in a sentence."""
        for text in (
            "2026-11-25T03:00:00Z",
            "2026-11-25t03:00:00z",
            "2026-11-25 03:00:00.0Z",
            "2026-11-25T04:00:00+01:00",
            "2026-11-25T04:00:00 01:00",
            "2026-11-24T22:59:60.000000000-04:00",
        ):
            self.assertEqual(journal.date(journal.read_date(text)), "2026-11-25T03:00:00.000Z")
        for text in (
            "",
            "Z",
            "yesterday",
            "2026-11-25",
            "2026-11-25T03:00:00",
            "2026-13-25T03:00:00Z",
            "20261125T030000Z",
        ):
            said = str(self.assertRaises(ValueError, journal.read_date, text))
            self.assertIn("write one like", said)
