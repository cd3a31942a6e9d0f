"""Bodies that are taken as they come and answers in pieces: in order, with back-pressure both ways, in flat memory."""

from __future__ import annotations

import socket
import tracemalloc
from threading import Thread
from typing import Any

from twisted.internet import reactor
from twisted.internet.task import Clock
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import SynchronousTestCase, TestCase
from twisted.web.server import NOT_DONE_YET

from sidecar.net.http.limits import HTTPLimits
from sidecar.test.doubles.clients.http import Client, Echo, Rendered, site_of
from sidecar.web.site import SidecarSite

PATIENCE = 60.0
MIB = 1 << 20
POST = b"POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n"
CHUNKED = b"POST /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
GET = b"GET /a HTTP/1.1\r\nHost: h\r\n\r\n"


class Noting:
    """A receiver that notes what it is told."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []
        self.ends: list[list[tuple[bytes, bytes]]] = []

    def received(self, data: bytes) -> None:
        self.pieces.append(data)

    def ended(self, trailers: list[tuple[bytes, bytes]]) -> None:
        self.ends.append(trailers)


class Streaming(Rendered):
    """Is rendered when the header is there, and leaves what comes then to the test."""

    streaming = True

    def __init__(self, render: Any = lambda request: NOT_DONE_YET) -> None:
        super().__init__(render)


class Case(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()

    def serve(self, leaf: Any = None, **limits: Any) -> Client:
        self.leaf = leaf or Streaming()
        self.site = site_of(self.leaf, self.clock, HTTPLimits(**limits))
        return Client(self.site)


class BodyAsItComes(Case):
    def test_before_the_body(self) -> None:
        """The resource has the request when its header is there, and each piece when it comes; then the end."""
        client = self.serve()
        client.send(POST % 4)
        (request,) = self.leaf.requests
        seen = Noting()
        request.stream_body(seen)
        client.send(b"ab")
        self.assertEqual((seen.pieces, seen.ends), ([b"ab"], []))
        client.send(b"cd" + GET)
        self.assertEqual((seen.pieces, seen.ends, len(self.leaf.requests)), ([b"ab", b"cd"], [[]], 1))
        request.answer(200, b"", b"all")
        self.assertEqual(len(self.leaf.requests), 2)

    def test_no_limit(self) -> None:
        """max_body is for bodies that are collected."""
        client = self.serve(Echo(), max_body=10)
        client.send(POST % 1000 + b"x" * 1000)
        self.assertEqual([a.body for a in client.answers()], [b"x" * 1000])

    def test_trailers(self) -> None:
        """Trailers are told at the end, kept on the request, and can be sent after an answer in chunks."""
        client = self.serve()
        client.send(CHUNKED + b"2\r\nab\r\n0\r\nX-Sum: 1\r\n\r\n")
        (request,) = self.leaf.requests
        seen = Noting()
        request.stream_body(seen)
        self.assertEqual((seen.pieces, seen.ends), ([b"ab"], [[(b"X-Sum", b"1")]]))
        request.begin(200)
        request.write(b"xyz")
        request.finish([(b"Y-Sum", b"2")])
        self.assertTrue(client.wire.value().endswith(b"3\r\nxyz\r\n0\r\nY-Sum: 2\r\n\r\n"))
        self.assertEqual(request.trailers, ((b"X-Sum", b"1"),))

    def test_trailers_of_a_whole_body(self) -> None:
        """They are kept where the body is collected too."""
        client = self.serve(Rendered())
        client.send(CHUNKED + b"2\r\nab\r\n0\r\nX-Sum: 1\r\n\r\n")
        (request,) = self.leaf.requests
        self.assertEqual((request.body, request.trailers), (b"ab", ((b"X-Sum", b"1"),)))

    def test_pause(self) -> None:
        """A receiver that wants no more gets no more, reading stops, and all goes on where it stopped."""
        client = self.serve()
        client.send(POST % 300_000)
        (request,) = self.leaf.requests
        seen = Noting()
        request.stream_body(seen)
        client.send(b"x" * 1000)
        request.pause_body()
        self.assertEqual(client.wire.producerState, "paused")
        client.send(b"x" * 9000)
        self.assertEqual(sum(map(len, seen.pieces)), 1000)
        request.resume_body()
        self.assertEqual((sum(map(len, seen.pieces)), client.wire.producerState), (10_000, "producing"))

    def test_time_between_pieces(self) -> None:
        """However long a body takes in all: it is the time between two pieces that counts."""
        client = self.serve(body_timeout=5.0)
        client.send(POST % 6)
        (request,) = self.leaf.requests
        seen = Noting()
        request.stream_body(seen)
        for _ in range(5):
            self.clock.pump([0.25] * 16)
            client.send(b"x")
        self.assertEqual((seen.pieces, client.answers()), ([b"x"] * 5, []))
        self.clock.pump([0.25] * 24)
        self.assertEqual([answer.status for answer in client.answers()], [408])

    def test_client_lost(self) -> None:
        """Who takes a body is told when the rest of it will not come: the client left, or sends nonsense, or stalls."""
        for bad, status in ((None, 0), (b"zz\r\n", 400), (b"", 408)):
            client = self.serve(body_timeout=5.0)
            client.send(CHUNKED + b"2\r\nab\r\n")
            (request,) = self.leaf.requests
            lost: list[bool] = []
            request.on_lost = lambda lost=lost: lost.append(True)
            seen = Noting()
            request.stream_body(seen)
            if bad is None:
                client.hang_up()
            elif bad:
                client.send(bad)
            else:
                self.clock.pump([0.25] * 24)
            self.assertEqual((seen.pieces, seen.ends, lost), ([b"ab"], [], [True]))
            self.assertEqual([a.status for a in client.answers()], [status] if status else [])
            self.assertEqual(self.site.in_flight, 0)

    def test_answered_before_the_end(self) -> None:
        """Who answers before the body was here closes the connection: the rest of it is no request."""
        client = self.serve()
        client.send(POST % 100 + b"x")
        self.leaf.requests[0].answer(403, b"", b"no")
        (answer,) = client.answers()
        self.assertEqual((answer.status, answer.headers[b"connection"]), (403, b"close"))
        self.assertTrue(client.wire.closing)
        client.send(GET)
        self.assertEqual(len(self.leaf.requests), 1)

    def test_receiver_fails(self) -> None:
        """What a receiver raises is answered like what a resource raises."""

        class Failing(Noting):
            def received(self, data: bytes) -> None:
                raise ValueError("a receiver's fault")

        client = self.serve()
        client.send(POST % 2)
        self.leaf.requests[0].stream_body(Failing())
        client.send(b"ab")
        self.assertEqual([a.status for a in client.answers()], [500])
        self.flushLoggedErrors(ValueError)


class AnswersInPieces(Case):
    def test_too_little(self) -> None:
        """An answer that ends before its announced length is cut, so that nobody takes it for whole."""
        client = self.serve(Rendered(lambda request: NOT_DONE_YET))
        client.send(GET)
        (request,) = self.leaf.requests
        request.begin(200, [(b"Content-Length", b"5")])
        request.write(b"abc")
        request.finish()
        self.assertTrue(client.wire.disconnected or client.wire.aborting)

    def test_too_much(self) -> None:
        """More than announced is the writer's fault, and is never sent."""
        client = self.serve(Rendered(lambda request: NOT_DONE_YET))
        client.send(GET)
        (request,) = self.leaf.requests
        request.begin(200, [(b"Content-Length", b"2")])
        self.assertRaises(RuntimeError, request.write, b"abc")

    def test_back_pressure(self) -> None:
        """A client that takes nothing of its answer has nothing taken of its body, and nothing is lost."""
        client = self.serve(Echo())
        client.send(POST % 4000 + b"a" * 1000)
        client.wire.producer.pauseProducing()
        client.send(b"b" * 1000)
        self.assertEqual(client.wire.producerState, "paused")
        self.assertNotIn(b"b", client.wire.value().partition(b"\r\n\r\n")[2])
        client.wire.producer.resumeProducing()
        client.send(b"c" * 2000)
        self.assertEqual([a.body for a in client.answers()], [b"a" * 1000 + b"b" * 1000 + b"c" * 2000])


