"""The manners of a connection: order, keep-alive, refusals, deadlines, back-pressure, upgrades, and who is told."""

from __future__ import annotations

from typing import Any

import orjson
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from twisted.web import server
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET

from sidecar.net.http.connection import HELD_ENOUGH
from sidecar.net.http.limits import HTTPLimits
from sidecar.net.memory import MemoryBudget
from sidecar.net.reactor.turns import MOST
from sidecar.test.doubles.clients.http import Client, Noted, Rendered, Wire, site_of
from sidecar.web.site import CLOSED_AT_ONCE

GET = b"GET /a HTTP/1.1\r\nHost: h\r\n\r\n"
OLD = b"GET /a HTTP/1.0\r\n\r\n"
CLOSE = b"GET /a HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"
POST = b"POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n%b"
UPGRADE = b"GET /ws HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
LIMITS = HTTPLimits(
    max_header=2048, max_body=100_000, header_timeout=10, body_timeout=30, idle_timeout=75, linger=2, max_connections=3
)


def asleep(request: Any) -> int:
    """Answers later, or never."""
    return NOT_DONE_YET


class Case(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(1_000_000)

    def serve(self, render: Any = None, limits: HTTPLimits = LIMITS, **more: Any) -> Client:
        self.leaf = Rendered(render)
        self.site = site_of(self.leaf, self.clock, limits, **more)
        return Client(self.site)

    def wait(self, seconds: float) -> None:
        self.clock.pump([0.25] * int(seconds * 4))

    def assertRefused(self, client: Client, status: int, index: int = -1) -> None:
        """The last answer is ``status`` as error JSON, and the connection closes."""
        answer = client.answers()[index]
        self.assertEqual(answer.status, status)
        said = orjson.loads(answer.body)
        self.assertEqual(list(said), ["id", "code", "detail", "status"])
        self.assertEqual(said["code"], status)
        self.assertTrue(said["detail"])
        self.assertEqual(answer.headers[b"content-type"], b"application/json")
        self.assertEqual(answer.headers[b"connection"], b"close")
        self.assertTrue(client.wire.closing)


class Answers(Case):
    def test_one_write(self) -> None:
        """A small answer is one write, with length, date and server, and the connection stays."""
        client = self.serve()
        client.send(GET)
        self.assertEqual(len(client.wire.writes), 1)
        (answer,) = client.answers()
        self.assertEqual((answer.status, answer.body), (200, b"GET /a "))
        self.assertEqual(answer.headers[b"content-type"], b"text/plain")
        self.assertEqual(answer.headers[b"server"], b"microsidecar")
        self.assertEqual(answer.headers[b"date"], b"Mon, 12 Jan 1970 13:46:40 GMT")
        self.assertNotIn(b"connection", answer.headers)
        self.assertFalse(client.wire.closing)

    def test_date_moves(self) -> None:
        """The date is kept, and renewed each second."""
        client = self.serve()
        self.wait(5)
        client.send(GET)
        self.assertEqual(client.answers()[0].headers[b"date"], b"Mon, 12 Jan 1970 13:46:45 GMT")

    def test_rendered_bytes_are_one_write_too(self) -> None:
        """So is the answer of an ordinary resource that returns bytes."""

        def render(request: Any) -> bytes:
            request.setHeader(b"X-Y", b"z")
            request.addCookie(b"k", b"v")
            return b"hello"

        client = self.serve(render)
        client.send(GET)
        self.assertEqual(len(client.wire.writes), 1)
        (answer,) = client.answers()
        self.assertEqual((answer.status, answer.body), (200, b"hello"))
        self.assertEqual(answer.headers[b"content-length"], b"5")
        self.assertEqual(answer.headers[b"content-type"], b"text/html")
        self.assertEqual(answer.headers[b"x-y"], b"z")
        self.assertEqual(answer.headers[b"set-cookie"], b"k=v")

    def test_streamed(self) -> None:
        """Without a length an answer goes out in chunks as they are written; to HTTP/1.0 until the connection ends."""

        def render(request: Any) -> int:
            request.write(b"one")
            request.write(b"")
            request.write(b"two")
            request.finish()
            return NOT_DONE_YET

        client = self.serve(render)
        client.send(GET)
        (answer,) = client.answers()
        self.assertEqual(answer.headers[b"transfer-encoding"], b"chunked")
        self.assertEqual(answer.body, b"onetwo")
        self.assertFalse(client.wire.closing)
        client = self.serve(render)
        client.send(OLD)
        (answer,) = client.answers()
        self.assertNotIn(b"transfer-encoding", answer.headers)
        self.assertEqual(answer.headers[b"connection"], b"close")
        self.assertEqual(answer.body, b"onetwo")
        self.assertTrue(client.wire.closing)

    def test_head_first(self) -> None:
        """A resource may send the head of its answer long before the body."""
        client = self.serve(asleep)
        client.send(GET)
        request = self.leaf.requests[0]
        request.setHeader(b"Content-Type", b"text/event-stream")
        request.write(b"")
        self.assertIn(b"text/event-stream", client.wire.value())
        self.assertTrue(client.wire.value().endswith(b"\r\n\r\n"))
        request.write(b"data")
        request.finish()
        self.assertEqual(client.answers()[0].body, b"data")

    def test_head(self) -> None:
        """The answer to HEAD has the headers and the length, and no body, whichever way it was given."""

        class Whole(Resource):
            isLeaf = True

            def render_GET(self, request: Any) -> bytes:
                return b"hello"

        def written(request: Any) -> int:
            request.setHeader(b"Content-Length", b"5")
            request.write(b"hello")
            request.finish()
            return NOT_DONE_YET

        def answered(request: Any) -> int:
            request.answer(200, b"", b"hello")
            return NOT_DONE_YET

        for leaf in (Rendered(lambda request: b"hello"), Whole(), Rendered(written), Rendered(answered)):
            client = Client(site_of(leaf, self.clock))
            client.send(b"HEAD /a HTTP/1.1\r\nHost: h\r\n\r\n" + GET)
            first, second = client.answers("HEAD")
            self.assertEqual((first.headers[b"content-length"], first.body), (b"5", b""))
            self.assertEqual(second.body, b"hello")

    def test_statuses_without_body(self) -> None:
        """204 and 304 have no body and no length, though one is given."""
        for status in (204, 304):
            for whole in (True, False):

                def render(request: Any, status: int = status, whole: bool = whole) -> Any:
                    if whole:
                        request.answer(status, b"", b"stray")
                        return NOT_DONE_YET
                    request.setResponseCode(status)
                    return b""

                client = self.serve(render)
                client.send(GET + GET)
                first, second = client.answers()
                self.assertEqual((first.status, second.status), (status, status))
                self.assertNotIn(b"transfer-encoding", first.headers)
                self.assertNotIn(b"stray", client.wire.value())

    def test_headers_set_before(self) -> None:
        """answer() also sends what a resource on the way has set on the request."""

        def render(request: Any) -> int:
            request.setHeader(b"Vary", b"Origin")
            request.setHeader(b"Content-Length", b"99")
            request.addCookie(b"k", b"v")
            request.answer(200, [(b"X", b"y")], b"hello")
            return NOT_DONE_YET

        client = self.serve(render)
        client.send(GET)
        (answer,) = client.answers()
        self.assertEqual([answer.headers[name] for name in (b"vary", b"x", b"set-cookie")], [b"Origin", b"y", b"k=v"])
        self.assertEqual(answer.body, b"hello")

    def test_header_injection(self) -> None:
        """A line break in a header value does not become a header."""

        def render(request: Any) -> bytes:
            request.setHeader(b"X", b"a\r\nEvil: b")
            request.setResponseCode(200, b"Fine\r\nEvil: c")
            return b""

        def whole(request: Any) -> int:
            request.answer(200, [(b"X", b"a\r\nEvil: b"), (b"Y", b"c\nEvil: d")], b"")
            return NOT_DONE_YET

        for one in (render, whole):
            client = self.serve(one)
            client.send(GET)
            self.assertNotIn(b"\nEvil", client.wire.value())
            self.assertEqual(client.answers()[0].headers[b"x"].split(b"a")[0], b"")

    def test_unknown_status(self) -> None:
        """A status without a name goes out as it is."""
        client = self.serve(lambda request: request.answer(299, b"", b"odd") or NOT_DONE_YET)
        client.send(GET)
        self.assertEqual(client.answers()[0].status, 299)

    def test_failing_resource(self) -> None:
        """A resource that raises, or renders no bytes, is our fault: 500 with an incident, in the log too."""

        def raising(request: Any) -> bytes:
            raise ZeroDivisionError("secret")

        def confused(request: Any) -> Any:
            return "text"

        for render, kind in ((raising, ZeroDivisionError), (confused, TypeError)):
            client = self.serve(render)
            client.send(GET + GET)
            first, second = client.answers()
            self.assertEqual((first.status, second.status), (500, 500))
            self.assertNotIn(b"secret", client.wire.value())
            self.assertIn("incident", orjson.loads(first.body)["detail"])
            self.assertEqual(len(self.flushLoggedErrors(kind)), 2)

    def test_failing_in_the_middle(self) -> None:
        """A resource that raises after it began to write has its connection cut: nobody takes a part for the whole."""

        def render(request: Any) -> bytes:
            request.write(b"half")
            raise ZeroDivisionError

        client = self.serve(render)
        client.send(GET)
        self.assertTrue(client.wire.disconnected)
        self.assertFalse(client.wire.value().endswith(b"0\r\n\r\n"))
        self.flushLoggedErrors(ZeroDivisionError)

    def test_method_without_renderer(self) -> None:
        """Resources keep their say about methods, of whatever name."""

        class Whole(Resource):
            isLeaf = True

            def render_GET(self, request: Any) -> bytes:
                return b"hello"

        client = Client(site_of(Whole(), self.clock))
        client.send(b"POST /a HTTP/1.1\r\nHost: h\r\n\r\n" + b"BREW /a HTTP/1.1\r\nHost: h\r\n\r\n")
        self.assertEqual([answer.status for answer in client.answers()], [405, 501])

    def test_ordinary_requests(self) -> None:
        """What twisted.web offers on a request is there."""
        client = self.serve(lambda request: b"")
        client.send(
            b"POST /a%20b/c?x=1&y=2&x=3 HTTP/1.1\r\nHost: example.com:81\r\nCookie: k=v; l=w\r\n"
            b"Authorization: Basic dTpw\r\nContent-Type: application/x-www-form-urlencoded\r\nX-One: 1\r\nX-One: 2\r\n"
            b"Content-Length: 7\r\n\r\nz=%C3%A"
        )
        (request,) = self.leaf.requests
        self.assertIsInstance(request, server.Request)
        self.assertEqual((request.method, request.clientproto), (b"POST", b"HTTP/1.1"))
        self.assertEqual((request.path, request.uri), (b"/a%20b/c", b"/a%20b/c?x=1&y=2&x=3"))
        self.assertEqual((request.prepath, request.postpath), ([], [b"a b", b"c"]))
        self.assertEqual(request.args[b"x"], [b"1", b"3"])
        self.assertIn(b"z", request.args)
        self.assertEqual(request.content.read(), b"z=%C3%A")
        self.assertEqual((request.getHeader(b"X-one"), request.getHeader("x-one")), (b"2", "2"))
        self.assertEqual(request.requestHeaders.getRawHeaders(b"x-one"), [b"1", b"2"])
        self.assertEqual(request.getHeader(b"x-One"), b"2")
        self.assertEqual(request.getAllHeaders()[b"host"], b"example.com:81")
        self.assertIsNone(request.getHeader(b"absent"))
        self.assertEqual((request.getCookie(b"k"), request.getCookie(b"l")), (b"v", b"w"))
        self.assertEqual((request.getUser(), request.getPassword()), (b"u", b"p"))
        self.assertEqual(request.getRequestHostname(), b"example.com")
        self.assertFalse(request.isSecure())
        self.assertIn(b"POST", repr(request).encode())

    def test_addresses(self) -> None:
        """The addresses of both ends are there while the request is being answered, and after."""
        seen: list[Any] = []

        def render(request: Any) -> bytes:
            seen.append((request.getClientAddress(), request.getHost()))
            return b""

        client = self.serve(render)
        client.send(GET)
        self.assertEqual(seen, [(client.wire.getPeer(), client.wire.getHost())])
        self.assertEqual(self.leaf.requests[0].getClientAddress(), client.wire.getPeer())


class Order(Case):
    def test_pipelined(self) -> None:
        """Requests in one piece are answered one after the other, each as its own."""
        client = self.serve()
        client.send(GET + POST % (3, b"xyz") + GET)
        self.assertEqual([a.body for a in client.answers()], [b"GET /a ", b"POST /a xyz", b"GET /a "])

    def test_one_at_a_time(self) -> None:
        """The next request is not begun before the last one's answer is complete."""
        client = self.serve(asleep)
        client.send(GET + GET, GET)
        for count in (1, 2, 3):
            self.assertEqual(len(self.leaf.requests), count)
            self.leaf.requests[-1].answer(200, b"", b"%d" % count)
        self.assertEqual([answer.body for answer in client.answers()], [b"1", b"2", b"3"])
        self.assertEqual(len(self.leaf.requests), 3)

    def test_what_waits_is_bounded(self) -> None:
        """Of requests that cannot be looked at yet a little is taken; then reading stops, and goes on in time."""
        client = self.serve(asleep)
        client.send(GET)
        sent = 0
        while client.wire.producerState == "producing":
            client.send(GET * 20)
            sent += 20
            self.assertLess(sent * len(GET), HELD_ENOUGH + 20 * len(GET) + 1)
        while len(self.leaf.requests) < sent + 1:
            self.leaf.requests[-1].answer(200, b"", b"")
        self.leaf.requests[-1].answer(200, b"", b"")
        self.assertEqual(client.wire.producerState, "producing")
        self.assertEqual(len(client.answers()), sent + 1)

    def test_many_at_once(self) -> None:
        """A thousand pipelined requests need no thousand stack frames."""
        client = self.serve()
        client.send(GET * 1000)
        self.assertEqual(len(client.answers()), 1000)
        held = self.serve(asleep)
        held.send(GET * 1000)
        first = self.leaf.requests[0]
        self.leaf._render = lambda request: b""
        first.answer(200, b"", b"")
        self.clock.advance(0)
        self.assertEqual(len(held.answers()), 1000)

    def test_takes_turns(self) -> None:
        """Who sends a thousand requests in one packet has one of them answered, and then waits for everybody else."""
        many, other = self.serve(), Client(self.site)
        many.wire.protocol.dataReceived(GET * 1700)
        self.assertEqual(len(many.answers()), 1)
        other.wire.protocol.dataReceived(GET * 3)
        self.assertEqual((len(many.answers()), len(other.answers())), (1, 1))
        turns = 0
        while self.clock.getDelayedCalls()[0].getTime() <= self.clock.seconds():
            before = len(many.answers())
            turn: Any = self.clock.getDelayedCalls()[0]
            func = turn.func
            turn.cancel()
            func()
            self.assertLessEqual(len(many.answers()) - before, MOST)
            turns += 1
        self.assertEqual((len(many.answers()), len(other.answers())), (1700, 3))
        self.assertGreaterEqual(turns, 1700 // MOST)

    def test_close(self) -> None:
        """After the answer to a request that asks for it the connection closes, and nothing more is served."""
        for closing in (CLOSE, OLD):
            client = self.serve()
            client.send(closing + GET, GET)
            (answer,) = client.answers()
            self.assertEqual(answer.headers[b"connection"], b"close")
            self.assertTrue(client.wire.closing)

    def test_old_clients_may_stay(self) -> None:
        """HTTP/1.0 with keep-alive is told that it may."""
        client = self.serve()
        client.send(b"GET /a HTTP/1.0\r\nConnection: keep-alive\r\n\r\n" * 2)
        for answer in client.answers():
            self.assertEqual(answer.headers[b"connection"], b"keep-alive")
        self.assertFalse(client.wire.closing)

    def test_resource_closes(self) -> None:
        """A resource may close the connection with its answer."""

        def render(request: Any) -> bytes:
            request.setHeader(b"Connection", b"close")
            return b"bye"

        client = self.serve(render)
        client.send(GET + GET)
        self.assertEqual([answer.headers[b"connection"] for answer in client.answers()], [b"close"])
        self.assertTrue(client.wire.closing)

    def test_byte_by_byte(self) -> None:
        """However small the pieces, the requests are the same."""
        client = self.serve()
        stream = GET + POST % (3, b"xyz") + GET
        client.send(*[stream[at : at + 1] for at in range(len(stream))])
        self.assertEqual([a.body for a in client.answers()], [b"GET /a ", b"POST /a xyz", b"GET /a "])

    def test_answer_twice(self) -> None:
        """A second answer goes nowhere, and least of all to the next request."""
        client = self.serve(asleep)
        client.send(GET + GET)
        first, _ = self.leaf.requests[0], self.leaf.requests[0].answer(200, b"", b"1")
        first.answer(200, b"", b"again")
        with self.assertRaises(RuntimeError):
            first.write(b"again")
        first.finish()
        self.assertEqual([answer.body for answer in client.answers()], [b"1"])


class Refusals(Case):
    def test_bad_request(self) -> None:
        """What is no request gets 400 as error JSON and the end of the connection; what follows it is ignored."""
        client = self.serve()
        client.send(GET + b"GET / HTTP/1.1\nHost: h\n\n" + GET, GET)
        self.assertEqual([answer.status for answer in client.answers()], [200, 400])
        self.assertRefused(client, 400)
        self.assertEqual(len(self.leaf.requests), 1)
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_refusal_waits_for_its_turn(self) -> None:
        """A bad request behind one that is being answered is refused after that answer."""
        client = self.serve(asleep)
        client.send(GET + b"nonsense\r\n\r\n")
        self.assertEqual(client.wire.value(), b"")
        self.leaf.requests[0].answer(200, b"", b"fine")
        self.assertEqual([answer.status for answer in client.answers()], [200, 400])

    def test_too_large_is_said_early(self) -> None:
        """A body that is announced too large is refused before a byte of it came, without a call for it."""
        client = self.serve()
        client.send(b"POST /a HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 100001\r\n\r\n")
        self.assertRefused(client, 413)
        self.assertEqual(len(client.answers()), 1)

    def test_client_may_finish_sending(self) -> None:
        """After a refusal our side is closed, and what the client still sends is thrown away, for a while."""
        client = self.serve()
        client.send(b"POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 5000000\r\n\r\n")
        self.assertTrue(client.wire.half_closed)
        self.assertFalse(client.wire.disconnecting)
        client.send(b"x" * 60_000, b"x" * 60_000)
        self.assertEqual(client.wire.producerState, "producing")
        self.wait(3)
        self.assertTrue(client.wire.disconnected)
        self.assertEqual(self.site.in_flight, 0)

    def test_chunks_too_large(self) -> None:
        """A body that turns out too large is refused when it does."""
        client = self.serve()
        client.send(b"POST /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in range(10):
            client.send(b"2710\r\n" + b"x" * 10_000 + b"\r\n")
        self.assertEqual(client.wire.value(), b"")
        client.send(b"1\r\nx\r\n")
        self.assertRefused(client, 413)
        self.assertEqual((self.site.in_flight, self.site.budget.total), (0, 0))

    def test_all_bodies_together(self) -> None:
        """The bodies that are being received on all connections together are bounded."""
        budget = MemoryBudget(150_000, self.clock.seconds)
        first = self.serve(limits=HTTPLimits(max_body=100_000), budget=budget)
        second = Client(self.site)
        for client in (first, second):
            client.send(b"POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 100000\r\n\r\n" + b"x" * 70_000)
        self.assertEqual(self.site.budget.total, 140_000)
        second.send(b"x" * 20_000)
        self.assertRefused(second, 503)
        self.assertEqual(self.site.budget.total, 70_000)
        self.assertIn(b"--max_memory", second.wire.value())
        first.send(b"x" * 30_000)
        self.assertEqual(first.answers()[0].status, 200)
        self.assertEqual(self.site.budget.total, 0)

    def test_client_leaves_within_a_body(self) -> None:
        """A body that will never be whole is forgotten."""
        client = self.serve()
        client.send(POST % (3000, b"x" * 2000))
        self.assertEqual((self.site.in_flight, self.site.budget.total), (1, 2000))
        client.hang_up()
        self.assertEqual((self.site.in_flight, self.site.budget.total), (0, 0))
        self.assertEqual(self.leaf.requests, [])

    def test_too_many_connections(self) -> None:
        """One connection too many is told so; when one has left there is room again."""
        clients = [self.serve(asleep), *(Client(self.site) for _ in range(2))]
        for client in clients:
            client.send(GET)
        health, refused, silent = Client(self.site), Client(self.site), Client(self.site)
        health.send(b"GET /health HTTP/1.1\r\nHost: h\r\n\r\n")
        self.leaf.requests.pop().answer(200, b"", b"")
        self.assertEqual(health.answers()[0].headers[b"connection"], b"close")
        refused.send(GET)
        self.assertRefused(refused, 503)
        self.assertEqual(refused.answers()[0].headers[b"retry-after"], b"1")
        self.assertIn(b"--max_connections", refused.answers()[0].body)
        self.wait(0.5)
        self.assertRefused(silent, 503)
        for client in (health, refused, silent):
            client.hang_up()
        self.leaf.requests[0].answer(200, b"", b"")
        self.assertEqual(clients[0].answers()[0].status, 200)
        self.wait(3)
        for _ in range(2):
            clients.pop().hang_up()
        one_more = Client(self.site)
        one_more.send(GET)
        self.leaf.requests[-1].answer(200, b"", b"")
        self.assertEqual(one_more.answers()[0].status, 200)

    def test_idle_connections_close_idlest(self) -> None:
        """Connections that ask nothing are closed for new ones, first those of the peer that has most of them, and of
        these the one that idles for longest; what is being answered stays."""
        busy = self.serve(asleep, HTTPLimits(max_connections=2 + CLOSED_AT_ONCE, header_timeout=60))
        busy.send(GET)
        other = Client(self.site, "10.0.0.2")
        idle = []
        for _ in range(CLOSED_AT_ONCE):
            self.wait(0.25)
            idle.append(Client(self.site))
        late = [Client(self.site), Client(self.site)]
        late[1].send(GET)
        self.assertEqual(len(self.leaf.requests), 2)
        self.assertTrue(all(client.wire.disconnecting for client in idle))
        self.assertFalse(any(client.wire.closing for client in (busy, other, *late)))


class Continue(Case):
    HEAD = b"POST /a HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n"

    def test_told_to_go_on(self) -> None:
        """A client that waits for 100 gets it at once and once, and then its answer."""
        client = self.serve()
        client.send(self.HEAD)
        self.assertEqual(client.wire.value(), b"HTTP/1.1 100 Continue\r\n\r\n")
        client.send(b"x", b"yz")
        self.assertEqual([answer.status for answer in client.answers()], [100, 200])

    def test_not_when_it_did_not_wait(self) -> None:
        """A client that sent its body along is not told to."""
        client = self.serve()
        client.send(self.HEAD + b"xyz", self.HEAD + b"x", b"yz")
        self.assertEqual([answer.status for answer in client.answers()], [200, 200])

    def test_in_turn(self) -> None:
        """A pipelined one hears it after the answers before its own."""
        client = self.serve(asleep)
        client.send(GET + self.HEAD)
        self.assertEqual(client.wire.value(), b"")
        self.leaf.requests[0].answer(200, b"", b"")
        self.assertEqual([answer.status for answer in client.answers()], [200, 100])


class TimerWheel(Case):
    def test_header(self) -> None:
        """A header that does not come in time gets 408, though bytes keep trickling in."""
        client = self.serve()
        client.send(GET)
        self.wait(60)
        client.send(b"GET /a HTTP/1.1\r\nX: ")
        for _ in range(9):
            self.wait(1)
            client.send(b"y")
        self.assertFalse(client.wire.closing)
        self.wait(1.5)
        self.assertRefused(client, 408)

    def test_body(self) -> None:
        """A body that stalls gets 408; one that keeps coming at a fair rate does not."""
        client = self.serve()
        client.send(POST % (100_000, b""))
        for _ in range(33):
            self.wait(1)
            client.send(b"x" * 3_000)
        self.assertFalse(client.wire.closing)
        client.send(b"x" * 1_000)
        self.assertEqual(client.answers()[0].status, 200)
        client.send(POST % (100_000, b""))
        for _ in range(29):
            self.wait(1)
            client.send(b"x")
        self.assertFalse(client.wire.closing)
        self.wait(1.5)
        self.assertRefused(client, 408)
        self.assertEqual(self.site.in_flight, 0)

    def test_idle(self) -> None:
        """A connection that asks nothing more is closed without a word."""
        client = self.serve()
        client.send(GET)
        before = client.wire.value()
        self.wait(74)
        self.assertFalse(client.wire.closing)
        self.wait(1.5)
        self.assertTrue(client.wire.disconnecting)
        self.assertEqual(client.wire.value(), before)

    def test_never_asked(self) -> None:
        """One that never asked anything is closed after the time for a header."""
        client = self.serve()
        self.wait(10.5)
        self.assertTrue(client.wire.disconnecting)
        self.assertEqual(client.wire.value(), b"")

    def test_not_while_answering(self) -> None:
        """However long an answer takes, the client is not cut off, and has its idle time afterwards."""
        client = self.serve(asleep)
        client.send(GET)
        self.wait(500)
        self.leaf.requests[0].answer(200, b"", b"at last")
        self.assertEqual(client.answers()[0].body, b"at last")
        self.wait(74)
        self.assertFalse(client.wire.closing)

    def test_client_that_does_not_read(self) -> None:
        """Somebody who does not take the answer is cut off in the end, and what was to come is stopped."""
        client = self.serve()
        client.send(GET)
        client.channel.pauseProducing()
        self.wait(74)
        self.assertFalse(client.wire.disconnected)
        self.wait(1.5)
        self.assertTrue(client.wire.disconnected)

    def test_close_that_hangs(self) -> None:
        """A close that the client does not answer ends in an abort."""
        client = self.serve()
        client.send(CLOSE)
        self.assertTrue(client.wire.disconnecting)
        self.wait(2.5)
        self.assertTrue(client.wire.disconnected)

    def test_one_timer(self) -> None:
        """All connections share one timer, and none is left when they are gone."""
        clients = [self.serve(), Client(self.site)]
        for client in clients:
            client.send(GET * 3)
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)
        for client in clients:
            client.hang_up()
        self.assertEqual(self.clock.getDelayedCalls(), [])


class Gone(Case):
    def test_on_lost(self) -> None:
        """A client that leaves before its answer is noticed, once; the answer then goes nowhere."""
        for way in ("hook", "deferred"):
            client = self.serve(asleep)
            client.send(GET)
            (request,) = self.leaf.requests
            lost: list[object] = []
            if way == "hook":
                request.on_lost = lambda lost=lost: lost.append(1)
            else:
                request.notifyFinish().addErrback(lost.append)
            client.hang_up()
            self.assertEqual(len(lost), 1)
            self.assertEqual(self.site.in_flight, 0)
            self.assertIsNone(request.channel)
            request.write(b"x")
            request.answer(200, b"", b"x")
            with self.assertRaises(RuntimeError):
                request.finish()
            self.assertEqual(client.wire.value(), b"")

    def test_answering_on_lost(self) -> None:
        """Whoever answers when told that the client left does no harm."""
        client = self.serve(asleep)
        client.send(GET)
        (request,) = self.leaf.requests
        request.on_lost = lambda: request.answer(200, b"", b"x")
        client.hang_up()
        self.assertEqual(client.wire.value(), b"")

    def test_not_when_answered(self) -> None:
        """A client that leaves after its answer is nobody's concern."""
        client = self.serve(asleep)
        client.send(GET)
        (request,) = self.leaf.requests
        told: list[object] = []
        request.on_lost = lambda: told.append("lost")
        request.notifyFinish().addBoth(told.append)
        request.answer(200, b"", b"")
        client.hang_up()
        self.assertEqual(told, [None])

    def test_pipelined_requests_die_with_the_connection(self) -> None:
        """Requests that were not looked at yet are not served to nobody."""
        client = self.serve(asleep)
        client.send(GET + GET)
        client.hang_up()
        self.assertEqual(len(self.leaf.requests), 1)

    def test_resource_gives_up(self) -> None:
        """A resource may drop its client."""
        client = self.serve(asleep)
        client.send(GET)
        (request,) = self.leaf.requests
        lost: list[object] = []
        request.on_lost = lambda: lost.append(1)
        request.loseConnection()
        self.assertTrue(client.wire.disconnecting)
        client.hang_up()
        self.assertEqual(lost, [1])


class Producing:
    """A producer that notes what it is told."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def pauseProducing(self) -> None:
        self.told.append("pause")

    def resumeProducing(self) -> None:
        self.told.append("resume")

    def stopProducing(self) -> None:
        self.told.append("stop")


class BackPressure(Case):
    def test_client_that_does_not_read(self) -> None:
        """While the client takes no answers, none of its requests is looked at, and little is read."""
        client = self.serve()
        client.send(GET)
        client.wire.producer.pauseProducing()
        self.assertEqual(client.wire.producerState, "paused")
        client.send(GET + GET)
        self.assertEqual(len(self.leaf.requests), 1)
        client.wire.producer.resumeProducing()
        self.clock.advance(0)
        self.assertEqual(len(self.leaf.requests), 3)
        self.assertEqual(client.wire.producerState, "producing")

    def test_choked_in_the_middle(self) -> None:
        """Pipelining stops where the send buffer is full, and goes on from there."""

        def render(request: Any) -> bytes:
            request.transport.producer.pauseProducing()
            return b"x"

        client = self.serve(render)
        client.send(GET + GET + GET)
        for count in (1, 2, 3):
            self.assertEqual(len(self.leaf.requests), count)
            client.wire.producer.resumeProducing()
            self.clock.advance(0)
        self.assertEqual(len(client.answers()), 3)

    def test_push_producer(self) -> None:
        """A resource's push producer is paused and resumed with the client, from the moment that it is registered."""
        client = self.serve(asleep)
        client.send(GET)
        (request,) = self.leaf.requests
        producer = Producing()
        client.wire.producer.pauseProducing()
        request.registerProducer(producer, True)
        client.wire.producer.resumeProducing()
        client.wire.producer.pauseProducing()
        client.wire.producer.resumeProducing()
        self.assertEqual(producer.told, ["pause", "resume"] * 2)
        request.unregisterProducer()
        request.finish()
        client.wire.producer.pauseProducing()
        self.assertEqual(len(producer.told), 4)
        with self.assertRaises(RuntimeError):
            client.channel.registerProducer(producer, True)
            client.channel.registerProducer(Producing(), True)

    def test_pull_producer(self) -> None:
        """A resource's pull producer hears from the transport itself; afterwards we do again."""
        client = self.serve(asleep)
        client.send(GET)
        (request,) = self.leaf.requests
        producer = Producing()
        request.registerProducer(producer, False)
        self.assertIs(client.wire.producer, producer)
        self.assertIs(client.wire.streaming, False)
        request.unregisterProducer()
        request.finish()
        self.assertIs(client.wire.producer, client.channel)

    def test_forgotten_producer(self) -> None:
        """A producer that was not unregistered does not stay on the connection."""
        client = self.serve(asleep)
        client.send(GET + GET)
        self.leaf.requests[0].registerProducer(Producing(), True)
        self.leaf.requests[0].finish()
        self.leaf.requests[1].registerProducer(Producing(), True)

    def test_connection_lost(self) -> None:
        """When the connection goes, the resource's producer is stopped."""
        client = self.serve(asleep)
        client.send(GET)
        producer = Producing()
        self.leaf.requests[0].registerProducer(producer, True)
        client.wire.producer.stopProducing()  # as transports do
        client.hang_up()
        self.assertEqual(producer.told, ["stop"])


class Taking:
    """A resource that takes the connection over, as Autobahn's does. :ivar got: the bytes that it was given."""

    def __init__(self) -> None:
        self.got: list[bytes] = []

    def take(self, request: Any) -> int:
        transport, request.channel.transport = request.channel.transport, None
        transport.protocol = self
        self.dataReceived(request.content.read())
        transport.write(b"switched")
        return NOT_DONE_YET

    def dataReceived(self, data: bytes) -> None:
        self.got.append(data)


class Upgrades(Case):
    def test_taken(self) -> None:
        """A resource may take the connection over; it gets what came after the request, and a bare transport."""
        recorder = Noted()
        taking = Taking()
        client = self.serve(taking.take, recorder=recorder)
        client.send(UPGRADE + b"first", b"second")
        self.assertEqual(taking.got, [b"first", b"second"])
        self.assertIsNone(client.wire.producer)
        self.assertEqual((self.site.in_flight, self.site.connections), (0, 0))
        self.assertEqual([status for status, _ in recorder.notes], [101])
        self.wait(200)
        self.assertFalse(client.wire.closing)

    def test_taken_later(self) -> None:
        """Also when it takes its time, and bytes came meanwhile."""
        recorder = Noted()
        taking = Taking()
        client = self.serve(asleep, recorder=recorder)
        client.send(UPGRADE + b"first", b"second")
        self.wait(100)
        self.assertEqual(self.site.in_flight, 1)
        taking.take(self.leaf.requests[0])
        client.send(b"third")
        self.assertEqual(taking.got, [b"firstsecond", b"third"])
        self.wait(1)
        self.assertEqual((self.site.in_flight, self.site.connections, len(recorder.notes)), (0, 0, 1))

    def test_not_taken(self) -> None:
        """A resource that answers instead leaves HTTP as it was, and what followed is the next request."""
        client = self.serve()
        client.send(UPGRADE + GET, GET)
        self.assertEqual([answer.body for answer in client.answers()], [b"GET /ws ", b"GET /a ", b"GET /a "])
        self.assertIs(client.wire.producer, client.channel)

    def test_refused_later(self) -> None:
        """The same when the answer comes later."""
        client = self.serve(asleep)
        client.send(UPGRADE + GET)
        self.leaf.requests[0].answer(403, b"", b"")
        self.assertEqual(len(self.leaf.requests), 2)
        self.leaf.requests[1].answer(200, b"", b"")
        self.assertEqual([answer.status for answer in client.answers()], [403, 200])

    def test_given_up(self) -> None:
        """A client that leaves while the resource thinks it over is noticed."""
        client = self.serve(asleep)
        client.send(UPGRADE)
        client.hang_up()
        self.assertEqual(self.site.in_flight, 0)


class Notes(Case):
    def test_recorder(self) -> None:
        """Each answer is recorded once, with its true status and its time, refusals and failures too."""
        recorder = Noted()
        client = self.serve(asleep, recorder=recorder)
        client.send(GET)
        self.clock.advance(0.5)
        self.leaf.requests[0].answer(404, b"", b"")
        client.send(GET)
        self.leaf.requests[1].setResponseCode(202)
        self.leaf.requests[1].write(b"x")
        self.clock.advance(1)
        self.leaf.requests[1].finish()
        client.send(GET)
        client.send(b"nonsense\r\n\r\n")
        self.leaf.requests[2].processingFailed(_failure())
        self.assertEqual(recorder.notes, [(404, 0.5), (202, 1.0), (500, 0.0), (400, 0.0)])
        self.flushLoggedErrors(ZeroDivisionError)

    def test_gone(self) -> None:
        """Whoever left was not answered."""
        recorder = Noted()
        client = self.serve(asleep, recorder=recorder)
        client.send(GET)
        client.hang_up()
        self.assertEqual(recorder.notes, [])

    def test_wire_is_like_a_connection(self) -> None:
        """The double refuses what transports refuse."""
        with self.assertRaises(TypeError):
            Wire().write("text")  # type: ignore[arg-type]


def _failure() -> Any:
    from twisted.python.failure import Failure

    try:
        raise ZeroDivisionError
    except ZeroDivisionError:
        return Failure()
