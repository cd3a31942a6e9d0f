"""Calls to gRPC nodes, over real sockets on loopback."""

from __future__ import annotations

import json
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred, gatherResults
from twisted.internet.protocol import Protocol
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase
from zope.interface.verify import verifyObject

from sidecar.errors import BadAnswer, CallTimeout, ConnectFailed, ConnectionLost, NotSent, Overloaded, ServiceFault
from sidecar.interfaces import ITransport
from sidecar.model import Call, Node, Reply
from sidecar.net.http2.stream import Http2Limits
from sidecar.net.memory import MemoryBudget
from sidecar.rpc.dialects.bynode import DeferredTransport
from sidecar.rpc.dialects.grpc import GrpcTransport
from sidecar.test.contracts.transport import TransportContract
from sidecar.test.doubles.servers.grpc import Exchange, GrpcDouble

HELLO = Call("srv.say", "Say.Hello", b'{"name":"John"}', metadata={"X-Trace": "7", "Bad Name": "x"})


class Grpc(TestCase):
    def setUp(self) -> None:
        self.server = GrpcDouble()
        self.server.on_call = lambda exchange: exchange.answer(exchange.messages[0])
        listening: Any = reactor
        self.port = listening.listenTCP(0, self.server, interface="127.0.0.1")
        self.addCleanup(self.port.stopListening)
        self.node = Node("say-1", "127.0.0.1", self.port.getHost().port)
        self.transport = self.make(Http2Limits())

    def make(self, limits: Http2Limits) -> GrpcTransport:
        made = GrpcTransport(reactor, max_body=1 << 20, limits=limits)
        made.startService()
        self.addCleanup(made.stopService)
        return made

    def send(self, call: Call = HELLO, timeout: float = 30.0) -> Deferred[Reply]:
        clock: Any = reactor
        return DeferredTransport(self.transport, clock).send(self.node, call, timeout)

    def pause(self) -> Deferred[None]:
        return deferLater(reactor, 0.05)

    def test_interface(self) -> None:
        """It is a transport."""
        self.assertTrue(verifyObject(ITransport, self.transport))

    async def test_unary(self) -> None:
        """A JSON payload goes and comes back byte for byte, with the path, deadline and metadata of the call."""
        seen: list[Exchange] = []

        def answer(exchange: Exchange) -> None:
            seen.append(exchange)
            exchange.answer(exchange.messages[0])

        self.server.on_call = answer
        reply = await self.send()
        self.assertEqual(reply, Reply(b'{"name":"John"}', "application/json"))
        headers = seen[0].headers
        self.assertEqual(headers[":path"], "/srv.say.Say/Hello")
        self.assertEqual(headers["content-type"], "application/grpc+json")
        self.assertEqual(headers["te"], "trailers")
        self.assertEqual(headers["x-trace"], "7")
        self.assertEqual(headers["timeout"], "30000000000")
        self.assertEqual(headers["grpc-timeout"], "30000000u")
        self.assertNotIn("bad name", headers)

    async def test_protobuf(self) -> None:
        """An opaque payload is announced as protobuf and comes back as such."""
        reply = await self.send(Call("srv.say", "Say.Hello", b"\x0a\x00\xff", content_type="application/protobuf"))
        self.assertEqual(reply, Reply(b"\x0a\x00\xff", "application/protobuf"))

    async def test_counted(self) -> None:
        """What has come of an answer counts in the budget of all; what is too much is given up, and that is said."""
        clock: Any = reactor
        budget = self.transport.budget = MemoryBudget(300_000, clock.seconds)
        reply = await self.send(Call("srv.say", "Say.Hello", b"1" * 250_000))
        self.assertEqual((len(reply.body), budget.total, budget.shed), (250_000, 0, {}))
        with self.assertRaises(Overloaded) as raised:
            await self.send(Call("srv.say", "Say.Hello", b"1" * 350_000))
        self.assertIn("--max_memory", str(raised.exception))
        self.assertEqual((budget.total, budget.shed), (0, {"replies": 1}))

    async def test_multiplexed(self) -> None:
        """A hundred calls at once share one connection, and each gets its own answer."""
        calls = [Call("s", "Say.Hello", str(n).encode()) for n in range(100)]
        replies = await gatherResults([self.send(call) for call in calls])
        self.assertEqual([reply.body for reply in replies], [call.request for call in calls])
        self.assertEqual(self.server.opened, 1)

    async def test_stream_limit(self) -> None:
        """Where the peer allows two streams at once, fifty calls take turns."""
        self.server.max_streams = 2
        await self.send()
        replies = await gatherResults([self.send() for _ in range(50)])
        self.assertEqual(len(replies), 50)
        self.assertEqual(self.server.opened, 1)

    async def test_large_both_ways(self) -> None:
        """A megabyte passes both windows."""
        body = b'"' + b"x" * ((1 << 20) - 2) + b'"'
        reply = await self.send(Call("s", "Say.Hello", body))
        self.assertEqual(reply.body, body)

    async def test_too_large(self) -> None:
        """An answer over the limit is refused and its stream reset."""
        self.server.on_call = lambda exchange: exchange.answer(b"x" * ((1 << 20) + 1))
        await self.assertFailure(self.send(), BadAnswer)
        await self.pause()
        self.assertEqual(len(self.server.resets), 1)

    async def test_coded_error(self) -> None:
        """go-micro's error JSON in grpc-message keeps its code, id and detail."""
        message = '{"id":"srv.say","code":409,"detail":"taken %25","status":"Conflict"}'
        self.server.on_call = lambda exchange: exchange.refuse(("grpc-status", "6"), ("grpc-message", message))
        error: Any = await self.assertFailure(self.send(), ServiceFault)
        self.assertEqual((error.fault.code, error.fault.id, error.fault.detail), (409, "srv.say", "taken %"))

    async def test_plain_error(self) -> None:
        """A status of another server becomes the HTTP status that stands for it."""
        self.server.on_call = lambda exchange: exchange.refuse(("grpc-status", "12"), ("grpc-message", "no such%20one"))
        error: Any = await self.assertFailure(self.send(), ServiceFault)
        self.assertEqual((error.fault.code, error.fault.detail), (501, "no such one"))

    async def test_timeout_resets(self) -> None:
        """A call that is not answered fails in its time, and its stream is reset; the connection serves on."""
        self.server.on_call = lambda exchange: None
        await self.assertFailure(self.send(timeout=0.1), CallTimeout)
        await self.pause()
        self.assertEqual(len(self.server.resets), 1)
        self.server.on_call = lambda exchange: exchange.answer(b"{}")
        await self.send()
        self.assertEqual(self.server.opened, 1)

    async def test_cancelled(self) -> None:
        """A caller who leaves has its stream reset."""
        self.server.on_call = lambda exchange: calling.cancel()
        calling = self.send()
        await self.assertFailure(calling, CancelledError)
        await self.pause()
        self.assertEqual(len(self.server.resets), 1)

    async def test_refused(self) -> None:
        """Nobody listens: the request cannot have run."""
        await self.port.stopListening()
        await self.assertFailure(self.send(), ConnectFailed)

    async def test_lost(self) -> None:
        """A connection that breaks after the request was written may have run it."""
        self.server.on_call = lambda exchange: exchange.server.transport.abortConnection()
        await self.assertFailure(self.send(), ConnectionLost)

    async def test_goaway(self) -> None:
        """GOAWAY: what the peer did not take was not sent, what it took is answered, and new calls connect anew."""
        held: list[Exchange] = []
        self.server.on_call = held.append
        first, second = self.send(), self.send()
        while len(held) < 2:
            await self.pause()
        held[0].server.goaway(last=held[0].id)
        await self.assertFailure(second, NotSent)
        self.server.on_call = lambda exchange: exchange.answer(b"{}")
        self.assertEqual((await self.send()).body, b"{}")
        self.assertEqual(self.server.opened, 2)
        held[0].server.transport.loseConnection()
        await self.assertFailure(first, ConnectionLost)

    async def test_hung_peer(self) -> None:
        """A peer that answers no pings is dropped, before the deadline of the call."""
        self.transport = self.make(Http2Limits(ping=0.05, ping_patience=0.05))
        self.server.on_call = lambda exchange: setattr(self.server, "deaf", True)
        error = await self.assertFailure(self.send(), ConnectionLost)
        self.assertIn("answers no pings", str(error))

    async def test_idle_closes(self) -> None:
        """A connection without calls closes itself, and the next call opens another."""
        self.transport = self.make(Http2Limits(idle=0.05))
        await self.send()
        while self.server.connections:
            await self.pause()
        await self.send()
        self.assertEqual(self.server.opened, 2)

    async def test_not_http2(self) -> None:
        """A peer that speaks HTTP/1.1 is a bad answer, not a crash."""
        self.server.buildProtocol = lambda addr: _Http1()  # type: ignore[method-assign,assignment,return-value]
        await self.assertFailure(self.send(), BadAnswer)


