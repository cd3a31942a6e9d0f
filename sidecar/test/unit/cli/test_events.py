"""Server-Sent Events are taken apart as browsers do it."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sidecar.cli.commands import calls, journal, live
from sidecar.cli.events import Event, lines, read


class Read(SynchronousTestCase):
    def test_events(self) -> None:
        """Names, ids, data of several lines; comments and events without data are passed over."""
        stream = b": heartbeat\n\nevent: create\r\nid: 7\ndata: {\ndata: }\n\ndata:bare\n\nevent: nothing\n\nid: 8\n\n"
        found = list(read(stream.splitlines(keepends=True)))
        self.assertEqual(found, [Event("create", "{\n}", "7"), Event("message", "bare", "7")])

    def test_bound(self) -> None:
        """A line that never ends is no event."""
        self.assertRaises(ValueError, list, lines([b"x" * (4 * 1024 * 1024 + 1)]))


class Words(SynchronousTestCase):
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

    def test_top(self) -> None:
        """The busiest service comes first, its nodes under it, the failing one with its reason."""
        node = {"id": "b-1", "address": "h:1", "calls_per_s": 9, "why": "refused 2 s ago"}
        text = live.page({"services": [{"name": "a"}, {"name": "b", "calls_per_s": 9.5, "nodes": [node]}]})
        self.assertLess(text.index("b  "), text.index("a  "))
        self.assertIn("refused 2 s ago", text)
        self.assertNotIn("\x1b", text)

    def test_tap(self) -> None:
        """Colours only where they are wanted."""
        call = {
            "service": "a",
            "method": "B.C",
            "node": "a-1",
            "address": "h:1",
            "total_ms": 2.26,
            "outcome": "refused",
        }
        self.assertEqual(live.call_line(call, False), "a B.C  a-1 h:1  2.3 ms  refused")
        self.assertIn("\x1b[31mrefused", live.call_line(call, True))
