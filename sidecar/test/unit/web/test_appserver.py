"""go-micro calls of every generation, answered for an app that speaks plain HTTP."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote

import h2.config
import h2.connection
import h2.events
from attrs import define
from twisted.internet import reactor as installed
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.protocol import Protocol
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase, TestCase
from zope.interface import implementer

from sidecar.errors import ServiceFault
from sidecar.interfaces import IExchange, IExchangeListener, ITransport
from sidecar.model import Call, Fault, Node, Reply
from sidecar.net.client.fetcher import Fetcher
from sidecar.net.http.hosts import AllowedHosts
from sidecar.net.http.limits import HTTPLimits
from sidecar.net.http2.exchanges import UNBEGUN, UNENDED
from sidecar.net.http2.switch import SwitchFactory
from sidecar.rpc.dialects.bynode import DeferredTransport
from sidecar.rpc.dialects.grpc import GrpcTransport
from sidecar.rpc.dialects.mucp import MucpTransport
from sidecar.web.app.app import App
from sidecar.web.appserver import AppServerResource
from sidecar.web.cors import BrowserPolicy, CorsPolicy
from sidecar.web.site import SidecarSite
from sidecar.wire import grpc
from sidecar.wire.mucp import server

reactor: Any = installed

GRPC_JSON = "application/grpc+json"
BROWSERS = BrowserPolicy(AllowedHosts(), CorsPolicy())

FAULT = Fault("srv", 409, "schon weg: ü", "Conflict")

#: Name, headers, body, and what the app is called with.
REQUESTS: list[tuple[str, dict[str, str], bytes, str, bytes]] = [
    (
        "2016: the envelope alone",
        {"content-type": "application/json"},
        b'{"method":"Say.Hello","params":[{"name":"John"}],"id":7}',
        "Say.Hello",
        b'{"name":"John"}',
    ),
    (
        "2019: bare JSON, routed by the X- twins",
        {"content-type": "application/json", "x-micro-method": "Say.Hello", "x-micro-service": "srv"},
        b'{"name":"John"}',
        "Say.Hello",
        b'{"name":"John"}',
    ),
    (
        "v1 to v6: the envelope and Micro headers",
        {"content-type": "application/json-rpc", "micro-endpoint": "Say.Hello", "micro-service": "srv"},
        b'{"params":[{"name":"John"}],"id":"0","method":"Say.Hello"}\n',
        "Say.Hello",
        b'{"name":"John"}',
    ),
    (
        "protobuf in its envelope",
        {"content-type": "application/proto-rpc", "micro-endpoint": "Say.Hello", "micro-service": "srv"},
        bytes.fromhex("00000014") + b"\x0a\x09Say.Hello\x11\x07" + bytes(7) + bytes.fromhex("00000002") + b"\x08\x01",
        "Say.Hello",
        b"\x08\x01",
    ),
    (
        "bare protobuf",
        {"content-type": "application/protobuf", "micro-endpoint": "Say.Hello", "micro-service": "srv"},
        b"\x08\x01",
        "Say.Hello",
        b"\x08\x01",
    ),
]


class Codec(SynchronousTestCase):
    def test_requests(self) -> None:
        """Each generation's request gives the same method and the payload's own bytes."""
        for name, headers, body, method, payload in REQUESTS:
            incoming = server.decode(headers, body)
            self.assertEqual((incoming.method, incoming.body), (method, payload), name)

    def test_jsonrpc_answer(self) -> None:
        """The id comes back as it was sent, a number or a string; the result is the app's own bytes."""
        for id in (b"7", b'"0"'):
            incoming = server.decode(
                {"content-type": "application/json"}, b'{"method":"A.B","params":[{}],"id":' + id + b"}"
            )
            _, body = server.encode(incoming, Reply(b'{"big":12345678901234567890}'))
            self.assertEqual(body, b'{"id":' + id + b',"result":{"big":12345678901234567890},"error":null}\n')

    def test_jsonrpc_fault(self) -> None:
        """A fault goes into the envelope as a string, and into the headers in ASCII."""
        incoming = server.decode({"content-type": "application/json"}, b'{"method":"A.B","params":[{}],"id":7}')
        headers, body = server.encode(incoming, FAULT)
        self.assertEqual(json.loads(json.loads(body)["error"])["code"], 409)
        self.assertTrue(headers["Micro-Error"].isascii())
        self.assertEqual(json.loads(headers["Micro-Error"])["detail"], FAULT.detail)

    def test_no_envelope(self) -> None:
        """What is bare under the envelope's type is refused, with what is known of the call, and never an empty one."""
        named = {"content-type": "application/json-rpc", "micro-endpoint": "Say.Hello", "micro-service": "srv"}
        legacy = {"content-type": "application/json"}
        for headers, body in (
            (named, b'{"name":"John"}'),
            (named, b"{}"),
            (named, b""),
            (named, b"[1]"),
            (named, b'{"method":"GET","name":"John"}'),
            (named, b'{"method":"Say.Hello","params":7}'),
            (named, b'{"method":"Say.Hello","params":[1,2]}'),
            (legacy, b'{"name":"John"}'),
            ({**named, "content-type": "application/proto-rpc"}, b"\x08\x01"),
        ):
            with self.assertRaises(server.Unreadable) as caught:
                server.decode(headers, body)
            fields, answer = server.encode(
                caught.exception.call, Fault("srv", 400, str(caught.exception), "Bad Request")
            )
            self.assertEqual(json.loads(fields["Micro-Error"])["code"], 400)
            self.assertIn(b'\\"code\\":400' if "json" in headers["content-type"] else b'"code":400', answer)

    def test_lenient(self) -> None:
        """An envelope without parameters asks with an empty object, and named parameters are the request."""
        legacy = {"content-type": "application/json"}
        for body, payload in (
            (b'{"method":"A.B","id":1}', b"{}"),
            (b'{"method":"A.B","params":null,"id":1}', b"{}"),
            (b'{"method":"A.B","params":[],"id":1}', b"{}"),
            (b'{"jsonrpc":"2.0","method":"A.B","params":{"a":1},"id":1}', b'{"a":1}'),
            (b'\xef\xbb\xbf{"method":"A.B","params":[{"a":1}],"id":1}', b'{"a":1}'),
        ):
            self.assertEqual(server.decode(legacy, body).body, payload)
        bare = {"content-type": "application/json", "micro-endpoint": "A.B"}
        self.assertEqual(server.decode(bare, b'\xef\xbb\xbf{"a":1}').body, b'{"a":1}')

    def test_event(self) -> None:
        """A stray event is seen as one, and never becomes a call."""
        incoming = server.decode({"content-type": "application/json", "micro-topic": "news"}, b"{}")
        self.assertEqual((incoming.event, incoming.method), ("news", ""))