class Contract(TransportContract, TestCase):
    """Every transport's promises."""

    def setUp(self) -> None:
        self.server = GrpcDouble()
        self.server.on_call = say
        self.port = self.reactor.listenTCP(0, self.server, interface="127.0.0.1")
        self.addCleanup(self.port.stopListening)

    def make_transport(self, max_body: int) -> GrpcTransport:
        made = GrpcTransport(reactor, max_body)
        made.startService()
        self.addCleanup(made.stopService)
        return made

    async def make_node(self) -> Node:
        return Node("say-1", "127.0.0.1", self.port.getHost().port, {"protocol": "grpc"})


def say(exchange: Exchange) -> None:
    """What the transport contract has a node do."""
    body = exchange.messages[0]
    if exchange.method == "Hello":
        exchange.answer(json.dumps({"msg": f"Hello {json.loads(body)['name']}"}).encode())
    elif exchange.method == "Meta":
        exchange.answer(json.dumps(exchange.headers).encode())
    elif exchange.method == "Fail":
        exchange.refuse(("grpc-status", "3"), ("grpc-message", '{"id":"srv","code":400,"detail":"bad John"}'))
    elif exchange.method == "Close":
        exchange.server.transport.abortConnection()
    elif exchange.method != "Hang":
        exchange.answer(body)


class _Http1(Protocol):
    transport: Any

    def dataReceived(self, data: bytes) -> None:
        self.transport.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
