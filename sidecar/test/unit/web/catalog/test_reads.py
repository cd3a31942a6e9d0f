"""Reading the registry with its index: as soon as it is otherwise, and as it was."""

from __future__ import annotations

import json
from random import Random
from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from sidecar.registry.journal import Journal
from sidecar.registry.memory import MemoryRegistry
from sidecar.test.doubles.clients.resources import Asking, Heard, Waiting
from sidecar.waiting import Clocks
from sidecar.web.catalog.blocking import BlockingReads
from sidecar.web.catalog.past import PastCatalog
from sidecar.web.catalog.reads import RegistryReads
from sidecar.web.catalog.registry import RegistryResource
from sidecar.web.events.longanswers import LongAnswers
from sidecar.wire.registry.journal import date

START = 1_700_000_000.0


class ReadsCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.timer = Clock()
        self.clock: Any = Clocks(self.timer, lambda: START + self.timer.seconds())
        self.registry = MemoryRegistry(self.clock)
        self.journal = Journal(self.clock)
        self.registry.watch(self.journal)
        self.serve(3)

    def serve(self, most: int) -> None:
        """:param most: how many may wait."""
        self.lasting = LongAnswers(self.clock, most)
        blocking = BlockingReads(self.journal, self.clock, self.lasting, Random(1))
        reads = RegistryReads(self.registry, PastCatalog(self.journal, self.clock.wall), blocking)
        self.asking = Asking(RegistryResource(self.registry, 4096, str, reads=reads), self.timer)

    def register(self, name: str, port: int = 80, method: str = "POST", version: str = "1") -> None:
        node = {"id": f"{name}-1", "address": "10.0.0.1", "port": port}
        body = json.dumps({"name": name, "version": version, "nodes": [node]}).encode()
        self.assertEqual(self.asking.ask(method, "/registry", body).status, 200)
        self.timer.advance(0)  # watchers hear in the next turn

    def get(self, query: str = "") -> Heard:
        return self.asking.ask("GET", f"/registry{query}")

    def index(self, query: str = "") -> int:
        return int(self.get(query).headers["x-micro-index"])

    def wait(self, query: str, method: str = "GET") -> Waiting:
        waiting = self.asking.begin(method, f"/registry{query}")
        self.assertIsNone(waiting.heard())
        return waiting

    def heard(self, waiting: Waiting) -> Heard:
        self.timer.pump([0, 0])
        heard = waiting.heard()
        assert heard is not None, "it still waits"
        return heard


class Indices(ReadsCase):
    def test_on_every_get(self) -> None:
        """A service has the index of its last entry, the list that of all; what is not there has one too."""
        start = int(START * 1e6)
        self.assertEqual((self.index(), self.index("?service=foo")), (start, start))
        self.register("foo")
        self.register("bar")
        self.assertEqual(
            (self.index("?service=foo"), self.index("?service=bar"), self.index()), (start + 1, start + 2, start + 2)
        )
        self.assertEqual(self.index("?service=foo&version=1&format=array"), start + 1)
        missing = self.get("?service=foo&version=2")
        self.assertEqual((missing.status, missing.headers["x-micro-index"]), (404, str(start + 1)))

    def test_never_newer_than_the_state(self) -> None:
        """Right after a write, a turn before the journal hears of it, the new state goes with the old index: whoever
        waits with that is answered at once, and misses nothing."""
        self.register("foo", 80)
        index = self.index("?service=foo")
        node = {"id": "foo-1", "address": "10.0.0.1", "port": 81}
        body = json.dumps({"name": "foo", "version": "1", "nodes": [node]}).encode()
        self.asking.ask("POST", "/registry", body)
        got = self.get("?service=foo")
        self.assertEqual((got.json["nodes"][0]["port"], int(got.headers["x-micro-index"])), (81, index))
        waiting = self.wait(f"?service=foo&index={index}")
        self.timer.advance(0)
        self.assertEqual(int(self.heard(waiting).headers["x-micro-index"]), index + 1)

    def test_list_is_new(self) -> None:
        """The list is told anew when it is another, and when only its index is."""
        self.register("foo")
        before = self.get()
        self.register("foo", 81)
        after = self.get()
        self.assertEqual(after.json, before.json)
        self.assertEqual(int(after.headers["x-micro-index"]), int(before.headers["x-micro-index"]) + 1)
        self.register("bar")
        self.assertEqual(self.get().json, [{"name": "bar"}, {"name": "foo"}])


