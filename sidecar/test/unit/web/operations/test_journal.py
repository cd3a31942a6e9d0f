"""``/journal`` lists what it is asked for, and says what is wrong with a question."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from sidecar.model import Change, Node, Reason, Service
from sidecar.registry.journal import Journal
from sidecar.test.doubles.clients.resources import Asking
from sidecar.web.operations.journal import JournalResource
from sidecar.wire.registry.journal import date

NOON = 1_796_000_000.0


class JournalListing(SynchronousTestCase):
    def setUp(self) -> None:
        self.journal = Journal(Clock())
        self.asking = Asking(JournalResource(self.journal, lambda: NOON))

    def happened(self, name: str, ago: float, detail: str = "") -> None:
        node = Node(f"{name}-1", "10.0.0.1", 9090)
        service = Service(name, "1", nodes=(node,))
        reason: Reason = "check failed" if detail else "deregistered"
        self.journal.changed(Change("delete", service, reason=reason, detail=detail, by="check", time=NOON - ago))

    def ids(self, query: str) -> list[str]:
        return [one["service"]["name"] for one in self.asking.ask("GET", f"/journal{query}").json]

    def test_entry(self) -> None:
        """Who left, when, why, and on whose word."""
        self.happened("foo", 1.5, "answered 503, 3 of 3")
        (entry,) = self.asking.ask("GET", "/journal").json
        self.assertEqual(entry["at"], date(NOON - 1.5))
        told = (entry["action"], entry["reason"], entry["detail"], entry["by"], entry["index"])
        self.assertEqual(told, ("delete", "check failed", "answered 503, 3 of 3", "check", self.journal.index))
        self.assertEqual(entry["service"]["nodes"][0]["id"], "foo-1")

    def test_asked_for(self) -> None:
        """By service, time (a duration or a date), reason and number: the newest, oldest first."""
        for name, ago, detail in (("a", 7200.0, ""), ("b", 60.0, "ill"), ("a", 30.0, "")):
            self.happened(name, ago, detail)
        self.assertEqual(self.ids(""), ["a", "b", "a"])
        self.assertEqual(self.ids("?service=b"), ["b"])
        self.assertEqual(self.ids("?service=none"), [])
        self.assertEqual(self.ids("?since=1h"), ["b", "a"])
        self.assertEqual(self.ids(f"?since={date(NOON - 45)}"), ["a"])
        self.assertEqual(self.ids("?reason=check%20failed"), ["b"])
        self.assertEqual(self.ids("?limit=2"), ["b", "a"])

    def test_bounded(self) -> None:
        """A hundred unless more are asked for."""
        for number in range(130):
            self.happened("foo", 130.0 - number)
        self.assertEqual([len(self.ids(query)) for query in ("", "?limit=120", "?limit=999999999")], [100, 120, 130])

    def test_wrong_questions(self) -> None:
        """A 400 names what was wrong."""
        for query, named in (
            ("?since=yesterday", "since: 'yesterday'"),
            ("?reason=boredom", "check failed, check passed"),
            ("?limit=0", "limit: must be"),
            ("?limit=-1", "limit: must be"),
            ("?limit=%C2%B9", "limit: must be"),
            ("?limit=12345678901", "limit: must be"),
            ("?servce=foo", "service was meant"),
        ):
            status, detail = self.asking.ask("GET", f"/journal{query}").error
            self.assertEqual(status, 400, query)
            self.assertIn(named, detail)
