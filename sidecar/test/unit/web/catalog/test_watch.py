"""``/registry/watch``: what its readers are told, and how they go on."""

from __future__ import annotations

import json
from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from sidecar.model import Action, Change, Node, Service
from sidecar.net.http.limits import HTTPLimits
from sidecar.registry.journal import Journal
from sidecar.registry.journalfanout import JournalFanout
from sidecar.test.doubles.clients.http import Client, read_answers
from sidecar.waiting import Clocks
from sidecar.web.catalog.watch import WatchResource
from sidecar.web.events.longanswers import LongAnswers
from sidecar.web.site import SidecarSite

START = 1_700_000_000.0
FIRST = int(START * 1e6)


class WatchCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.timer = Clock()
        clock: Any = Clocks(self.timer, lambda: START + self.timer.seconds())
        self.journal = Journal(clock)
        self.lasting = LongAnswers(clock, 100)
        resource = WatchResource(JournalFanout(self.journal, clock), self.lasting, clock.wall)
        self.site = SidecarSite(resource, self.timer, HTTPLimits())

    def happen(self, action: Action, identity: str, name: str = "foo") -> None:
        self.journal.changed(Change.of(action, Service(name, "1", nodes=(Node(identity, "h", 1),))))
        self.timer.advance(0)

    def watch(self, query: str = "", last: str | None = None) -> Client:
        client = Client(self.site)
        field = "" if last is None else f"Last-Event-ID: {last}\r\n"
        client.send(f"GET /registry/watch{query} HTTP/1.1\r\nHost: h\r\n{field}\r\n".encode())
        return client

    def events(self, client: Client) -> list[tuple[str, int, Any]]:
        """Name, id and data of each event so far; comments are left out."""
        (answer,) = read_answers(client.wire.value() + b"0\r\n\r\n")
        self.assertEqual(answer.status, 200)
        found = []
        for block in answer.body.decode().split("\n\n")[:-1]:
            if block.startswith(":"):
                continue
            id_line, name_line, data_line = block.split("\n")
            self.assertTrue((id_line[:4], name_line[:7], data_line[:6]), ("id: ", "event: ", "data: "))
            found.append((name_line[7:], int(id_line[4:]), json.loads(data_line[6:])))
        return found


class Watching(WatchCase):
    def test_events(self) -> None:
        """Each change is an event named by its action, its data a journal entry, its id the entry's index."""
        client = self.watch()
        self.happen("create", "a")
        self.happen("update", "a")
        self.happen("delete", "a")
        told = self.events(client)
        self.assertEqual([name for name, _, _ in told], ["create", "update", "delete"])
        self.assertEqual([index for _, index, _ in told], [FIRST + 1, FIRST + 2, FIRST + 3])
        for name, index, entry in told:
            self.assertEqual((entry["action"], entry["index"]), (name, index))
            self.assertEqual(entry["service"]["nodes"][0]["id"], "a")
            self.assertEqual(list(entry), ["index", "at", "action", "reason", "detail", "by", "service"])

    def test_one_service(self) -> None:
        """With service= no other is told of."""
        client = self.watch("?service=foo")
        self.happen("create", "b", "bar")
        self.happen("create", "a")
        self.assertEqual([entry["service"]["name"] for _, _, entry in self.events(client)], ["foo"])

    def test_opens(self) -> None:
        """At the opening it tells where it is, without an event: whoever is cut off before the first goes on there."""
        self.happen("create", "a")
        client = self.watch()
        self.assertEqual(self.events(client), [])
        self.assertIn(b"\nid: %d\n\n" % (FIRST + 1), client.wire.value())
        self.assertIn(b"X-Micro-Index: %d\r\n" % (FIRST + 1), client.wire.value())

    def test_leaving(self) -> None:
        """A reader who leaves is followed by nothing."""
        client = self.watch()
        client.hang_up()
        self.happen("create", "a")
        self.assertEqual(self.lasting.open, 0)

    def test_wrong(self) -> None:
        """A 400 names what was wrong."""
        for query in ("?index=x", "?servce=foo", f"?service={'x' * 600}"):
            client = self.watch(query)
            self.assertEqual(client.answers()[0].status, 400, query)


class GoingOn(WatchCase):
    def setUp(self) -> None:
        super().setUp()
        for identity in "abc":
            self.happen("create", identity)
            self.happen("create", identity, "bar")

    def test_exactly(self) -> None:
        """Whoever comes again with the last id hears everything after it and then what happens, each once."""
        for seen in range(FIRST, FIRST + 7):
            client = self.watch(last=str(seen))
            self.assertEqual([index for _, index, _ in self.events(client)], list(range(seen + 1, FIRST + 7)))
        self.happen("delete", "a")
        self.assertEqual(self.events(client)[-1][:2], ("delete", FIRST + 7))

    def test_of_one_service(self) -> None:
        """With service= the others are left out, whosever entry was the last that was seen."""
        client = self.watch("?service=foo", str(FIRST + 2))
        self.assertEqual([index for _, index, _ in self.events(client)], [FIRST + 3, FIRST + 5])

    def test_by_query(self) -> None:
        """A page's first connection can begin at an index by the query; later the header goes before it."""
        self.assertEqual(len(self.events(self.watch(f"?index={FIRST + 4}"))), 2)
        self.assertEqual(len(self.events(self.watch(f"?index={FIRST}", str(FIRST + 5)))), 1)

    def test_cannot(self) -> None:
        """An id that is unknown, of another life, of the future or none at all: the whole state by ``reset``, whose id
        is that of the last entry; then what happens."""
        for last in ("7", str(FIRST - 1), str(FIRST + 100), "abc", "-1", "9" * 50):
            client = self.watch(last=last)
            ((name, index, state),) = self.events(client)
            self.assertEqual((name, index, state["index"]), ("reset", FIRST + 6, FIRST + 6), last)
            there = {each["name"]: [node["id"] for node in each["nodes"]] for each in state["services"]}
            self.assertEqual(there, {"foo": ["a", "b", "c"], "bar": ["a", "b", "c"]})
        self.happen("delete", "a")
        self.assertEqual([name for name, _, _ in self.events(client)], ["reset", "delete"])
        ((_, _, state),) = self.events(self.watch("?service=foo&index=0"))
        self.assertEqual([[node["id"] for node in each["nodes"]] for each in state["services"]], [["b", "c"]])

    def test_trimmed(self) -> None:
        """What the journal has let go of cannot be gone on with."""
        self.journal.entries = 3
        self.happen("create", "d")
        self.assertEqual([name for name, _, _ in self.events(self.watch(last=str(FIRST + 3)))], ["reset"])
        self.assertEqual(len(self.events(self.watch(last=str(FIRST + 4)))), 3)

    def test_much(self) -> None:
        """Thousands of entries come whole, as the reader takes them, with what happens meanwhile after them."""
        for number in range(3000):
            self.happen("create", f"n{number}", "many")
        client = Client(self.site)
        client.channel.pauseProducing()
        client.wire.protocol.dataReceived(
            f"GET /registry/watch HTTP/1.1\r\nHost: h\r\nLast-Event-ID: {FIRST + 6}\r\n\r\n".encode()
        )
        client.channel.resumeProducing()
        before = len(client.wire.value())
        self.happen("create", "last", "many")
        self.timer.pump([0] * 20)
        self.assertLess(before, len(client.wire.value()))
        self.assertEqual([index for _, index, _ in self.events(client)], list(range(FIRST + 7, FIRST + 3008)))