class Blocking(ReadsCase):
    def test_woken(self) -> None:
        """A change answers with the new state and its index; another service's does not."""
        self.register("foo")
        waiting = self.wait(f"?service=foo&index={self.index('?service=foo')}&wait=30s")
        self.register("bar")
        self.timer.pump([0, 0])
        self.assertIsNone(waiting.heard())
        self.register("foo", 81)
        heard = self.heard(waiting)
        self.assertEqual((heard.status, heard.json["nodes"][0]["port"]), (200, 81))
        self.assertEqual(int(heard.headers["x-micro-index"]), self.journal.index)
        self.assertEqual(self.lasting.open, 0)
        self.assertEqual([call for call in self.timer.getDelayedCalls() if call.getTime() > 1], [])

    def test_list(self) -> None:
        """Whoever waits for the list is woken by any."""
        waiting = self.wait(f"?index={self.index()}")
        self.register("foo")
        self.assertEqual(self.heard(waiting).json, [{"name": "foo"}])

    def test_coming(self) -> None:
        """The coming of a service that was not there wakes, and its going is a 404 with its index."""
        missing = self.get("?service=foo")
        waiting = self.wait(f"?service=foo&index={missing.headers['x-micro-index']}")
        self.register("foo")
        came = self.heard(waiting)
        self.assertEqual((missing.status, came.status), (404, 200))
        waiting = self.wait(f"?service=foo&index={came.headers['x-micro-index']}")
        self.register("foo", method="DELETE")
        gone = self.heard(waiting)
        self.assertEqual((gone.status, int(gone.headers["x-micro-index"])), (404, self.journal.index))

    def test_time_is_over(self) -> None:
        """Then it is answered as it is, at most a sixteenth later."""
        self.register("foo")
        index = self.index("?service=foo")
        waiting = self.wait(f"?service=foo&index={index}&wait=32s")
        self.timer.advance(31.9)
        self.assertIsNone(waiting.heard())
        self.timer.advance(2.2)
        heard = self.heard(waiting)
        self.assertEqual((heard.status, int(heard.headers["x-micro-index"])), (200, index))

    def test_usual_and_longest(self) -> None:
        """Five minutes unless given, ten at most, each with jitter."""
        for query, least in (("", 300.0), ("&wait=1h", 600.0)):
            waiting = self.wait(f"?index={self.index()}{query}")
            self.timer.advance(least - 0.1)
            self.assertIsNone(waiting.heard(), query)
            self.timer.advance(least / 16 + 0.2)
            self.assertEqual(self.heard(waiting).status, 200)

    def test_jitter(self) -> None:
        """Many who wait equally long are not answered all at once."""
        self.serve(100)
        for _ in range(64):
            self.wait(f"?index={self.index()}&wait=160s")
        times = {call.getTime() for call in self.timer.getDelayedCalls() if call.getTime() >= 160}
        self.assertEqual((len(times), max(times) <= 170, max(times) - min(times) > 5), (64, True, True))

    def test_at_once(self) -> None:
        """An index of before, of another life or of the future is answered at once, and so is a wait of no time."""
        self.register("foo")
        index = self.index("?service=foo")
        for asked in (0, 7, index - 1, index + 1_000_000, 10**19):
            self.assertEqual(self.get(f"?service=foo&index={asked}").status, 200)
        self.assertEqual(self.get(f"?service=foo&index={index}&wait=0s").status, 200)
        self.assertEqual(self.lasting.open, 0)

    def test_hanging_up(self) -> None:
        """A caller who leaves is forgotten."""
        waiting = self.wait(f"?service=foo&index={self.index('?service=foo')}")
        self.assertEqual(self.lasting.open, 1)
        waiting.hang_up()
        self.assertEqual((self.lasting.open, self.asking.site.in_flight), (0, 0))
        self.register("foo")

    def test_too_many(self) -> None:
        """They have a limit; what is answered at once is none of its business."""
        waiting = [self.wait(f"?index={self.index()}") for _ in range(3)]
        heard = self.get(f"?index={self.index()}")
        self.assertEqual((heard.status, heard.headers["retry-after"]), (503, "1"))
        self.assertEqual(self.get("?index=0").status, 200)
        self.register("foo")
        for each in waiting:
            self.assertEqual(self.heard(each).status, 200)

    def test_leaving(self) -> None:
        """When the sidecar leaves, all who wait are answered as it is."""
        waiting = self.wait(f"?index={self.index()}")
        self.lasting.stopService()
        self.assertEqual(self.heard(waiting).status, 200)
        self.assertEqual(self.get(f"?index={self.index()}").status, 503)

    def test_many(self) -> None:
        """A thousand who are woken by one change are all answered."""
        self.serve(1000)
        waiting = [self.wait(f"?service=foo&index={self.index('?service=foo')}") for _ in range(1000)]
        self.register("foo")
        self.assertEqual({self.heard(each).status for each in waiting}, {200})

    def test_head(self) -> None:
        """A HEAD waits too."""
        waiting = self.wait(f"?index={self.index()}", "HEAD")
        self.register("foo")
        self.assertEqual(self.heard(waiting).body, b"")

    def test_wrong(self) -> None:
        """A 400 names what was wrong."""
        for query, named in (
            ("?index=abc", "index: must be"),
            ("?index=-1", "index: must be"),
            ("?index=%C2%B9", "index: must be"),
            ("?index=1&wait=30", "wait: "),
            ("?index=1&wait=-3s", "wait: "),
            ("?wait=3s", "wait: for what"),
            ("?indx=1", "index was meant"),
            (f"?index=1&at={date(START)}", "leave index out"),
        ):
            status, detail = self.get(query).error
            self.assertEqual(status, 400, query)
            self.assertIn(named, detail)


