"""One client connection: answers whole, answers in pieces, and what is no answer."""

from __future__ import annotations

from attrs import define, field
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from sidecar.net.client.connection import ClientConnection
from sidecar.net.errors import BudgetSpent, MalformedAnswer
from sidecar.net.memory import MemoryBudget

GOOD = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\nX-Odd:  a b \r\n\r\nhello"


class Transport(StringTransport):
    aborted = False

    def setTcpNoDelay(self, enabled: bool) -> None:
        self.no_delay = enabled

    def abortConnection(self) -> None:
        self.aborted = True


@define(eq=False)
class Story:
    """A connection, who keeps it, and what it told."""

    connection: ClientConnection = field(init=False)
    transport: Transport = field(factory=Transport)
    answers: list[tuple[int, bytes]] = field(factory=list)
    headers: list[bytes | None] = field(factory=list)
    errors: list[Exception] = field(factory=list)
    kept: list[str] = field(factory=list)

    def __attrs_post_init__(self) -> None:
        self.connection = ClientConnection(self, max_body=1000)
        self.connection.makeConnection(self.transport)

    def opened(self, connection: ClientConnection) -> None:
        self.kept.append("opened")

    def closed(self, connection: ClientConnection) -> None:
        self.kept.append("closed")

    def answered(self, connection: ClientConnection, status: int, body: bytes) -> None:
        self.answers.append((status, body))
        self.headers.append(connection.header(b"x-odd"))

    def lost(self, error: Exception) -> None:
        self.errors.append(error)

    def ask(self, *data: bytes) -> Story:
        self.connection.send(b"POST / HTTP/1.1\r\n\r\n", self)
        for each in data:
            self.connection.dataReceived(each)
        return self

    def end(self, reason: Exception) -> Story:
        self.connection.connectionLost(Failure(reason))
        return self

    @property
    def outcome(self) -> tuple[list[tuple[int, bytes]], list[str], bool]:
        return self.answers, [str(error) for error in self.errors], self.connection.reusable


class Counted(SynchronousTestCase):
    """What of answers is counted in the budget of all."""

    BEGUN = b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n"

    def setUp(self) -> None:
        self.budget = MemoryBudget(1200, Clock().seconds)

    def story(self) -> Story:
        story = Story()
        story.connection.budget = self.budget
        return story

    def test_at_once(self) -> None:
        """One that comes in one piece, or of which only the first is here, costs the budget nothing."""
        self.story().ask(GOOD)
        self.story().ask(self.BEGUN + b"x" * 500)
        self.assertEqual(self.budget.total, 0)

    def test_in_pieces(self) -> None:
        """One in several is counted until it is whole, is given up, or cannot come any more."""
        whole, given_up, broken = self.story(), self.story(), self.story()
        for story in (whole, given_up, broken):
            story.ask(self.BEGUN + b"x" * 100, b"x" * 150)
        self.assertEqual(self.budget.total, 3 * (250 + 62))
        whole.connection.dataReceived(b"x" * 650)
        self.assertEqual((len(whole.answers[0][1]), self.budget.total), (900, 2 * (250 + 62)))
        given_up.connection.drop()
        self.assertEqual(self.budget.total, 250 + 62)
        broken.end(ConnectionLost())
        self.assertEqual(self.budget.total, 0)

    def test_many_pieces(self) -> None:
        """Of many pieces none is lost."""
        story = self.story().ask(self.BEGUN, *(b"%03d" % number for number in range(300)))
        self.assertEqual(story.answers[0][1], b"".join(b"%03d" % number for number in range(300)))
        self.assertEqual(self.budget.total, 0)

    def test_too_much(self) -> None:
        """The largest goes where all together are too many, and whoever waits for it is told why."""
        small, large = self.story(), self.story()
        large.ask(self.BEGUN + b"x", b"x" * 700)
        small.ask(self.BEGUN + b"x", b"x" * 350)
        self.assertEqual((large.transport.aborted, small.transport.aborted), (True, False))
        self.assertIsInstance(large.errors[0], BudgetSpent)
        self.assertIn("--max_memory", str(large.errors[0]))
        self.assertEqual((self.budget.total, self.budget.shed), (351 + 87, {"replies": 1}))

    def test_itself(self) -> None:
        """The one that makes it too many may be the one that goes."""
        self.budget = MemoryBudget(500, Clock().seconds)
        story = self.story().ask(self.BEGUN + b"x", b"x" * 600)
        self.assertEqual((story.transport.aborted, len(story.errors), self.budget.total), (True, 1, 0))


