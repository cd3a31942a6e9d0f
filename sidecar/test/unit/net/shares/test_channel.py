"""Who has its share, and who comes when there are too many: what they are answered."""

from __future__ import annotations

from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.server import NOT_DONE_YET

from sidecar.net.http.channel import HTTPChannel
from sidecar.net.http.limits import HTTPLimits
from sidecar.net.peers import Shares
from sidecar.net.shares.channel import TOLD_OF_ONE_PEER, LimitedChannel
from sidecar.test.doubles.clients.http import Client, Rendered, site_of
from sidecar.web.site import TOLD_AT_ONCE, SidecarSite

GET = b"GET /a HTTP/1.1\r\nHost: h\r\n\r\n"
HEALTH = b"GET /health HTTP/1.1\r\nHost: h\r\n\r\n"
HALF = b"POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nx"


def asleep(request: Any) -> int:
    """``/health`` is answered, nothing else is."""
    if request.path == b"/health":
        request.answer(200, b"", b"")
    return NOT_DONE_YET


class Case(SynchronousTestCase):
    limits = HTTPLimits(max_connections=64, shares=Shares(connections=2, requests=2))

    def setUp(self) -> None:
        self.clock = Clock()
        self.leaf = Rendered(asleep)
        self.site: SidecarSite = site_of(self.leaf, self.clock, self.limits)

    def wait(self, seconds: float) -> None:
        self.clock.pump([0.25] * int(seconds * 4))

    def ask(self, data: bytes = GET, host: str = "10.0.0.1") -> Client:
        client = Client(self.site, host)
        client.send(data)
        return client

    def assertTold(self, client: Client, *words: str) -> None:
        answer = client.answers()[-1]
        self.assertEqual((answer.status, answer.headers[b"retry-after"]), (503, b"1"))
        for word in words:
            self.assertIn(word.encode(), answer.body)
        self.assertTrue(client.wire.closing)


class Share(Case):
    def test_connections(self) -> None:
        """A peer with as many connections as one may have is told so of the next, whether it asks or not; health is
        still answered, others are not touched, and a connection that ends makes room."""
        first, _ = self.ask(), self.ask()
        asking, silent, health = self.ask(), Client(self.site, "10.0.0.1"), self.ask(HEALTH)
        self.wait(0.5)
        for client in (asking, silent):
            self.assertTold(client, "10.0.0.1", "--max_peer_connections")
        self.assertEqual(health.answers()[0].status, 200)
        self.assertTrue(health.wire.closing)
        other = self.ask(HEALTH, "10.0.0.2")
        self.assertFalse(other.wire.closing)
        for client in (first, asking, silent, health):
            client.hang_up()
        self.assertFalse(self.ask().wire.closing)

    def test_told_are_bounded(self) -> None:
        """Of one peer only so many are told: more are cut."""
        for _ in range(2 + TOLD_OF_ONE_PEER):
            self.ask()
        self.assertTrue(self.ask().wire.disconnecting or self.ask().wire.disconnected)

    def test_requests(self) -> None:
        """As many requests as one may have under way are served, the next is told, and one that is answered makes
        room. Loopback may have all there is."""
        self.limits = HTTPLimits(shares=Shares(connections=9, requests=2))
        self.setUp()
        self.ask(), self.ask()
        self.assertTold(self.ask(), "2 requests", "--max_peer_requests")
        self.assertEqual(self.ask(HEALTH).answers()[0].status, 200)
        self.leaf.requests[0].answer(200, b"", b"")
        self.ask()
        self.assertEqual(len(self.leaf.requests), 4)
        for _ in range(5):
            self.ask(host="127.0.0.1")
        self.assertEqual(len(self.leaf.requests), 9)

    def test_all_is_given_back(self) -> None:
        """Whatever way requests and connections end, nothing of theirs stays counted."""
        clients = [self.ask(), self.ask(HALF), self.ask(b"nonsense\r\n\r\n"), self.ask(), self.ask(HEALTH)]
        self.leaf.requests[0].answer(200, b"", b"")
        self.wait(60)
        for client in clients:
            client.hang_up()
        self.assertEqual((len(self.site._peers), self.site.connections, self.site.in_flight), (0, 0, 0))

    def test_free(self) -> None:
        """Who comes from loopback while there is room has the plain channel, which counts nothing."""
        kinds = [
            type(self.site.buildProtocol(IPv4Address("TCP", host, 1))) for host in ("127.0.0.1", "::1", "10.0.0.1")
        ]
        self.assertEqual(kinds, [HTTPChannel, HTTPChannel, LimitedChannel])


class Reserve(Case):
    def busy(self, number: int, data: bytes = GET) -> list[Client]:
        return [self.ask(data, "127.0.0.1") for _ in range(number)]

    def test_newcomers(self) -> None:
        """Where all connections have requests under way, a few newcomers more are each answered once; then they are
        told, and health is answered all the same."""
        self.busy(64)
        served = self.busy(2)
        self.assertEqual(len(self.leaf.requests), 66)
        self.assertTold(self.busy(1)[0], "64 connections", "--max_connections")
        self.assertEqual(self.busy(1, HEALTH)[0].answers()[0].status, 200)
        self.leaf.requests[64].answer(200, b"", b"")
        self.assertEqual(served[0].answers()[0].headers[b"connection"], b"close")
        self.assertTrue(served[0].wire.closing)

    def test_half_requests(self) -> None:
        """Who has sent half a request makes room, with a body as with a header."""
        half = self.busy(64, HALF)
        newcomer = self.busy(1)[0]
        self.assertTold(half[0], "rest of this request")
        self.assertFalse(newcomer.wire.closing)
        self.assertEqual(len(self.leaf.requests), 1)

    def test_refused_make_room(self) -> None:
        """However many are being told that there are too many, health is answered."""
        self.busy(66)
        for _ in range(3):
            self.busy(TOLD_AT_ONCE)
            for _ in range(TOLD_AT_ONCE):
                Client(self.site, "127.0.0.1")
            self.assertEqual(self.busy(1, HEALTH)[0].answers()[0].status, 200)