class AsItWas(ReadsCase):
    def setUp(self) -> None:
        super().setUp()
        self.timer.advance(10)
        self.register("foo", 80)
        self.timer.advance(10)
        self.register("foo", 81)
        self.register("bar")
        self.timer.advance(10)
        self.register("foo", method="DELETE")
        self.timer.advance(10)

    def test_service(self) -> None:
        """A service as it was at a time, in either form, with the index of that time."""
        was = self.get(f"?service=foo&at={date(START + 15)}")
        self.assertEqual((was.status, was.json["nodes"][0]["port"]), (200, 80))
        self.assertEqual(int(was.headers["x-micro-index"]), int(START * 1e6) + 1)
        listed = self.get(f"?service=foo&format=array&version=1&at={date(START + 25)}").json
        self.assertEqual(listed[0]["nodes"][0]["port"], 81)

    def test_moments(self) -> None:
        """At the time that an entry tells, and in any zone, it is as it was after it."""
        for at in (date(START + 20), "2023-11-14T23:13:40%2B01:00", "2023-11-14T23:13:40+01:00"):
            self.assertEqual(self.get(f"?service=foo&at={at}").json["nodes"][0]["port"], 81, at)

    def test_list(self) -> None:
        """The list as it was."""
        self.assertEqual(self.get(f"?at={date(START + 5)}").json, [])
        self.assertEqual(self.get(f"?at={date(START + 25)}").json, [{"name": "bar"}, {"name": "foo"}])
        self.assertEqual(self.get(f"?at={date(START + 35)}").json, [{"name": "bar"}])

    def test_not_there(self) -> None:
        """What was not there then is a 404 that says when."""
        for at in (START + 5, START + 35):
            status, detail = self.get(f"?service=foo&at={date(at)}").error
            self.assertEqual((status, date(at) in detail), (404, True))
        self.assertEqual(self.get(f"?service=foo&version=9&at={date(START + 15)}").status, 404)

    def test_before_the_journal(self) -> None:
        """A time before the journal begins is 410, and says since when it goes back."""
        for query in ("?", "?service=foo&"):
            status, detail = self.get(f"{query}at={date(START - 1)}").error
            self.assertEqual((status, date(START) in detail), (410, True))

    def test_wrong(self) -> None:
        """The future is not known, and what is no date is none."""
        for at, named in ((date(START + 3600), "still to come"), ("yesterday", "no date"), ("2023-11-14", "no date")):
            status, detail = self.get(f"?at={at}").error
            self.assertEqual((status, named in detail), (400, True), at)
        self.assertEqual(self.get(f"?at={date(START + 45)}").status, 200)
