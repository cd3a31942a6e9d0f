"""Requests of more clients than one turn has time for: who is answered, who waits, who is told that it is too much."""

from __future__ import annotations

from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.server import NOT_DONE_YET

from sidecar.net.http.limits import HTTPLimits
from sidecar.net.reactor.admission import AT_ONCE, Admission
from sidecar.test.doubles.clients.http import Client, Rendered, site_of
from sidecar.test.unit.net.reactor.test_admission import CountedClock

GET = b"GET /a HTTP/1.1\r\nHost: h\r\n\r\n"


class HalfHeaders(SynchronousTestCase):
    def test_make_way(self) -> None:
        """Connections that hold nothing but half a header keep nobody out; those that are answered stay."""
        leaf = Rendered(lambda request: NOT_DONE_YET)
        site = site_of(leaf, Clock(), HTTPLimits(max_connections=3))
        asked = Client(site)
        asked.send(GET)
        halves = [Client(site) for _ in range(2)]
        for client in halves:
            client.send(GET[:10])
        newcomer = Client(site)
        newcomer.send(GET)
        self.assertEqual(len(leaf.requests), 2)
        self.assertEqual((asked.wire.value(), newcomer.wire.value()), (b"", b""))
        for client in halves:
            self.assertEqual([answer.status for answer in client.answers()], [503])


class Overloaded(SynchronousTestCase):
    def setUp(self) -> None:
        self.leaf = Rendered(None)
        self.site = site_of(self.leaf, Clock())
        self.turns = CountedClock()
        self.site.admission = Admission(self.turns, 0.5)
        self.turns.next_turn()

    def ask(self, count: int, request: bytes = GET) -> list[Any]:
        clients = [Client(self.site) for _ in range(count)]
        for client in clients:
            client.send(request)
        return clients

    def answered(self, clients: list[Any]) -> int:
        return sum(bool(client.wire.value()) for client in clients)

    def test_in_turn(self) -> None:
        """Those beyond what a turn has time for are answered in the next ones."""
        clients = self.ask(2 * AT_ONCE + 1)
        counts = [self.answered(clients)]
        for _ in range(2):
            self.turns.next_turn()
            counts.append(self.answered(clients))
        self.assertEqual(counts, [AT_ONCE, 2 * AT_ONCE, 2 * AT_ONCE + 1])

    def test_refused(self) -> None:
        """Who waited for too long gets 503, and is told when to come again; that may be on the same connection."""
        clients = self.ask(AT_ONCE + 1)
        self.turns.next_turn(0.6)
        (answer,) = clients[-1].answers()
        self.assertEqual((answer.status, answer.headers[b"retry-after"]), (503, b"1"))
        self.assertIn(b"--queue_timeout", answer.body)
        self.assertEqual(self.site.admission.stats(), {"waiting": 0, "refused": 1, "left": 0})
        self.turns.next_turn()
        clients[-1].send(GET)
        self.assertEqual([each.status for each in clients[-1].answers()], [503, 200])
        self.assertEqual(self.site.in_flight, 0)

    def test_health(self) -> None:
        """How we are is said at once, whoever waits."""
        self.ask(100)
        (client,) = self.ask(1, b"GET /health HTTP/1.1\r\nHost: h\r\n\r\n")
        self.assertEqual(len(client.answers()), 1)

    def test_client_leaves(self) -> None:
        """Nothing is begun for a client that has left while it waited."""
        clients = self.ask(AT_ONCE + 1)
        clients[-1].hang_up()
        begun = len(self.leaf.requests)
        self.turns.next_turn()
        self.assertEqual((len(self.leaf.requests), self.site.in_flight), (begun, 0))