class OverSockets(TestCase):
    async def test_64_mib_both_ways(self) -> None:
        """64 MiB go through a resource and back, with a length and in chunks, in a few megabytes of memory."""
        site = SidecarSite(Echo(), reactor, HTTPLimits())
        port: Any = reactor.listenTCP(0, site, interface="127.0.0.1")  # type: ignore[arg-type]
        self.addCleanup(port.stopListening)
        for chunked in (False, True):
            tracemalloc.start()
            try:
                counted = await deferToThread(_echoed, port.getHost().port, 64 * MIB, chunked)
                peak = tracemalloc.get_traced_memory()[1]
            finally:
                tracemalloc.stop()
            self.assertGreaterEqual(counted, 64 * MIB)
            self.assertLess(peak, 4 * MIB)


def _echoed(port: int, size: int, chunked: bool) -> int:
    """Send ``size`` bytes while the answer is read. :returns: how many bytes came back."""
    piece = b"x" * 65536
    with socket.create_connection(("127.0.0.1", port), PATIENCE) as client:

        def send() -> None:
            head = CHUNKED if chunked else POST % size
            client.sendall(head.replace(b"h\r\n", b"h\r\nConnection: close\r\n", 1))
            for _ in range(size // len(piece)):
                client.sendall(b"%x\r\n%b\r\n" % (len(piece), piece) if chunked else piece)
            if chunked:
                client.sendall(b"0\r\n\r\n")

        sender = Thread(target=send)
        sender.start()
        counted = 0
        while part := client.recv(65536):
            counted += len(part)
        sender.join()
    return counted
