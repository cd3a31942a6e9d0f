"""``/broker`` over real sockets: a peer that does not read, TLS, and both HTTP channels."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Literal

from twisted.internet import ssl, task
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import (
    SSL4ClientEndpoint,
    SSL4ServerEndpoint,
    TCP4ClientEndpoint,
    TCP4ServerEndpoint,
    connectProtocol,
)
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase

from sidecar.broker.memory import MemoryBroker
from sidecar.model import ANONYMOUS, Message
from sidecar.net.http.limits import HTTPLimits
from sidecar.net.reactor.eager import make_eager
from sidecar.pubsub.outbox import OutboxLimits
from sidecar.test.doubles.certificates import authority
from sidecar.test.doubles.clients.websocket import CLOSE, Reader, client_frame, handshake
from sidecar.web.broker import BrokerResource
from sidecar.web.cors import CorsPolicy
from sidecar.web.site import SidecarSite
from sidecar.web.tree import RootResource
from sidecar.websocket.sessions.pubsub import PubSubSessions
from sidecar.websocket.sockets import WebSockets


class Client(Protocol):
    """:ivar lost: the connection has ended."""

    transport: Any
    lost = False

    def __init__(self) -> None:
        self.reader = Reader()

    def dataReceived(self, data: bytes) -> None:
        self.reader.feed(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.lost = True

    def has(self, count: int) -> bool:
        return len(self.reader.messages) >= count

    def say(self, payload: bytes | str, opcode: int = 1) -> None:
        self.transport.write(client_frame(payload, opcode))


class OverSockets(TestCase):
    timeout = 120

    async def serve(
        self, channel: Literal["fast", "stock"] = "fast", bounds: OutboxLimits | None = None, tls: bool = False
    ) -> None:
        from twisted.internet import reactor

        self.reactor: Any = reactor
        self.broker = MemoryBroker(self.reactor)
        self.broker.startService()
        self.sockets = WebSockets(self.reactor)
        self.sockets.startService()
        self.pubsub = PubSubSessions(self.broker, self.reactor, self.sockets, bounds)
        cors = CorsPolicy()
        resource = BrokerResource(self.broker, self.pubsub, cors, 1 << 22)
        site = SidecarSite(RootResource({"/broker": resource}, cors), self.reactor, HTTPLimits(), channel)
        self.tls = tls
        endpoint: Any
        if tls:
            chain, key = authority(Path(self.mktemp_directory())).issue("server")
            endpoint = SSL4ServerEndpoint(
                self.reactor, 0, ssl.DefaultOpenSSLContextFactory(key, chain), interface="127.0.0.1"
            )
        else:
            endpoint = TCP4ServerEndpoint(self.reactor, 0, interface="127.0.0.1")
        port = await endpoint.listen(site)
        if not tls:
            make_eager(port)
        self.port: int = port.getHost().port
        self.addCleanup(port.stopListening)
        self.addCleanup(self.sockets.stopService)

    def mktemp_directory(self) -> str:
        path = Path(self.mktemp())
        path.mkdir(parents=True)
        return str(path)

    async def until(self, reached: Callable[[], object], what: str) -> None:
        deadline = self.reactor.seconds() + 60
        while not reached():
            if self.reactor.seconds() > deadline:
                self.fail(f"not within a minute: {what}")
            await task.deferLater(self.reactor, 0.01)

    async def join(self, target: str = "/broker?topic=t&format=raw") -> Client:
        endpoint: Any
        if self.tls:
            # The test's own certificate, on loopback: whose it is does not matter here.
            endpoint = SSL4ClientEndpoint(self.reactor, "127.0.0.1", self.port, ssl.CertificateOptions())
        else:
            endpoint = TCP4ClientEndpoint(self.reactor, "127.0.0.1", self.port)
        client: Client = await connectProtocol(endpoint, Client())
        self.addCleanup(self.part, client)
        client.transport.write(handshake(target))
        await self.until(lambda: client.reader.status is not None, "the handshake is answered")
        self.assertEqual(client.reader.status, 101)
        return client

    def part(self, client: Client) -> Deferred[None]:
        if not client.lost:
            client.transport.abortConnection()
        return Deferred.fromCoroutine(self.until(lambda: client.lost, "the client is gone"))

    async def talk(self) -> None:
        """Two clients hear each other, small messages and large ones, and part in good order."""
        first, second = await self.join(), await self.join()
        sent = [b"small", b"x" * 300_000, b"", b"y" * 3_000_000]
        for body in sent:
            first.say(body, 2)
        await self.until(lambda: len(second.reader.messages) == 4 and len(first.reader.messages) == 4, "both hear all")
        self.assertEqual(second.reader.messages, sent)
        first.say(b"\x03\xe8", CLOSE)
        await self.until(lambda: first.lost, "the first one is gone")
        self.assertEqual(first.reader.closed, 1000)
        stopping = self.sockets.stopService()
        await self.until(lambda: second.reader.closed, "the second one is told")
        self.assertEqual(second.reader.closed, 1001)
        second.say(b"\x03\xe9", CLOSE)
        await stopping
        self.assertEqual(self.sockets.connections, 0)

    def run_over(self, channel: Literal["fast", "stock"], tls: bool) -> Deferred[None]:
        async def test() -> None:
            await self.serve(channel, tls=tls)
            await self.talk()

        return Deferred.fromCoroutine(test())

    def test_fast(self) -> Deferred[None]:
        """On our channel."""
        return self.run_over("fast", False)

    def test_stock(self) -> Deferred[None]:
        """On twisted.web's."""
        return self.run_over("stock", False)

    def test_fast_tls(self) -> Deferred[None]:
        """On ours, with TLS."""
        return self.run_over("fast", True)

    def test_stock_tls(self) -> Deferred[None]:
        """On twisted.web's, with TLS."""
        return self.run_over("stock", True)

    def test_one_that_does_not_read(self) -> Deferred[None]:
        """It keeps no more than its bounds, slows nobody, and gets the newest messages when it reads again."""

        async def test() -> None:
            await self.serve(bounds=OutboxLimits(size=1_000_000))
            slow, quick = await self.join(), await self.join()
            slow.transport.pauseProducing()
            body = b"x" * 50_000
            for number in range(1000):
                await self.broker.publish("t", Message({}, b"%06d" % number + body), ANONYMOUS)
                if number % 20 == 0:
                    await self.until(partial(quick.has, number - 20), "the quick one keeps up")
            await self.until(lambda: len(quick.reader.messages) == 1000, "the quick one hears all")
            dropped = self.pubsub.counters.dropped
            self.assertGreater(dropped, 0)
            slow.transport.resumeProducing()
            await self.until(lambda: len(slow.reader.messages) == 1000 - dropped, "the slow one hears the rest")
            heard = [int(message[:6]) for message in slow.reader.messages]
            self.assertEqual(heard, sorted(heard))
            self.assertEqual(heard[-1], 999)

        return Deferred.fromCoroutine(test())
