"""Connections whose requests and answers pass in pieces."""

from __future__ import annotations

from typing import Any

from attrs import define, field
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from sidecar.net.client.connection import ClientConnection
from sidecar.net.client.streamed.connection import StreamingConnection
from sidecar.net.client.streamed.head import ResponseHead
from sidecar.net.errors import MalformedAnswer
from sidecar.net.http.events import Fields
from sidecar.test.doubles.clients.http import Wire

OK = b"HTTP/1.1 200 OK\r\n"


@define(eq=False)
class Received:
    """Takes an answer and keeps what it was told."""

    told: list[Any] = field(factory=list)

    def began(self, connection: ClientConnection, head: ResponseHead, data: bytes, ended: bool) -> None:
        self.told.append((head.status, data, ended))

    def informed(self, head: ResponseHead) -> None:
        self.told.append(head.status)

    def switched(self, connection: ClientConnection, head: ResponseHead, data: bytes) -> None:
        self.told.append(("switched", data))

    def data(self, data: bytes) -> None:
        self.told.append(data)

    def ended(self, connection: ClientConnection, trailers: Fields) -> None:
        self.told.append(("ended", trailers))

    def lost(self, error: Exception) -> None:
        self.told.append(type(error))

    def pause_request(self) -> None:
        self.told.append("pause")

    def resume_request(self) -> None:
        self.told.append("resume")


@define(eq=False)
class Owner:
    """Owns one connection. :ivar open: whether it is there."""

    open: bool = False

    def opened(self, connection: object) -> None:
        self.open = True

    def closed(self, connection: object) -> None:
        self.open = False


class StreamingTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.wire = Wire()
        self.connection = StreamingConnection(Owner(), 0)
        self.connection.makeConnection(self.wire)

    def begin(self, chunked: bool = False, is_head: bool = False, upgrade: bool = False) -> Received:
        received = Received()
        self.connection.begin(b"HEAD\r\n\r\n", received, chunked, is_head, upgrade)
        return received

    def ask(self, **how: bool) -> Received:
        received = self.begin(**how)
        self.connection.finish()
        return received

    def test_the_head_goes_with_the_first_piece(self) -> None:
        """In one write; alone where there is no piece, or where it should not wait."""
        self.begin()
        self.connection.write(b"ab", more=False)
        self.connection.finish()
        self.assertEqual(self.wire.writes, [b"HEAD\r\n\r\nab"])
        self.begin()
        self.connection.finish()
        self.begin()
        self.connection.flush()
        self.connection.write(b"cd")
        self.assertEqual(self.wire.writes[1:], [b"HEAD\r\n\r\n", b"HEAD\r\n\r\n", b"cd"])

    def test_chunks_and_trailers(self) -> None:
        """A body in chunks ends with its trailers."""
        self.begin(chunked=True)
        self.connection.write(b"0123456789abcdef")
        self.connection.finish([(b"X-Sum", b"1")])
        self.assertEqual(self.wire.value(), b"HEAD\r\n\r\n10\r\n0123456789abcdef\r\n0\r\nX-Sum: 1\r\n\r\n")

    def test_whole_answers(self) -> None:
        """Are told in one go, and leave the connection fit for the next; the same head is known again."""
        for _ in range(3):
            received = self.ask()
            self.connection.dataReceived(OK + b"Content-Length: 2\r\n\r\nab")
            self.assertEqual(received.told, [(200, b"ab", True)])
            self.assertTrue(self.connection.reusable)

    def test_answers_in_pieces(self) -> None:
        """However they are cut."""
        whole = OK + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\nX-Sum: 42\r\n\r\n"
        for size in range(1, len(whole) + 1):
            received = self.ask()
            for at in range(0, len(whole), size):
                self.connection.dataReceived(whole[at : at + size])
            (status, first, ended), *rest = received.told
            body = first + b"".join(piece for piece in rest if isinstance(piece, bytes))
            self.assertEqual((status, body, ended), (200, b"abcde", False), size)
            self.assertEqual(rest[-1], ("ended", [(b"X-Sum", b"42")]))
            self.assertTrue(self.connection.reusable)

    def test_heads_before_the_answer(self) -> None:
        """100 is nobody's business, others are passed on; too many are no answer."""
        received = self.ask()
        self.connection.dataReceived(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\n")
        self.connection.dataReceived(OK + b"Content-Length: 0\r\n\r\n")
        self.assertEqual(received.told, [103, (200, b"", True)])
        received = self.ask()
        self.connection.dataReceived(b"HTTP/1.1 102 X\r\n\r\n" * 17)
        self.assertEqual(received.told[-1], MalformedAnswer)

    def test_head(self) -> None:
        """After the answer to a HEAD no body is waited for."""
        received = self.ask(is_head=True)
        self.connection.dataReceived(OK + b"Content-Length: 100\r\n\r\n")
        self.assertEqual(received.told, [(200, b"", True)])
        self.assertTrue(self.connection.reusable)

    def test_until_the_end(self) -> None:
        """An answer that does not tell its length ends with the connection, if that ends well."""
        for reason, last in ((ConnectionDone(), ("ended", [])), (ConnectionLost(), ConnectionLost)):
            self.setUp()
            received = self.ask()
            self.connection.dataReceived(OK + b"\r\nab")
            self.connection.dataReceived(b"cd")
            self.connection.connectionLost(Failure(reason))
            self.assertEqual(received.told, [(200, b"ab", False), b"cd", last])

    def test_cut(self) -> None:
        """One that tells it and is cut is lost."""
        received = self.ask()
        self.connection.dataReceived(OK + b"Content-Length: 5\r\n\r\nab")
        self.connection.connectionLost(Failure(ConnectionDone()))
        self.assertEqual(received.told, [(200, b"ab", False), ConnectionDone])

    def test_more_than_an_answer(self) -> None:
        """What stands behind an answer is not taken for the next one's."""
        received = self.ask()
        self.connection.dataReceived(OK + b"Content-Length: 2\r\n\r\nabHTTP/1.1 200 OK\r\n\r\n")
        self.assertEqual((received.told, self.connection.reusable), ([(200, b"ab", True)], False))

    def test_answered_before_the_request_is_whole(self) -> None:
        """Then the connection is not used again."""
        self.begin()
        self.connection.write(b"a")
        self.connection.dataReceived(OK + b"Content-Length: 0\r\n\r\n")
        self.assertFalse(self.connection.reusable)

    def test_another_protocol(self) -> None:
        """After 101 bytes pass as they are, if somebody asked for that."""
        received = self.ask(upgrade=True)
        self.connection.dataReceived(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\nearly")
        self.connection.dataReceived(b"more")
        self.connection.write(b"back")
        self.connection.connectionLost(Failure(ConnectionDone()))
        self.assertEqual(received.told, [("switched", b"early"), b"more", ("ended", [])])
        self.assertEqual(self.wire.writes[-1], b"back")
        self.setUp()
        received = self.ask()
        self.connection.dataReceived(b"HTTP/1.1 101 Switching Protocols\r\n\r\n")
        self.assertEqual(received.told, [MalformedAnswer])

    def test_back_pressure(self) -> None:
        """A peer that does not read is told of; whoever does not read is not read for; both end with the answer."""
        received = self.begin()
        self.connection.write(b"x" * 10)
        self.connection.pauseProducing()
        self.connection.resumeProducing()
        self.assertEqual(received.told, ["pause", "resume"])
        self.connection.finish()
        self.assertIsNone(self.wire.producer)
        self.connection.pause()
        self.assertEqual(self.wire.producerState, "paused")
        self.connection.dataReceived(OK + b"Content-Length: 0\r\n\r\n")
        self.assertEqual(self.wire.producerState, "producing")

    def test_nobody_asked(self) -> None:
        """What comes then ends the connection."""
        self.connection.dataReceived(OK)
        self.assertTrue(self.wire.disconnected or self.wire.disconnecting)