@implementer(ITransport)
class FakeApp:
    """Stands for the transport to the app."""

    def __init__(self) -> None:
        self.calls: list[Call] = []

    def exchange(self, node: Node, call: Call, timeout: float, listener: IExchangeListener) -> IExchange:
        self.calls.append(call)
        if call.method == "Say.Fail":
            return Answered(lambda: listener.attempt_failed(ServiceFault(FAULT)))
        if call.method in ("Debug.Health", "Debug.Stats", "Health.Check"):
            unknown = Fault("srv", 404, "no such page", "Not Found")
            return Answered(lambda: listener.attempt_failed(ServiceFault(unknown, enveloped=False)))
        return Answered(lambda: listener.attempt_replied(Reply(call.request, call.content_type)))


@implementer(IExchange)
@define(eq=False)
class Answered:
    """An exchange that is answered as soon as it is started."""

    start: Callable[[], None]
    state = "no answer"

    def cancel(self) -> None:
        """Nothing is under way."""

    def before_sending(self, now: float) -> tuple[float, float]:
        return 0.0, 0.0


class Served(TestCase):
    """The whole port, called by our own clients in each dialect."""

    def setUp(self) -> None:
        self.app = FakeApp()
        app = App("srv", Node("srv-1", "127.0.0.1", 9), DeferredTransport(self.app, reactor))
        resource = AppServerResource(app, 1 << 20, BROWSERS)
        site: Any = SidecarSite(resource, reactor, HTTPLimits())
        factory: Any = SwitchFactory(site, lambda: resource.grpc(site))
        listening: Any = reactor
        self.port = listening.listenTCP(0, factory, interface="127.0.0.1")
        self.node = Node("srv-1", "127.0.0.1", self.port.getHost().port)
        self.mucp, self.grpc = MucpTransport(reactor, 1 << 20), GrpcTransport(reactor, 1 << 20)
        for transport in (self.mucp, self.grpc):
            transport.startService()
            self.addCleanup(transport.stopService)
        self.addCleanup(self.port.stopListening)

    def send(self, transport: ITransport, call: Call) -> Deferred[Reply]:
        return DeferredTransport(transport, reactor).send(self.node, call, 30)

    async def test_hello(self) -> None:
        """The same app answers JSON-RPC and gRPC callers, protobuf callers too, on one port."""
        for transport in (self.mucp, self.grpc):
            for kind, payload in (("application/json", b'{"n":1}'), ("application/protobuf", b"\x08\x01")):
                reply = await self.send(transport, Call("srv", "Say.Hello", payload, kind))
                self.assertEqual(reply, Reply(payload, kind))
        self.assertEqual({call.method for call in self.app.calls}, {"Say.Hello"})

    async def test_fault(self) -> None:
        """The app's error keeps code, id and detail in either dialect."""
        for transport in (self.mucp, self.grpc):
            error: Any = await self.assertFailure(self.send(transport, Call("srv", "Say.Fail")), ServiceFault)
            self.assertEqual(error.fault, FAULT)

    async def test_debug_health(self) -> None:
        """Debug.Health, Debug.Stats and gRPC's health service are answered for an app that has none, in its caller's
        form."""
        await self.send(self.mucp, Call("srv", "Say.Hello"))
        for transport in (self.mucp, self.grpc):
            reply = await self.send(transport, Call("srv", "Debug.Health"))
            self.assertEqual(json.loads(reply.body), {"status": "ok"})
            reply = await self.send(transport, Call("srv", "Debug.Health", b"", "application/protobuf"))
            self.assertEqual(reply.body, b"\x0a\x02ok")
            reply = await self.send(transport, Call("srv", "Debug.Stats"))
            self.assertEqual(json.loads(reply.body)["requests"], 1)
        check = "/grpc.health.v1.Health/Check"
        reply = await self.send(self.grpc, Call("srv", check, b"", "application/protobuf"))
        self.assertEqual(reply.body, b"\x08\x01")
        reply = await self.send(self.grpc, Call("srv", check, b'{"service":"srv"}'))
        self.assertEqual(json.loads(reply.body), {"status": "SERVING"})
        error: Any = await self.assertFailure(
            self.send(self.grpc, Call("srv", check, b'{"service":"x"}')), ServiceFault
        )
        self.assertEqual(error.fault.code, 404)

    async def test_pages(self) -> None:
        """A page in a browser calls the app through no port of ours: neither by rebinding nor by a form."""
        agent = Fetcher(reactor)
        self.addCleanup(agent.close)
        fields = {"Content-Type": "application/json"}
        body = b'{"method":"Say.Hello","params":[{}],"id":1}'
        for more, status in (
            ({"Host": "evil.example"}, 421),
            ({"Origin": "http://evil.example"}, 403),
            ({"Origin": "null"}, 403),
            ({"Sec-Fetch-Site": "cross-site"}, 403),
        ):
            answer = await agent.request("POST", f"http://127.0.0.1:{self.node.port}/", {**fields, **more}, body)
            self.assertEqual(answer.status, status, more)
        self.assertEqual(self.app.calls, [])
        answer = await agent.request("POST", f"http://127.0.0.1:{self.node.port}/", fields, body)
        self.assertEqual(answer.status, 200)

    async def test_no_envelope(self) -> None:
        """A bare request under the envelope's type is refused with code 400, and the app is not called."""
        agent = Fetcher(reactor)
        self.addCleanup(agent.close)
        answer = await agent.request(
            "POST",
            f"http://127.0.0.1:{self.node.port}/",
            {"Content-Type": "application/json-rpc", "Micro-Endpoint": "Say.Hello", "Micro-Service": "srv"},
            b'{"name":"John"}',
        )
        self.assertEqual(answer.status, 200)
        self.assertEqual(json.loads(json.loads(answer.body)["error"])["code"], 400)
        self.assertEqual(self.app.calls, [])

    async def test_stream(self) -> None:
        """A stream to an app that has none is told so while it is open, over real sockets."""
        client = _Client()
        peer = await connectProtocol(TCP4ClientEndpoint(reactor, "127.0.0.1", self.node.port), client)
        self.addCleanup(peer.transport.abortConnection)
        client.open("/srv.Say/Stream", grpc.frame(b"{}"), grpc.frame(b"{}"))
        headers = await client.answered
        self.assertEqual((headers["grpc-status"], headers[":status"]), ("12", "200"))
        self.assertEqual(self.app.calls, [])


