"""go-micro calls of every generation, answered for an app that speaks plain HTTP."""

from __future__ import annotations

import json
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred, succeed
from twisted.trial.unittest import SynchronousTestCase, TestCase
from twisted.web.resource import Resource
from twisted.web.server import Site
from zope.interface import implementer

from sidecar.errors import ServiceFault
from sidecar.interfaces import ITransport
from sidecar.model import Call, Fault, Node, Reply
from sidecar.net.http.limits import HTTPLimits
from sidecar.net.http2.server import SwitchFactory
from sidecar.rpc.grpc import GrpcTransport
from sidecar.rpc.mucp import MucpTransport
from sidecar.rpc.plainhttp import PlainTransport
from sidecar.web.appserver import App, AppServerResource
from sidecar.web.site import SidecarSite
from sidecar.wire.mucp import server

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
            heard = server.decode(headers, body)
            self.assertEqual((heard.method, heard.body), (method, payload), name)

    def test_jsonrpc_answer(self) -> None:
        """The id comes back as it was sent, a number or a string; the result is the app's own bytes."""
        for id in (b"7", b'"0"'):
            heard = server.decode(
                {"content-type": "application/json"}, b'{"method":"A.B","params":[{}],"id":' + id + b"}"
            )
            _, body = server.encode(heard, Reply(b'{"big":12345678901234567890}'))
            self.assertEqual(body, b'{"id":' + id + b',"result":{"big":12345678901234567890},"error":null}\n')

    def test_jsonrpc_fault(self) -> None:
        """A fault goes into the envelope as a string, and into the headers in ASCII."""
        heard = server.decode({"content-type": "application/json"}, b'{"method":"A.B","params":[{}],"id":7}')
        headers, body = server.encode(heard, FAULT)
        self.assertEqual(json.loads(json.loads(body)["error"])["code"], 409)
        self.assertTrue(headers["Micro-Error"].isascii())
        self.assertEqual(json.loads(headers["Micro-Error"])["detail"], FAULT.detail)

    def test_event(self) -> None:
        """A stray event is seen as one, and never becomes a call."""
        heard = server.decode({"content-type": "application/json", "micro-topic": "news"}, b"{}")
        self.assertEqual((heard.event, heard.method), ("news", ""))


@implementer(ITransport)
class FakeApp:
    """Stands for the transport to the app."""

    def __init__(self) -> None:
        self.calls: list[Call] = []

    def send(self, node: Node, call: Call, timeout: float) -> Deferred[Reply]:
        self.calls.append(call)
        if call.method == "Say.Fail":
            failed: Deferred[Reply] = Deferred()
            failed.errback(ServiceFault(FAULT))
            return failed
        return succeed(Reply(call.request, call.content_type))


class Served(TestCase):
    """The whole port, called by our own clients in each dialect."""

    def setUp(self) -> None:
        self.app: Any = FakeApp()
        room = AppServerResource(App("srv", Node("srv-1", "127.0.0.1", 9), self.app), 1 << 20)
        http1: Any = SidecarSite(room, reactor, HTTPLimits())
        factory: Any = SwitchFactory(http1, lambda: room.grpc(reactor, 60.0))
        listening: Any = reactor
        self.port = listening.listenTCP(0, factory, interface="127.0.0.1")
        self.node = Node("srv-1", "127.0.0.1", self.port.getHost().port)
        self.mucp, self.grpc = MucpTransport(reactor, 1 << 20), GrpcTransport(reactor, 1 << 20)
        for transport in (self.mucp, self.grpc):
            transport.startService()
            self.addCleanup(transport.stopService)
        self.addCleanup(self.port.stopListening)

    async def test_hello(self) -> None:
        """The same app answers JSON-RPC and gRPC callers, protobuf callers too, on one port."""
        for transport in (self.mucp, self.grpc):
            for kind, payload in (("application/json", b'{"n":1}'), ("application/protobuf", b"\x08\x01")):
                reply = await transport.send(self.node, Call("srv", "Say.Hello", payload, kind), 30)
                self.assertEqual(reply, Reply(payload, kind))
        self.assertEqual({call.method for call in self.app.calls}, {"Say.Hello"})

    async def test_fault(self) -> None:
        """The app's error keeps code, id and detail in either dialect."""
        for transport in (self.mucp, self.grpc):
            error: Any = await self.assertFailure(transport.send(self.node, Call("srv", "Say.Fail"), 30), ServiceFault)
            self.assertEqual(error.fault, FAULT)

    async def test_debug_health(self) -> None:
        """Debug.Health is answered for the app, which is not asked."""
        for transport in (self.mucp, self.grpc):
            reply = await transport.send(self.node, Call("srv", "Debug.Health"), 30)
            self.assertEqual(json.loads(reply.body), {"status": "ok"})
        self.assertEqual(self.app.calls, [])


class Plain(TestCase):
    """Calls to apps that speak plain HTTP, over real sockets."""

    def setUp(self) -> None:
        self.page = Page()
        listening: Any = reactor
        self.port = listening.listenTCP(0, Site(self.page), interface="127.0.0.1")
        self.transport = PlainTransport(reactor, 1 << 20)
        self.transport.startService()
        self.addCleanup(self.port.stopListening)
        self.addCleanup(self.transport.stopService)

    def send(self, call: Call, **metadata: str) -> Deferred[Reply]:
        return self.transport.send(Node("a-1", "127.0.0.1", self.port.getHost().port, metadata), call, 30)

    async def test_path(self) -> None:
        """The method is the path, the payload the body, metadata the headers."""
        reply = await self.send(Call("srv", "Say.Hello", b'{"n":1}', metadata={"X-Foo": "bar"}))
        self.assertEqual(reply.body, b'{"n":1}')
        self.assertEqual(self.page.seen, (b"/Say/Hello", b"bar"))

    async def test_template(self) -> None:
        """Metadata ``path`` says where else calls go."""
        await self.send(Call("srv", "Say.Hello"), path="/api/{service}/{type}.{method}")
        self.assertEqual(self.page.seen[0], b"/api/srv/Say.Hello")

    async def test_status_is_code(self) -> None:
        """An answer that is not 2xx is the service's own error: its JSON as it is, or its words and status."""
        for body, fault in (
            (b"no such thing", Fault("srv", 404, "no such thing", "Not Found")),
            (b'{"id":"x","code":409,"detail":"taken","status":"Conflict"}', Fault("x", 409, "taken", "Conflict")),
        ):
            self.page.answer = (404, body)
            error: Any = await self.assertFailure(self.send(Call("srv", "Say.Hello")), ServiceFault)
            self.assertEqual(error.fault, fault)

    async def test_empty_and_text(self) -> None:
        """No body is ``null``, and words that are not JSON become a JSON string."""
        for body, result in ((b"", b"null"), (b"ok", b'"ok"')):
            self.page.answer = (200, body)
            self.assertEqual((await self.send(Call("srv", "Say.Hello"))).body, result)


class Page(Resource):
    """The app: tells what it was asked, and answers what it is told to, or the body it got."""

    isLeaf = True
    answer: tuple[int, bytes] | None = None
    seen: tuple[bytes, bytes] = (b"", b"")

    def render_POST(self, request: Any) -> bytes:
        self.seen = (request.uri, request.getHeader(b"x-foo") or b"")
        body: bytes = request.content.read()
        if self.answer is None:
            return body
        request.setResponseCode(self.answer[0])
        return self.answer[1]
