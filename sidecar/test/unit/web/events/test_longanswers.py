"""Streams of events: what their readers see, how many there may be, how a slow one is cut off, how all end."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.server import NOT_DONE_YET

from sidecar.errors import Overloaded, ShuttingDown
from sidecar.net.http.limits import HTTPLimits
from sidecar.net.memory import MemoryBudget
from sidecar.net.peers import Shares
from sidecar.test.doubles.clients.http import Client, Noted, Rendered, read_answers
from sidecar.web.events.longanswers import LongAnswers
from sidecar.web.events.stream import OUTBOX, PIECE, EventStream
from sidecar.web.site import SidecarSite
from sidecar.wire import events

GET = b"GET /a HTTP/1.1\r\nHost: h\r\n\r\n"


class LongAnswersCase(SynchronousTestCase):
    channel: Any = "fast"

    def setUp(self) -> None:
        self.clock = Clock()
        self.answers = LongAnswers(self.clock, most=3)
        self.streams: list[EventStream] = []
        self.gone: list[int] = []
        self.recorder = Noted()
        self.site = SidecarSite(Rendered(self.render), self.clock, HTTPLimits(), self.channel, self.recorder)

    def render(self, request: Any) -> int:
        number = len(self.streams)
        self.streams.append(self.answers.stream(request, lambda: self.gone.append(number)))
        return NOT_DONE_YET

    def connect(self, asked: bytes = GET) -> tuple[Client, EventStream]:
        client = Client(self.site)
        client.send(asked)
        return client, self.streams[-1]

    def body(self, client: Client) -> bytes:
        """What came of a stream that has not ended, out of its chunks."""
        (answer,) = read_answers(client.wire.value() + b"0\r\n\r\n")
        return answer.body


class Reading(LongAnswersCase):
    def test_events(self) -> None:
        """A reader gets the head at once, and each event as it happens."""
        client, stream = self.connect()
        self.assertIn(b"Content-Type: text/event-stream", client.wire.value())
        self.assertIn(b"Cache-Control: no-store", client.wire.value())
        one, other = events.encode("a", b"1", "1"), events.encode("b", b"2", "2")
        stream.send(one)
        self.assertEqual(self.body(client), one)
        stream.send(other)
        self.assertEqual(self.body(client), one + other)

    def test_heartbeats(self) -> None:
        """A comment comes every fifteen seconds, to each reader, and no timer stays when all have gone."""
        first, _ = self.connect()
        self.clock.advance(10)
        second, _ = self.connect()
        self.clock.pump([0.5] * 16)
        self.assertEqual((self.body(first), self.body(second)), (events.HEARTBEAT, b""))
        self.clock.pump([0.5] * 24)
        self.assertEqual((self.body(first), self.body(second)), (2 * events.HEARTBEAT, events.HEARTBEAT))
        first.hang_up()
        second.hang_up()
        self.clock.advance(30)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_counted_when_it_begins(self) -> None:
        """The statistics count it when it begins, and do not take its length for the time of an answer."""
        client, stream = self.connect()
        self.assertEqual(self.recorder.notes, [(200, 0.0)])
        self.clock.advance(5)
        stream.end()
        self.assertEqual(self.recorder.notes, [(200, 0.0)])
        self.assertEqual(self.site.in_flight, 0)
        self.assertTrue(client.wire.value().endswith(b"0\r\n\r\n"))

    def test_head(self) -> None:
        """A HEAD gets the head, and is over."""
        client, stream = self.connect(GET.replace(b"GET", b"HEAD"))
        (answer,) = read_answers(client.wire.value(), "HEAD")
        self.assertEqual((answer.status, answer.body, stream.open, self.answers.open), (200, b"", False, 0))
        self.assertEqual(self.gone, [0])

    def test_hanging_up(self) -> None:
        """A reader that hangs up is told of once, and written to no more."""
        client, stream = self.connect()
        client.hang_up()
        self.assertEqual((self.gone, stream.open, self.answers.open, self.answers.slow), ([0], False, 0, 0))
        stream.send(b"x\n\n")
        stream.end()
        self.assertEqual((self.gone, self.site.in_flight), ([0], 0))


class StockReading(Reading):
    channel = "stock"

    def setUp(self) -> None:
        super().setUp()
        self.site.doStart()
        self.addCleanup(self.site.doStop)

    def test_heartbeats(self) -> None:
        """The stock channel has timers of its own, so only the comment is looked for."""
        client, _ = self.connect()
        self.clock.advance(15)
        self.assertEqual(self.body(client), events.HEARTBEAT)


class SlowReading(LongAnswersCase):
    def test_waits(self) -> None:
        """What a reader does not take waits in order, and goes out when it takes it again; heartbeats do not wait."""
        client, stream = self.connect()
        client.channel.pauseProducing()
        told = [events.encode("a", b"%d" % number) for number in range(3)]
        for event in told:
            stream.send(event)
        self.clock.advance(15)
        self.assertEqual(self.body(client), b"")
        client.channel.resumeProducing()
        self.assertEqual(self.body(client), b"".join(told))
        stream.send(told[0])
        self.assertEqual(self.body(client), b"".join(told) + told[0])

    def test_bound(self) -> None:
        """With more than its bound waiting it is cut off and counted; others read on."""
        slow, stream = self.connect()
        fast, other = self.connect()
        slow.channel.pauseProducing()
        event = events.encode("a", b"x" * 1000)
        for _ in range(OUTBOX // len(event) + 2):
            stream.send(event)
            other.send(event)
        self.assertEqual((stream.open, other.open, self.answers.slow, self.gone), (False, True, 1, [0]))
        self.assertTrue(slow.wire.disconnected or slow.wire.aborting)
        self.assertEqual(len(self.body(fast)), (OUTBOX // len(event) + 2) * len(event))

    def test_bound_of_all(self) -> None:
        """What waits for all readers counts in the budget of all, and the one for whom most waits is cut off."""
        budget = self.answers.budget = MemoryBudget(100_000, self.clock.seconds)
        (slow, stream), (other, less) = self.connect(), self.connect()
        for client in (slow, other):
            client.channel.pauseProducing()
        event = events.encode("a", b"x" * 1000)
        for _ in range(20):
            less.send(event)
        self.assertGreaterEqual(budget.total, 20 * len(event))
        for _ in range(90):
            stream.send(event)
        self.assertEqual((stream.open, less.open, self.answers.slow), (False, True, 1))
        self.assertEqual(budget.shed, {"events": 1})
        self.assertTrue(slow.wire.disconnected or slow.wire.aborting)
        other.channel.resumeProducing()
        self.clock.pump([0.0] * 20)
        self.assertEqual((len(self.body(other)), budget.total), (20 * len(event), 0))
        other.channel.pauseProducing()
        less.send(event)
        other.hang_up()
        self.assertEqual(budget.total, 0)

    def test_large(self) -> None:
        """An event larger than the bound goes out in pieces as it is taken, and cuts nobody off."""
        client, stream = self.connect()
        large = events.encode("reset", bytes(range(65, 91)) * 60_000, "7")
        self.assertGreater(len(large), OUTBOX)
        client.channel.pauseProducing()
        stream.send(large)
        after = events.encode("a", b"1", "8")
        stream.send(after)
        self.assertEqual((self.body(client), stream.open), (b"", True))
        write = client.wire.write

        def taken_slowly(data: bytes) -> None:
            write(data)
            self.assertLess(len(data), 2 * PIECE)
            if len(data) >= PIECE:
                client.channel.pauseProducing()

        client.wire.write = taken_slowly
        for _ in range(40):
            client.channel.resumeProducing()
        self.assertEqual(self.body(client), large + after)

    def test_end_while_it_waits(self) -> None:
        """What waits when it is ended goes out before the end, each byte once."""
        client, stream = self.connect()
        large = events.encode("reset", b"abc" * 50_000, "7")
        stream.send(large)
        client.channel.pauseProducing()
        stream.send(large)
        stream.send(b": last\n\n")
        stream.end()
        (answer,) = read_answers(client.wire.value())
        self.assertEqual(answer.body, 2 * large + b": last\n\n")


class Limits(LongAnswersCase):
    def test_too_many(self) -> None:
        """One more than there may be is answered 503, and there is room again when one goes."""
        clients = [self.connect()[0] for _ in range(3)]
        refused = Client(self.site)
        refused.send(GET)
        self.assertEqual(refused.answers()[0].status, 503)
        self.assertIn(b"3 subscriptions are open, which is the limit", refused.answers()[0].body)
        self.assertEqual((self.answers.refused, len(self.streams)), (1, 3))
        clients[0].hang_up()
        self.connect()
        self.assertEqual(len(self.streams), 4)

    def test_together(self) -> None:
        """Requests that wait, and the WebSockets, are counted with the streams."""
        others = [1]
        answers = LongAnswers(self.clock, 3, lambda: others[0])
        asked = SimpleNamespace(channel=None)
        answers.add("a", lambda: None, asked)
        answers.admit(asked)
        answers.add("b", lambda: None, asked)
        self.assertRaises(Overloaded, answers.add, "c", lambda: None, asked)
        others[0] = 0
        answers.add("c", lambda: None, asked)
        answers.remove("a")
        answers.remove("a")
        self.assertEqual(answers.open, 2)

    def test_of_one_peer(self) -> None:
        """One peer may have its share of them and no more; others are not touched, and one that ends makes room."""
        limits = HTTPLimits(shares=Shares(subscriptions=1))
        self.site = SidecarSite(Rendered(self.render), self.clock, limits, "fast", self.recorder)
        client, _ = self.connect()
        second = Client(self.site)
        second.send(GET)
        told = second.answers()[0]
        self.assertEqual((told.status, told.headers[b"retry-after"]), (503, b"1"))
        self.assertIn(b"--max_peer_subscriptions", told.body)
        other = Client(self.site, "10.0.0.2")
        other.send(GET)
        self.assertEqual(self.answers.open, 2)
        client.hang_up()
        second.send(GET)
        self.assertEqual((self.answers.open, self.answers.refused), (2, 1))

    def test_connections(self) -> None:
        """They take nobody the place of a connection: as many others are let in as ever."""
        limits = HTTPLimits(max_connections=2)
        site = SidecarSite(Rendered(self.render), self.clock, limits, lasting=lambda: self.answers.open)
        for _ in range(3):
            Client(site).send(GET)
        self.assertEqual((self.answers.open, site.under_way), (3, 0))
        others = [Client(site) for _ in range(2)]
        for client in others:
            client.send(GET)  # refused by the limit of its own, which is an answer
        self.assertEqual([client.answers()[0].status for client in others], [503, 503])
        self.assertIn(b"3 subscriptions", others[1].answers()[0].body)


class Stopping(LongAnswersCase):
    def test_all_end(self) -> None:
        """Stopping ends each stream in good order and has each request that waits answered; none begins any more."""
        (client, _), (other, _) = self.connect(), self.connect()
        ended: list[str] = []

        def answered() -> None:
            ended.append("wait")
            self.answers.remove("wait")

        self.answers.add("wait", answered, SimpleNamespace(channel=None))
        self.answers.startService()
        self.answers.stopService()
        for each in (client, other):
            (answer,) = read_answers(each.wire.value())
            self.assertEqual(answer.status, 200)
        self.assertEqual((ended, self.gone, self.answers.open, self.site.in_flight), (["wait"], [0, 1], 0, 0))
        self.assertRaises(ShuttingDown, self.answers.admit, SimpleNamespace(channel=None))
