"""Calls to apps that speak plain HTTP, over real sockets."""

from __future__ import annotations

import json
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Site

from sidecar.errors import ServiceFault
from sidecar.model import Call, Fault, Node, Outcome, Reply
from sidecar.rpc.attempts import outcome_of
from sidecar.rpc.dialects.bynode import Dialects
from sidecar.rpc.dialects.plainhttp import PlainHttpTransport
from sidecar.test.contracts.transport import Speaking, TransportContract


class Page(Resource):
    """The app: tells what it was asked, and answers what it is told to, or the body it got."""

    isLeaf = True
    answer: tuple[int, bytes] | None = None
    seen: tuple[bytes, bytes] = (b"", b"")
    agents: list[str] | None = None

    def render_POST(self, request: Any) -> bytes | int:
        self.seen = (request.uri, request.getHeader(b"x-foo") or b"")
        self.agents = request.requestHeaders.getRawHeaders("User-Agent")
        body: bytes = request.content.read()
        if self.answer is not None:
            request.setResponseCode(self.answer[0])
            return self.answer[1]
        return self.usual(request, request.uri, body)

    def render_GET(self, request: Any) -> bytes:
        return b"GET " + bytes(request.uri)

    def usual(self, request: Any, path: bytes, body: bytes) -> bytes | int:
        """What the transport contract has a node do."""
        if path == b"/Say/Hello":
            return json.dumps({"msg": f"Hello {json.loads(body).get('name', '')}"}).encode()
        if path == b"/Say/Meta":
            headers = {name.decode(): values[0].decode() for name, values in request.requestHeaders.getAllRawHeaders()}
            return json.dumps(headers).encode()
        if path == b"/Say/Fail":
            request.setResponseCode(400)
            return b"bad John"
        if path == b"/Say/Close":
            request.transport.abortConnection()
            return NOT_DONE_YET
        return NOT_DONE_YET if path == b"/Say/Hang" else body


class PlainCase(Speaking, TestCase):
    def setUp(self) -> None:
        self.page = Page()
        self.port = self.reactor.listenTCP(0, Site(self.page), interface="127.0.0.1")
        self.addCleanup(self.port.stopListening)

    def make_transport(self, max_body: int) -> PlainHttpTransport:
        made = PlainHttpTransport(reactor, max_body)
        made.startService()
        self.addCleanup(made.stopService)
        return made

    async def make_node(self) -> Node:
        return Node("a-1", "127.0.0.1", self.port.getHost().port, {"protocol": "http"})


class PlainHttp(PlainCase, TransportContract):
    """Every transport's promises."""


class Plain(PlainCase):
    def post(self, call: Call, **metadata: str) -> Deferred[Reply]:
        node = Node("a-1", "127.0.0.1", self.port.getHost().port, metadata)
        return self.send(self.make_transport(1 << 20), node, call)

    async def test_path(self) -> None:
        """The method is the path, the payload the body, metadata the headers."""
        reply = await self.post(Call("srv", "Say.Echo", b'{"n":1}', metadata={"X-Foo": "bar"}))
        self.assertEqual(reply.body, b'{"n":1}')
        self.assertEqual(self.page.seen, (b"/Say/Echo", b"bar"))

    async def test_template(self) -> None:
        """Metadata ``path`` says where else calls go."""
        await self.post(Call("srv", "Say.Hello"), path="/api/{service}/{type}.{method}")
        self.assertEqual(self.page.seen[0], b"/api/srv/Say.Hello")

    async def test_status_is_code(self) -> None:
        """An answer that is not 2xx is the service's own error: its JSON as it is, or its words and status."""
        for body, fault in (
            (b"no such thing", Fault("srv", 404, "no such thing", "Not Found")),
            (b'{"id":"x","code":409,"detail":"taken","status":"Conflict"}', Fault("x", 409, "taken", "Conflict")),
        ):
            self.page.answer = (404, body)
            error: Any = await self.failing(self.post(Call("srv", "Say.Hello")), ServiceFault)
            self.assertEqual(error.fault, fault)

    async def test_by_path(self) -> None:
        """A service of go-micro's HTTP server plugin is called by path, as Go's client does."""
        for metadata in ({"server": "http", "protocol": "http"}, {"server": "http"}):
            node = Node("a-1", "127.0.0.1", self.port.getHost().port, metadata)
            plain, mucp = self.make_transport(1 << 20), self.make_transport(1)
            transport = Dialects(mucp, {"http": plain})
            for method in ("/user/login", "user/login"):
                await self.send(transport, node, Call("srv", method, b'{"n":1}'))
                self.assertEqual(self.page.seen[0], b"/user/login")
            await self.send(transport, node, Call("srv", "/a%20b/ü?x=1", b"{}"))
            self.assertEqual(self.page.seen[0], b"/a%20b/%C3%BC?x=1")
            reply = await self.send(transport, node, Call("srv", "/user", b'{"n":[1,2]}', verb="GET"))
            self.assertEqual(reply.body, b'"GET /user?n=1&n=2"')

    async def test_one_user_agent(self) -> None:
        """The caller's own goes along in place of ours: strict servers refuse a header that comes twice."""
        for metadata, told in (({"User-agent": "curl/8"}, ["curl/8"]), ({}, ["microsidecar"])):
            await self.post(Call("srv", "Say.Echo", b"{}", metadata=metadata))
            self.assertEqual(self.page.agents, told)

    async def test_outcome(self) -> None:
        """A 5xx in go-micro's form is the service's error, one of other words may be a proxy's."""
        envelope = b'{"id":"x","code":503,"detail":"later","status":"Service Unavailable"}'
        cases = ((400, b"no", Outcome.FAULT), (503, envelope, Outcome.FAULT), (503, b"<html>", Outcome.BROKEN))
        for status, body, outcome in cases:
            self.page.answer = (status, body)
            error: Any = await self.failing(self.post(Call("srv", "Say.Hello")), ServiceFault)
            self.assertIs(outcome_of(error), outcome)

    async def test_byte_order_mark(self) -> None:
        """JSON behind a byte order mark is JSON, in a reply and in a fault, and the mark is not passed on."""
        self.page.answer = (200, b'\xef\xbb\xbf{"a":1}')
        self.assertEqual((await self.post(Call("srv", "Say.Hello"))).body, b'{"a":1}')
        self.page.answer = (409, b'\xef\xbb\xbf{"id":"x","code":409,"detail":"taken","status":"Conflict"}')
        error: Any = await self.failing(self.post(Call("srv", "Say.Hello")), ServiceFault)
        self.assertEqual(error.fault, Fault("x", 409, "taken", "Conflict"))

    async def test_empty_and_text(self) -> None:
        """No body is ``null``, and words that are not JSON become a JSON string."""
        for body, result in ((b"", b"null"), (b"ok", b'"ok"')):
            self.page.answer = (200, body)
            self.assertEqual((await self.post(Call("srv", "Say.Hello"))).body, result)
