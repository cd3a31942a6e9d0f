"""Streams to nodes of each dialect, over real sockets on loopback."""

from __future__ import annotations

import json
from random import Random
from typing import Any, cast

import httptools
from attrs import evolve
from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase
from zope.interface import implementer

from sidecar.errors import BadAnswer, BadRequest, ConnectFailed, ConnectionLost, Forbidden, ServiceFault, SidecarError
from sidecar.interfaces import IStreamListener
from sidecar.model import Call, Node, Service
from sidecar.net.http2.stream import Http2Limits
from sidecar.rpc.dialects.grpc import GrpcTransport
from sidecar.rpc.dialects.grpcstream import GrpcStreams
from sidecar.rpc.dialects.mucpstream import MucpStreams
from sidecar.rpc.dialects.nodetls import NodeTls
from sidecar.rpc.selector import Selector
from sidecar.rpc.streams import Streams
from sidecar.test.doubles.servers.grpc import GrpcDouble
from sidecar.test.unit.rpc.test_selector import Registry

CALL = Call("srv", "Say.Stream", metadata={"X-Foo": "bar"})


class MucpServer(Protocol):
    """One connection of a go-micro service: collects requests, says what the test tells it to."""

    transport: Any
    factory: Any

    def connectionMade(self) -> None:
        self.parser = httptools.HttpRequestParser(self)
        self.requests: list[tuple[dict[str, str], bytes]] = []
        self.lost: Deferred[None] = Deferred()
        self.factory.connections.append(self)

    def dataReceived(self, data: bytes) -> None:
        self.parser.feed_data(data)

    def on_message_begin(self) -> None:
        self.headers: dict[str, str] = {}
        self.body = b""

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers[name.decode()] = value.decode()

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        self.requests.append((self.headers, self.body))

    def say(self, body: bytes, *headers: str) -> None:
        lines = "".join(f"{line}\r\n" for line in headers)
        self.transport.write(f"HTTP/1.1 200 OK\r\n{lines}Content-Length: {len(body)}\r\n\r\n".encode() + body)

    def connectionLost(self, reason: Any = None) -> None:
        self.lost.callback(None)


@implementer(IStreamListener)
class Collector:
    """Listens to a stream."""

    def __init__(self) -> None:
        self.said: list[bytes] = []
        self.over: Deferred[SidecarError | None] = Deferred()

    def message(self, payload: bytes) -> None:
        self.said.append(payload)

    def stream_ended(self) -> None:
        self.over.callback(None)

    def failed(self, error: SidecarError) -> None:
        self.over.callback(error)