class _Client(Protocol):
    """A gRPC client that opens a stream and leaves it open. :ivar answered: fires with the headers of the answer."""

    def __init__(self) -> None:
        self.answered: Deferred[dict[str, str]] = Deferred()
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8"))

    def open(self, path: str, *frames: bytes, end: bool = False) -> None:
        self.h2.initiate_connection()
        fields = {":method": "POST", ":scheme": "http", ":path": path, ":authority": "a", "content-type": GRPC_JSON}
        self.h2.send_headers(1, list(fields.items()))
        for frame in frames:
            self.h2.send_data(1, frame)
        if end:
            self.h2.end_stream(1)
        self.flush()

    def flush(self) -> None:
        transport: Any = self.transport
        transport.write(self.h2.data_to_send())

    def dataReceived(self, data: bytes) -> None:
        for event in self.h2.receive_data(data):
            if isinstance(event, h2.events.ResponseReceived):
                self.answered.callback({str(name): str(value) for name, value in event.headers})
        self.flush()


class Streams(SynchronousTestCase):
    """gRPC streams to an app that speaks plain HTTP, on a Clock."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.app = FakeApp()
        app = App("srv", Node("srv-1", "127.0.0.1", 9), DeferredTransport(self.app, self.clock))
        resource = AppServerResource(app, 1 << 20)
        self.server = resource.grpc(SidecarSite(resource, self.clock, HTTPLimits()))
        self.client = _Client()
        self.client_wire, self.server_wire = StringTransport(), StringTransport()
        self.client.makeConnection(self.client_wire)
        self.server.makeConnection(self.server_wire)

    def exchange(self) -> None:
        self.server.dataReceived(self.client_wire.value())
        self.client_wire.clear()
        self.read()

    def read(self) -> None:
        self.client.dataReceived(self.server_wire.value())
        self.server_wire.clear()

    def assert_unimplemented(self) -> None:
        headers = self.successResultOf(self.client.answered)
        self.assertEqual(headers["grpc-status"], "12")
        self.assertEqual(json.loads(unquote(headers["grpc-message"]))["code"], 501)
        self.assertEqual((self.app.calls, self.clock.getDelayedCalls()[1:]), ([], []))

    def test_second_message(self) -> None:
        """A second message makes it a stream: refused there and then."""
        self.client.open("/srv.Say/Stream", grpc.frame(b"{}"), grpc.frame(b"{}"))
        self.exchange()
        self.assert_unimplemented()

    def test_open_end(self) -> None:
        """So does a message that the end of the request does not follow."""
        self.client.open("/srv.Say/Stream", grpc.frame(b"{}"))
        self.exchange()
        self.assertNoResult(self.client.answered)
        self.clock.advance(UNENDED)
        self.read()
        self.assert_unimplemented()

    def test_no_message(self) -> None:
        """So do no messages at all, whether the request ends or not."""
        self.client.open("/srv.Say/Stream")
        self.exchange()
        self.clock.advance(UNBEGUN)
        self.read()
        self.assert_unimplemented()

    def test_empty(self) -> None:
        """A request that ends without a message is no empty call."""
        self.client.open("/srv.Say/Stream", end=True)
        self.exchange()
        self.assert_unimplemented()

    def test_slow_call(self) -> None:
        """A call whose message takes its time to come is waited for."""
        message = grpc.frame(b'{"name":"John"}')
        self.client.open("/srv.Say/Hello", message[:8])
        self.exchange()
        self.clock.advance(5 * UNENDED)
        self.client.h2.send_data(1, message[8:], end_stream=True)
        self.client.flush()
        self.exchange()
        self.assertEqual([call.request for call in self.app.calls], [b'{"name":"John"}'])
