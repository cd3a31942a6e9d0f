"""The site: counts, drain, the same manners on either channel, and real clients over real sockets."""

from __future__ import annotations

import os
import socket
import threading
from typing import Any

from autobahn.twisted.resource import WebSocketResource
from autobahn.twisted.websocket import (
    WebSocketClientFactory,
    WebSocketClientProtocol,
    WebSocketServerFactory,
    WebSocketServerProtocol,
)
from twisted.internet import reactor as real_reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint, wrapClientTLS
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock, deferLater
from twisted.internet.threads import deferToThread
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.trial.unittest import SynchronousTestCase, TestCase
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET
from twisted.web.static import File

from sidecar.net.http.limits import HTTPLimits
from sidecar.net.reactor import eager
from sidecar.test.doubles.clients.http import Answered, Client, Noted, Rendered, read_answers, site_of
from sidecar.test.doubles.tls import tls_ends
from sidecar.web.site import SidecarSite

reactor: Any = real_reactor

GET = b"GET /a HTTP/1.1\r\nHost: h\r\n\r\n"
POST = b"POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\n"

#: Seconds that a real client waits: the machine may be busy.
PATIENCE = 60


class Drains(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.leaf = Rendered(lambda request: NOT_DONE_YET)
        self.site = site_of(self.leaf, self.clock)

    def drain(self, patience: float) -> list[object]:
        done: list[object] = []
        self.site.drain(patience).addCallback(done.append)
        return done

    def wait(self, seconds: float) -> None:
        self.clock.pump([0.05] * round(seconds * 20))

    def test_nothing_to_do(self) -> None:
        """With no call in flight it is over nearly at once, and idle connections are closed."""
        client = Client(self.site)
        done = self.drain(10)
        self.wait(0.5)
        self.assertEqual(done, [None])
        self.assertTrue(client.wire.closing)

    def test_calls_finish(self) -> None:
        """Each call in flight is answered, told that the connection closes, and then it is over."""
        clients = [Client(self.site) for _ in range(100)]
        for client in clients:
            client.send(GET)
        self.assertEqual(self.site.in_flight, 100)
        done = self.drain(10)
        self.wait(5)
        for request in self.leaf.requests[:-1]:
            request.answer(200, b"", b"fine")
        self.assertEqual(done, [])
        self.leaf.requests[-1].answer(200, b"", b"fine")
        self.assertEqual(done, [None])
        for client in clients:
            (answer,) = client.answers()
            self.assertEqual((answer.body, answer.headers[b"connection"]), (b"fine", b"close"))
            self.assertTrue(client.wire.closing)
        self.assertEqual(self.site.in_flight, 0)

    def test_ordinary_answers_too(self) -> None:
        """So it is for answers that are written in the ordinary way."""
        client = Client(self.site)
        client.send(GET)
        done = self.drain(10)
        self.leaf.requests[0].write(b"fine")
        self.leaf.requests[0].finish()
        self.wait(0.2)
        self.assertEqual((client.answers()[0].headers[b"connection"], done), (b"close", [None]))

    def test_bodies_on_the_way(self) -> None:
        """A request whose body is still coming is waited for."""
        client = Client(self.site)
        client.send(POST + b"x")
        done = self.drain(10)
        self.wait(1)
        self.assertFalse(client.wire.closing)
        client.send(b"yz")
        self.leaf.requests[0].answer(200, b"", b"")
        self.assertEqual(done, [None])
        self.assertEqual(self.site.connections, 1)

    def test_requests_on_the_way(self) -> None:
        """A request that arrives just after is still served."""
        client = Client(self.site)
        done = self.drain(10)
        client.send(GET)
        self.wait(1)
        self.assertEqual(done, [])
        self.leaf.requests[0].answer(200, b"", b"")
        self.assertEqual(done, [None])

    def test_patience(self) -> None:
        """Calls that do not finish are not waited for longer than patience."""
        Client(self.site).send(GET)
        done = self.drain(10)
        self.wait(9.9)
        self.assertEqual(done, [])
        self.wait(0.2)
        self.assertEqual(done, [None])
        self.leaf.requests[0].answer(200, b"", b"late")

    def test_callers_leave(self) -> None:
        """Callers that hang up are not waited for."""
        client = Client(self.site)
        client.send(GET)
        done = self.drain(10)
        client.hang_up()
        self.wait(0.2)
        self.assertEqual(done, [None])


class Basics(SynchronousTestCase):
    def test_starting_leaves_no_clockwork(self) -> None:
        """Listening alone sets no timer and opens no log."""
        clock = Clock()
        site = site_of(Rendered(), clock)
        site.doStart()
        self.assertEqual(clock.getDelayedCalls(), [])
        site.doStop()

    def test_no_http2(self) -> None:
        """TLS clients are offered what is spoken."""
        self.assertEqual(site_of(Rendered(), Clock()).acceptableProtocols(), [b"http/1.1"])

    def test_no_version(self) -> None:
        """Who we are is said, what we are made of is not."""
        client = Client(site_of(Rendered(), Clock()))
        client.send(GET)
        self.assertNotIn(b"twisted", client.wire.value().lower())


class Conversation(Protocol):
    """Sends something and gathers what comes until the other side closes. :ivar whole: fires with that."""

    def __init__(self, load: bytes) -> None:
        self.load = load
        self.came = b""
        self.whole: Deferred[bytes] = Deferred()

    def connectionMade(self) -> None:
        assert self.transport is not None
        self.transport.write(self.load)

    def dataReceived(self, data: bytes) -> None:
        self.came += data

    def connectionLost(self, reason: Any = None) -> None:
        self.whole.callback(self.came)


class Echoing(WebSocketServerProtocol):
    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        self.sendMessage(payload, isBinary)


class Served(TestCase):
    """A site on a real port."""

    timeout = 2 * PATIENCE
    channel: Any = "fast"

    def serve(self, resource: Any, limits: HTTPLimits | None = None, tls: Any = None) -> int:
        self.recorder = Noted()
        self.site = SidecarSite(resource, reactor, limits or HTTPLimits(), self.channel, self.recorder)
        self.site.noisy = False
        factory: Any = TLSMemoryBIOFactory(tls, False, self.site) if tls else self.site
        factory.noisy = False
        port = eager.listen(reactor, 0, factory, "127.0.0.1")
        self.addCleanup(lambda: Deferred.fromCoroutine(self.quiet()))
        self.addCleanup(port.stopListening)
        return port.getHost().port  # type: ignore[attr-defined]  # a TCP port's

    async def talk(self, port: int, load: bytes, *methods: str, trust: Any = None) -> list[Answered]:
        """Send ``load`` and read until the server closes."""
        endpoint: Any = HostnameEndpoint(reactor, b"localhost", port)
        if trust is not None:
            endpoint = wrapClientTLS(trust, endpoint)
        conversation = Conversation(load)
        await endpoint.connect(Factory.forProtocol(lambda: conversation))
        return read_answers(await conversation.whole.addTimeout(PATIENCE, reactor), *methods)

    async def quiet(self) -> None:
        """Wait until the site has seen that its clients have left."""
        while self.site.connections:
            await deferLater(reactor, 0.01)


class OverTheWire(Served):
    """Real clients, whatever the channel."""

    async def test_answers(self) -> None:
        """Requests are answered in order, by answer() or in the ordinary way, and recorded."""

        class Ordinary(Resource):
            isLeaf = True

            def render_GET(self, request: Any) -> bytes:
                request.setResponseCode(202)
                return b"ordinary"

        root = Resource()
        root.putChild(b"a", Rendered())
        root.putChild(b"b", Ordinary())
        port = self.serve(root)
        load = (
            GET
            + b"GET /b HTTP/1.1\r\nHost: h\r\n\r\n"
            + POST
            + b"xyz"
            + GET.replace(b"h\r\n", b"h\r\nConnection: close\r\n", 1)
        )
        answers = await self.talk(port, load)
        self.assertEqual([a.body for a in answers], [b"GET /a ", b"ordinary", b"POST /a xyz", b"GET /a "])
        self.assertEqual([status for status, _ in self.recorder.notes], [200, 202, 200, 200])
        self.assertEqual(self.site.in_flight, 0)

    async def test_large_both_ways(self) -> None:
        """Megabytes come and go whole."""
        load = os.urandom(3 << 20)
        leaf = Rendered(lambda request: request.body)
        head = b"POST /a HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(load)
        (answer,) = await self.talk(self.serve(leaf), head + load)
        self.assertTrue(answer.body == load)

    async def test_file(self) -> None:
        """A file is streamed by twisted.web's own resource, whole or a range of it."""
        load = os.urandom(1 << 20)
        path = self.mktemp()
        with open(path, "wb") as file:  # noqa: ASYNC230  # a test may block
            file.write(load)
        root = Resource()
        root.putChild(b"f", File(path, defaultType="application/x-thing"))
        port = self.serve(root)
        close = b"GET /f HTTP/1.1\r\nHost: h\r\n%bConnection: close\r\n\r\n"
        (answer,) = await self.talk(port, close % b"")
        self.assertTrue((answer.status, answer.body) == (200, load))
        self.assertEqual(answer.headers[b"content-type"], b"application/x-thing")
        (answer,) = await self.talk(port, close % b"Range: bytes=10-19\r\n")
        self.assertEqual((answer.status, answer.body), (206, load[10:20]))
        (answer,) = await self.talk(port, close.replace(b"GET", b"HEAD") % b"", "HEAD")
        self.assertEqual((answer.body, answer.headers[b"content-length"]), (b"", b"1048576"))

    async def test_streamed_to_slow_reader(self) -> None:
        """A producer's megabytes reach a reader that is slower than it, with back-pressure."""
        piece = os.urandom(1 << 16)
        paused = threading.Event()

        class Pieces:
            left = 512
            waiting = False

            def __init__(self, request: Any) -> None:
                self.request = request

            def pauseProducing(self) -> None:
                paused.set()
                self.waiting = True

            def resumeProducing(self) -> None:
                self.waiting = False
                while self.left and not self.waiting:
                    self.left -= 1
                    self.request.write(piece)
                if not self.left:
                    self.request.unregisterProducer()
                    self.request.finish()

            def stopProducing(self) -> None: ...

        def render(request: Any) -> int:
            pieces = Pieces(request)
            request.registerProducer(pieces, True)
            pieces.resumeProducing()
            return NOT_DONE_YET

        port = self.serve(Rendered(render))

        def read() -> bytes:
            with socket.create_connection(("127.0.0.1", port), PATIENCE) as client:
                client.sendall(GET.replace(b"h\r\n", b"h\r\nConnection: close\r\n", 1))
                paused.wait(PATIENCE)
                parts = []
                while part := client.recv(50_000):
                    parts.append(part)
                return b"".join(parts)

        (answer,) = read_answers(await deferToThread(read))
        self.assertTrue(answer.body == piece * 512)
        self.assertTrue(paused.is_set())

    async def test_client_gone(self) -> None:
        """A client that hangs up in the middle of its call is noticed."""
        lost: Deferred[str] = Deferred()

        def render(request: Any) -> int:
            request.on_lost = lambda: lost.callback("lost")
            client.close()
            return NOT_DONE_YET

        port = self.serve(Rendered(render))
        client = socket.create_connection(("127.0.0.1", port), PATIENCE)
        client.sendall(GET)
        self.assertEqual(await lost.addTimeout(PATIENCE, reactor), "lost")
        self.assertEqual(self.site.in_flight, 0)

    async def test_websocket(self) -> None:
        """Autobahn takes a connection over and echoes, large messages too."""
        factory = WebSocketServerFactory()
        factory.protocol = Echoing
        root = Resource()
        root.putChild(b"ws", WebSocketResource(factory))
        port = self.serve(root)
        messages = [b"small", os.urandom(1 << 18)]
        echoed: Deferred[list[bytes]] = Deferred()

        class Asking(WebSocketClientProtocol):
            got: list[bytes] = []

            def onOpen(self) -> None:
                for message in messages:
                    self.sendMessage(message, True)

            def onMessage(self, payload: bytes, isBinary: bool) -> None:
                self.got.append(payload)
                if len(self.got) == len(messages):
                    self.sendClose(1000)

            def onClose(self, wasClean: bool, code: int, reason: str) -> None:
                echoed.callback(self.got)

        clients = WebSocketClientFactory(f"ws://127.0.0.1:{port}/ws")
        clients.protocol = Asking
        clients.noisy = False
        reactor.connectTCP("127.0.0.1", port, clients)
        self.assertEqual(await echoed.addTimeout(PATIENCE, reactor), messages)

    async def test_not_a_websocket(self) -> None:
        """A plain request to Autobahn's resource gets its answer, and leaves nothing behind."""
        root = Resource()
        factory = WebSocketServerFactory()
        factory.protocol = Echoing
        root.putChild(b"a", WebSocketResource(factory))
        (answer,) = await self.talk(self.serve(root), GET)
        self.assertIn(b"Autobahn", answer.body)
        self.assertEqual(self.site.connections, 0)

    async def test_tls(self) -> None:
        """All of it works over TLS, and requests know that they are secure."""
        context, trust = tls_ends()
        port = self.serve(Rendered(lambda request: b"%d" % request.isSecure()), tls=context)
        load = GET + POST + b"xyz" + GET.replace(b"h\r\n", b"h\r\nConnection: close\r\n", 1)
        answers = await self.talk(port, load, trust=trust)
        self.assertEqual([answer.body for answer in answers], [b"1", b"1", b"1"])

    async def test_too_large(self) -> None:
        """A body over the limit gets 413."""
        port = self.serve(Rendered(), HTTPLimits(max_body=1000))
        load = b"POST /a HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: 2000\r\n\r\n" + b"x" * 2000
        (answer,) = await self.talk(port, load)
        self.assertEqual(answer.status, 413)

    async def test_drain(self) -> None:
        """Calls in flight are finished, whatever the channel."""
        waiting: Deferred[Any] = Deferred()

        def render(request: Any) -> int:
            reactor.callLater(0, waiting.callback, request)
            return NOT_DONE_YET

        port = self.serve(Rendered(render))
        talking = Deferred.fromCoroutine(self.talk(port, GET))
        request = await waiting.addTimeout(PATIENCE, reactor)
        drained = self.site.drain(PATIENCE)
        self.assertEqual(self.site.in_flight, 1)
        request.answer(200, b"", b"fine")
        await drained
        (answer,) = await talking
        self.assertEqual((answer.body, answer.headers[b"connection"]), (b"fine", b"close"))


class OverTheWireStock(OverTheWire):
    """The same, so that resources need not know which channel they are on."""

    channel = "stock"


class Politeness(Served):
    """What only our channel does, seen by real clients."""

    async def test_refused_in_the_middle_of_sending(self) -> None:
        """A client that sends far too much gets to read why that is not taken, instead of a reset."""
        port = self.serve(Rendered())
        size = 64 << 20

        def send() -> bytes:
            with socket.create_connection(("127.0.0.1", port), PATIENCE) as client:
                client.sendall(b"POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n" % size)
                for _ in range(64):
                    client.sendall(bytes(1 << 18))
                parts = []
                while part := client.recv(50_000):
                    parts.append(part)
                return b"".join(parts)

        (answer,) = read_answers(await deferToThread(send))
        self.assertEqual(answer.status, 413)

    async def test_refused_over_tls(self) -> None:
        """Over TLS too."""
        context, trust = tls_ends()
        port = self.serve(Rendered(), tls=context)
        (answer,) = await self.talk(port, b"GET / HTTP/1.1\nHost: h\n\n", trust=trust)
        self.assertEqual(answer.status, 400)

    async def test_plain_text_to_tls(self) -> None:
        """Somebody who forgets TLS harms nothing."""
        port = self.serve(Rendered(), tls=tls_ends()[0])
        conversation = Conversation(GET)
        await HostnameEndpoint(reactor, b"localhost", port).connect(Factory.forProtocol(lambda: conversation))
        await conversation.whole.addTimeout(PATIENCE, reactor)
        self.assertEqual(self.site.in_flight, 0)

    async def test_slow_header(self) -> None:
        """A header that does not come gets 408."""
        port = self.serve(Rendered(), HTTPLimits(header_timeout=0.3))
        (answer,) = await self.talk(port, b"GET /a HTTP/1.1\r\nHost:")
        self.assertEqual(answer.status, 408)