class Answers(SynchronousTestCase):
    def test_whole(self) -> None:
        """An answer is status and body; its headers can be asked for, and the connection can be used again."""
        story = Story().ask(GOOD)
        self.assertEqual(story.outcome, ([(200, b"hello")], [], True))
        self.assertEqual(story.headers, [b"a b"])
        story.ask(GOOD.replace(b"hello", b"again"))
        self.assertEqual(story.answers[1], (200, b"again"))

    def test_every_cut(self) -> None:
        """It is the same answer wherever the network cuts it, once or at every byte."""
        for at in range(1, len(GOOD)):
            story = Story().ask(GOOD[:at], GOOD[at:])
            self.assertEqual((story.outcome, story.headers), (([(200, b"hello")], [], True), [b"a b"]), at)
        story = Story().ask(*(GOOD[at : at + 1] for at in range(len(GOOD))))
        self.assertEqual((story.outcome, story.headers), (([(200, b"hello")], [], True), [b"a b"]))

    def test_chunked(self) -> None:
        """Chunks are joined."""
        chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n"
        self.assertEqual(Story().ask(chunked).outcome, ([(200, b"hello")], [], True))
        self.assertEqual(Story().ask(*(bytes([byte]) for byte in chunked)).outcome, ([(200, b"hello")], [], True))

    def test_until_the_end(self) -> None:
        """An answer without a length is whole when the connection ends cleanly, and lost when it breaks."""
        endless = b"HTTP/1.1 200 OK\r\nX-Odd: a b\r\n\r\nhel"
        story = Story().ask(endless, b"lo").end(ConnectionDone())
        self.assertEqual(story.outcome, ([(200, b"hello")], [], False))
        self.assertEqual(story.kept, ["opened", "closed"])
        story = Story().ask(endless).end(ConnectionLost())
        self.assertEqual((story.answers, len(story.errors)), ([], 1))

    def test_cut_short(self) -> None:
        """An answer that is shorter than it said is no answer."""
        for cut in (b"", GOOD[:10], GOOD[:-1], b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n"):
            story = Story().ask(cut).end(ConnectionDone())
            self.assertEqual((story.answers, len(story.errors)), ([], 1), cut)

    def test_close(self) -> None:
        """After ``Connection: close``, or from HTTP/1.0, the connection is not used again."""
        for good in (GOOD.replace(b"X-Odd:  a b ", b"Connection: close"), GOOD.replace(b"HTTP/1.1", b"HTTP/1.0")):
            self.assertEqual(Story().ask(good).outcome, ([(200, b"hello")], [], False))

    def test_no_body(self) -> None:
        """An empty answer, and statuses that have no body, are whole with their head."""
        self.assertEqual(Story().ask(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").outcome, ([(200, b"")], [], True))
        self.assertEqual(Story().ask(b"HTTP/1.1 204 No Content\r\n\r\n").outcome, ([(204, b"")], [], True))

    def test_announcements(self) -> None:
        """1xx is no answer, whether it comes alone or with the answer behind it."""
        early = b"HTTP/1.1 103 Early Hints\r\nX-Odd: no\r\n\r\n"
        for data in ((early, GOOD), (early + GOOD,), (early + early + GOOD,)):
            story = Story().ask(*data)
            self.assertEqual((story.outcome, story.headers), (([(200, b"hello")], [], True), [b"a b"]), data)


class Misbehaving(SynchronousTestCase):
    def broken(self, *data: bytes) -> str:
        story = Story().ask(*data)
        self.assertEqual((story.answers, len(story.errors)), ([], 1), data)
        self.assertIsInstance(story.errors[0], MalformedAnswer)
        self.assertTrue(story.transport.aborted)
        return str(story.errors[0])

    def test_garbage(self) -> None:
        """What is not HTTP is told and the connection closed."""
        for data in (
            b"SSH-2.0-OpenSSH\r\n",
            b"\x00\x00\x06\x04\x00",
            b"HTTP/1.1 abc\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
        ):
            self.assertIn("not an HTTP answer", self.broken(data))

    def test_both_lengths(self) -> None:
        """Two ways to tell the length are one too many."""
        self.broken(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")

    def test_upgrade(self) -> None:
        """Nobody asked for another protocol."""
        self.assertIn(
            "upgrade", self.broken(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n")
        )

    def test_too_large(self) -> None:
        """A body over the limit is refused as it comes, with or without a length."""
        for head in (b"Content-Length: 2000", b"Transfer-Encoding: chunked", b"X: y"):
            data = b"x" * 1001 if b"chunked" not in head else b"7d0\r\n" + b"x" * 1001
            self.assertIn("1000 bytes", self.broken(b"HTTP/1.1 200 OK\r\n" + head + b"\r\n\r\n" + data))

    def test_at_the_limit(self) -> None:
        """A body of exactly the limit is fine."""
        whole = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" + b"x" * 1000
        self.assertEqual(Story().ask(whole).outcome, ([(200, b"x" * 1000)], [], True))

    def test_endless_head(self) -> None:
        """So are headers that do not end."""
        line = b"X-Filler: " + b"y" * 1000 + b"\r\n"
        self.broken(b"HTTP/1.1 200 OK\r\n", *(line,) * 80)

    def test_two_answers(self) -> None:
        """A second answer behind the first is never taken for that of the next call."""
        for extra in (GOOD, b"HTTP", b"garbage"):
            story = Story().ask(GOOD + extra)
            self.assertEqual(story.outcome, ([(200, b"hello")], [], False), extra)

    def test_out_of_turn(self) -> None:
        """A peer that talks while nobody asked is closed."""
        story = Story()
        story.connection.dataReceived(GOOD)
        self.assertTrue(story.transport.aborted)
        self.assertFalse(story.connection.reusable)
        story = Story().ask(GOOD)
        story.connection.dataReceived(b"x")
        self.assertTrue(story.transport.aborted)

    def test_dropped(self) -> None:
        """After drop the one who waited is told nothing."""
        story = Story().ask()
        story.connection.drop()
        story.end(ConnectionLost())
        self.assertEqual((story.answers, story.errors, story.kept), ([], [], ["opened", "closed"]))