class StreamsCase(TestCase):
    patience = 0.1
    tls: NodeTls | None = None

    def setUp(self) -> None:
        self.server: Any = cast(Any, Factory())
        self.server.protocol = MucpServer
        self.server.noisy = False
        connections: list[MucpServer] = []
        self.server.connections = connections
        self.collector = Collector()

    def listen(self, server: Any, **metadata: str) -> Node:
        listening: Any = reactor
        port = listening.listenTCP(0, server, interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        return Node("s-1", "127.0.0.1", port.getHost().port, metadata)

    def streams(self, *nodes: Node, strategy: str = "random") -> Streams:
        registry: Any = Registry()
        clock: Any = reactor
        registry.put(Service(CALL.service, "1", nodes=nodes))
        self.selector = Selector(registry, strategy, Random(1), clock)
        grpc = GrpcTransport(reactor, 1 << 20, Http2Limits(), tls=self.tls)
        mucp = MucpStreams(reactor, 1 << 20, "test", self.patience, tls=self.tls)
        made = Streams(self.selector, clock, mucp, {"grpc": GrpcStreams(grpc)})
        for each in (self.selector, grpc, made):
            each.startService()
            self.addCleanup(each.stopService)
        return made

    def busy(self) -> dict[str, int]:
        """What ``leastbusy`` believes to be in flight."""
        strategy: Any = self.selector._strategy
        return dict(strategy._busy)

    async def until(self, true: Any) -> None:
        while not true():
            await deferLater(reactor, 0.01)


class Mucp(StreamsCase):
    async def open(self) -> tuple[Any, MucpServer]:
        stream = await self.streams(self.listen(self.server)).open(CALL, self.collector)
        await self.until(lambda: self.server.connections and self.server.connections[0].requests)
        return stream, self.server.connections[0]

    async def test_opening(self) -> None:
        """The opening is a whole request with stream id, method and metadata; each message another with its id."""
        stream, server = await self.open()
        stream.send(b'{"n":12345678901234567890}')
        await self.until(lambda: len(server.requests) == 2)
        (first, _), (second, body) = server.requests
        self.assertEqual((first["Micro-Method"], first["X-Foo"]), ("Say.Stream", "bar"))
        self.assertEqual(first["Micro-Stream"], second["Micro-Stream"])
        self.assertIn(b'"params":[{"n":12345678901234567890}]', body)
        stream.close()
        await server.lost

    async def test_messages_then_end(self) -> None:
        """Messages come in order as the node's own bytes, and EOS is the end."""
        _, server = await self.open()
        for n in range(3):
            server.say(b'{"id":"1","result":{"n":%d},"error":null}\n' % n)
        server.say(b'{"id":"","result":null,"error":"EOS"}', "Micro-Error: EOS")
        self.assertIsNone(await self.collector.over)
        self.assertEqual(self.collector.said, [b'{"n":0}', b'{"n":1}', b'{"n":2}'])
        await server.lost

    async def test_close_is_end(self) -> None:
        """Services of 2019 end a stream by closing its connection."""
        _, server = await self.open()
        server.transport.loseConnection()
        self.assertIsNone(await self.collector.over)

    async def test_error(self) -> None:
        """A service's error ends the stream and keeps its code."""
        _, server = await self.open()
        error = json.dumps({"id": "srv", "code": 409, "detail": "taken", "status": "Conflict"})
        server.say(json.dumps({"id": "", "result": None, "error": error}).encode())
        fault: Any = await self.collector.over
        self.assertIsInstance(fault, ServiceFault)
        self.assertEqual(fault.fault.code, 409)

    async def test_garbled(self) -> None:
        """A frame that is no envelope is reported, not swallowed."""
        _, server = await self.open()
        server.say(b'"error":"EOS"}')
        self.assertIsInstance(await self.collector.over, BadAnswer)

    async def test_broken_off(self) -> None:
        """A connection that breaks within a message is an error."""
        _, server = await self.open()
        server.transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
        server.transport.loseConnection()
        self.assertIsInstance(await self.collector.over, ConnectionLost)

    async def test_callers_end(self) -> None:
        """The caller's end is said to the service, whose answer is heard all the same; then silence is the end."""
        stream, server = await self.open()
        stream.send(b"{}")
        stream.end()
        stream.end()
        stream.send(b'{"too":"late"}')
        await self.until(lambda: len(server.requests) == 3)
        self.assertEqual((server.requests[-1][0]["Micro-Error"], server.requests[-1][1]), ("EOS", b""))
        server.say(b'{"id":"1","result":{"count":1},"error":null}\n')
        self.assertIsNone(await self.collector.over)
        self.assertEqual(self.collector.said, [b'{"count":1}'])
        await server.lost
        self.assertEqual(len(server.requests), 3)

    async def test_node_ends_after_the_caller(self) -> None:
        """A node that tells its own end, by word or by closing, is not waited for any longer."""
        for end in ("eos", "close"):
            self.collector = Collector()
            self.server.connections.clear()
            self.patience = 60.0
            stream, server = await self.open()
            stream.end()
            if end == "eos":
                server.say(b'{"id":"","result":null,"error":"EOS"}', "Micro-Error: EOS")
            else:
                server.transport.loseConnection()
            self.assertIsNone(await self.collector.over)

    async def test_leaving_after_the_end(self) -> None:
        """Who leaves while the node is waited for leaves at once."""
        self.patience = 60.0
        stream, server = await self.open()
        stream.end()
        stream.close()
        await server.lost
        self.assertNoResult(self.collector.over)


class Grpc(StreamsCase):
    def setUp(self) -> None:
        super().setUp()
        self.double = GrpcDouble()

    async def test_both_ways(self) -> None:
        """Each message is answered while the stream stays open, and the caller's end is answered by the node's."""
        self.double.on_message = lambda exchange, message: exchange.message(message)
        self.double.on_call = lambda exchange: exchange.finish()
        stream = await self.streams(self.listen(self.double, protocol="grpc")).open(CALL, self.collector)
        for n in (1, 2):
            stream.send(b'{"n":%d}' % n)
            await self.until(lambda n=n: len(self.collector.said) == n)
        stream.end()
        self.assertIsNone(await self.collector.over)
        self.assertEqual(self.collector.said, [b'{"n":1}', b'{"n":2}'])

    async def test_error(self) -> None:
        """A status in the trailers ends the stream with that error."""
        self.double.on_message = lambda exchange, message: exchange.finish(("grpc-status", "5"), ("grpc-message", "no"))
        stream = await self.streams(self.listen(self.double, protocol="grpc")).open(CALL, self.collector)
        stream.send(b"{}")
        fault: Any = await self.collector.over
        self.assertEqual((fault.fault.code, fault.fault.detail), (404, "no"))

    async def test_leaving(self) -> None:
        """Who closes has the stream reset."""
        self.double.on_message = lambda exchange, message: exchange.message(b"{}")
        stream = await self.streams(self.listen(self.double, protocol="grpc")).open(CALL, self.collector)
        stream.send(b"{}")
        await self.until(lambda: self.collector.said)
        stream.close()
        await self.until(lambda: self.double.resets)


class Choice(StreamsCase):
    async def test_counted_until_it_ends(self) -> None:
        """A node is busy with a stream from its opening to its end, whoever ends it, and never less than not at all."""
        double = GrpcDouble()
        double.on_message = lambda exchange, message: exchange.finish()
        for node, end in (
            (self.listen(self.server), "close"),
            (self.listen(double, protocol="grpc"), "close"),
            (self.listen(double, protocol="grpc"), "node"),
            (self.listen(double, protocol="grpc"), "stop"),
        ):
            self.collector = Collector()
            streams = self.streams(node, strategy="leastbusy")
            # A call that is in flight beside it: its count is what an end without a beginning would have taken.
            self.selector.began(node)
            stream = await streams.open(CALL, self.collector)
            self.assertEqual(self.busy(), {node.id: 2}, end)
            self.assertEqual(streams.open_streams, 1)
            if end == "close":
                stream.close()
                stream.close()
            elif end == "node":
                stream.send(b"{}")
                self.assertIsNone(await self.collector.over)
            else:
                streams.stopService()
            self.assertEqual(self.busy(), {node.id: 1}, end)
            self.assertEqual(streams.open_streams, 0)

    async def test_counted_when_it_fails(self) -> None:
        """A node that cannot be reached, or whose opening is given up, is not busy afterwards."""
        gone = Node("gone", "127.0.0.1", 1)
        streams = self.streams(gone, self.listen(self.server), strategy="leastbusy")
        (await streams.open(CALL, self.collector)).close()
        self.assertEqual(self.busy(), {})
        # An address for documentation: the connection stays on its way.
        for protocol in ("mucp", "grpc"):
            streams = self.streams(Node("far", "192.0.2.1", 9, {"protocol": protocol}), strategy="leastbusy")
            opening = Deferred.fromCoroutine(streams.open(CALL, self.collector))
            self.assertEqual(self.busy(), {"far": 1})
            opening.cancel()
            await self.assertFailure(opening, CancelledError)
            self.assertEqual(self.busy(), {})

    async def test_address(self) -> None:
        """A stream to an address goes there and nowhere else, if a node of the service is there."""
        node = self.listen(self.server)
        streams = self.streams(Node("other", "127.0.0.1", 1), node)
        (await streams.open(evolve(CALL, address=node.hostport), self.collector)).close()
        await self.assertFailure(
            Deferred.fromCoroutine(streams.open(evolve(CALL, address="127.0.0.1:2"), self.collector)), Forbidden
        )

    async def test_next_node(self) -> None:
        """A node that cannot be reached is passed over."""
        gone = Node("gone", "127.0.0.1", 1)
        stream = await self.streams(gone, self.listen(self.server)).open(CALL, self.collector)
        stream.close()

    async def test_no_node(self) -> None:
        """Where none can be reached the error names each that was tried."""
        error: Any = None
        try:
            await self.streams(Node("gone", "127.0.0.1", 1)).open(CALL, self.collector)
        except ConnectFailed as failed:
            error = failed
        self.assertIn("127.0.0.1:1 (gone): connection refused", str(error))

    async def test_plain_http(self) -> None:
        """An app of plain HTTP has no streams, and the caller is told so."""
        try:
            await self.streams(Node("p", "127.0.0.1", 1, {"protocol": "http"})).open(CALL, self.collector)
        except BadRequest as refused:
            self.assertIn("no streams", str(refused))
        else:
            self.fail("a stream was opened")
