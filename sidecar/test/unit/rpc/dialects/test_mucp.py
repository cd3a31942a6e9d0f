"""go-micro's own protocol, spoken to services of every generation over real sockets."""

from __future__ import annotations

import json
from typing import Any

from twisted.internet import reactor
from twisted.internet.error import ConnectionDone
from twisted.internet.protocol import Factory, Protocol
from twisted.trial.unittest import SynchronousTestCase, TestCase

from sidecar.errors import BadAnswer, BadRequest, ConnectionLost, Overloaded, ServiceFault
from sidecar.model import Call, Fault, Node
from sidecar.rpc.dialects.mucp import MucpTransport
from sidecar.test.contracts.transport import PATIENCE, Speaking, TransportContract
from sidecar.test.doubles.servers.micro import MicroService, Style
from sidecar.wire.mucp import request

HELLO = Call("foo", "Say.Hello", b'{"name":"John"}')


class MucpCase(Speaking, TestCase):
    style: Style = "v1.9"

    def make_transport(self, max_body: int, **settings: Any) -> MucpTransport:
        transport = MucpTransport(reactor, max_body, **settings)
        transport.startService()
        self.addCleanup(transport.stopService)
        return transport

    async def make_service(self) -> MicroService:
        self.service = MicroService(style=self.style)
        self.service.listen(reactor)
        self.addCleanup(self.service.stop)
        return self.service

    async def make_node(self) -> Node:
        return (await self.make_service()).node()

    def open_connections(self) -> int:
        return len(self.service.open)


class Mucp(MucpCase, TransportContract):
    """Every transport's promises, before a server of late 2019 or newer."""


class MucpOf2016(Mucp):
    """The same before a server of 2016 to 2018."""

    style: Style = "g1"

    async def test_lean(self) -> None:
        """After its first good answer it is spared the headers that it does not read; the caller's still go along."""
        transport, node = self.make_transport(1 << 20), await self.make_node()
        for _ in range(2):
            await self.send(transport, node, Call("foo", "Say.Hello", b"{}", metadata={"X-Foo": "bar"}), PATIENCE)
        full, lean = (set(heard.headers) for heard in self.service.heard)
        self.assertIn("Micro-Service", full)
        self.assertEqual(lean, {"Host", "Content-Type", "Content-Length", "Timeout", "X-Foo"})
        self.assertEqual(json.loads(self.service.heard[1].body)["method"], "Say.Hello")

    async def test_lookalike(self) -> None:
        """An app that gives the numeric id back and copies no headers is none of those: it keeps its Micro headers."""
        transport, node = self.make_transport(1 << 20), await self.make_node()
        self.service.copies = False
        for _ in range(4):
            await self.send(transport, node, HELLO)
        for heard in self.service.heard:
            self.assertEqual(heard.headers["Micro-Service"], "foo")
            self.assertEqual(heard.headers["Micro-Endpoint"], "Say.Hello")
            self.assertEqual(heard.headers["Micro-Id"], heard.headers["Micro-Stream"])

    async def test_replaced(self) -> None:
        """A newer server at the same address gets the headers again from its second call on at the latest."""
        transport, node = self.make_transport(1 << 20), await self.make_node()
        await self.send(transport, node, HELLO, PATIENCE)
        self.service.style = "v1.9"
        await self.send(transport, node, HELLO, PATIENCE)
        await self.send(transport, node, HELLO, PATIENCE)
        self.assertIn("Micro-Stream", self.service.heard[2].headers)

    async def test_forgotten(self) -> None:
        """What was learned goes with the last connection: a restarted node is met as a stranger."""
        transport, node = self.make_transport(1 << 20), await self.make_node()
        await self.send(transport, node, HELLO, PATIENCE)
        for conversation in list(self.service.open):
            conversation.transport.abortConnection()
        while transport.connections:
            await self.pause(0.01)
        await self.send(transport, node, HELLO, PATIENCE)
        self.assertIn("Micro-Service", self.service.heard[1].headers)


class MucpOf2019(Mucp):
    """The same before a server of early 2019, which closes after every error."""

    style: Style = "v1.0"


class MucpOfJanuary2019(Mucp):
    """The same before a server of the three releases between."""

    style: Style = "v0.20"


class Requests(MucpCase):
    """The request, header by header."""

    async def test_headers(self) -> None:
        """Every header that some generation needs is there, once."""
        transport, node = self.make_transport(1 << 20), await self.make_node()
        await self.send(transport, node, Call("foo", "Say.Hello", b'{"name":"John"}', metadata={"X-Foo": "bar"}), 7.5)
        heard = self.service.heard[0]
        headers = dict(heard.headers)
        id = headers.pop("Micro-Id")
        self.assertEqual({headers.pop(name) for name in ("X-Micro-Id", "Micro-Stream")}, {id})
        timeout = int(headers.pop("Timeout"))
        self.assertTrue(7_000_000_000 < timeout <= 7_500_000_000, timeout)
        self.assertEqual(
            headers,
            {
                "Host": node.hostport,
                "Content-Type": "application/json-rpc",
                "Accept": "application/json-rpc",
                "Content-Length": str(len(heard.body)),
                "Micro-Service": "foo",
                "X-Micro-Service": "foo",
                "Micro-Method": "Say.Hello",
                "X-Micro-Method": "Say.Hello",
                "Micro-Endpoint": "Say.Hello",
                "X-Micro-Endpoint": "Say.Hello",
                "X-Foo": "bar",
            },
        )
        self.assertRegex(heard.body, rb'^\{"method":"Say.Hello","params":\[\{"name":"John"\}\],"id":[0-9]+\}$')

    async def test_ids(self) -> None:
        """No two calls share an id, over all connections and transports, and connections are used again."""
        node = await self.make_node()
        for _ in range(2):
            transport = self.make_transport(1 << 20)
            for _ in range(50):
                await self.send(transport, node, HELLO, PATIENCE)
        ids = [heard.headers["Micro-Stream"] for heard in self.service.heard]
        self.assertEqual(len(set(ids)), 100)
        self.assertEqual(self.service.opened, 2)

    async def test_dropped_after_an_error(self) -> None:
        """After an error of the service, a timeout or a cancelled call the connection is not used again."""
        transport, node = self.make_transport(1 << 20), await self.make_node()
        await self.failing(self.send(transport, node, Call("foo", "Say.Fail"), PATIENCE), ServiceFault)
        await self.send(transport, node, HELLO, PATIENCE)
        self.assertEqual([heard.connection for heard in self.service.heard], [1, 2])
        self.send(transport, node, Call("foo", "Say.Hang"), PATIENCE).addErrback(lambda _: None).cancel()
        while self.open_connections():
            await self.pause(0.01)
        await self.send(transport, node, HELLO, PATIENCE)
        self.assertEqual(self.service.heard[-1].connection, 3)

    async def test_router_errors(self) -> None:
        """Bare words of the router are the error."""
        transport, node = self.make_transport(1 << 20), await self.make_node()
        for method, words in (("Say.Nope", "rpc: can't find method Nope"), ("No.Hello", "rpc: can't find service No")):
            error = await self.failing(self.send(transport, node, Call("foo", method), PATIENCE), ServiceFault)
            self.assertEqual(error.fault, Fault("", 0, words, ""))

    async def test_overloaded(self) -> None:
        """When every connection is busy and enough calls wait, the next one is refused at once."""
        transport = self.make_transport(1 << 20, pool_size=1, max_waiting=1)
        node = await self.make_node()
        held = [self.send(transport, node, Call("foo", "Say.Hang"), PATIENCE)]
        while not self.service.heard:
            await self.pause(0.01)
        held.append(self.send(transport, node, HELLO, PATIENCE))
        await self.failing(self.send(transport, node, HELLO, PATIENCE), Overloaded)
        for sent in held:
            sent.addErrback(lambda _: None).cancel()

    async def test_waits_its_turn(self) -> None:
        """With one connection all calls are answered, one after the other."""
        transport = self.make_transport(1 << 20, pool_size=1)
        node = await self.make_node()
        for sent in [self.send(transport, node, HELLO, PATIENCE) for _ in range(20)]:
            await sent
        self.assertEqual(self.service.opened, 1)

    async def test_stop(self) -> None:
        """Stopping closes every connection, and those who wait are told."""
        transport, node = self.make_transport(1 << 20), await self.make_node()
        await self.send(transport, node, HELLO, PATIENCE)
        await transport.stopService()
        self.assertEqual(transport.connections, 0)

    async def test_stop_is_a_goodbye(self) -> None:
        """Idle connections are closed in order, not reset: a reset stands in a server's log as an error."""
        transport, node = self.make_transport(1 << 20), await self.make_node()
        await self.send(transport, node, HELLO)
        await transport.stopService()
        while self.service.open:
            await self.pause(0.01)
        self.assertEqual([reason.type for reason in self.service.ends], [ConnectionDone])

    async def test_restarted(self) -> None:
        """A node that was restarted while its connection idled does not surface as an error."""
        transport = self.make_transport(1 << 20)
        node = await self.make_node()
        await self.send(transport, node, HELLO, PATIENCE)
        port = self.service.port
        await self.service.stop()
        self.service = MicroService()
        self.service.listen(reactor, port)
        self.addCleanup(self.service.stop)
        await self.pause(0.05)
        await self.send(transport, node, HELLO, PATIENCE)


class Recorded(MucpCase):
    """Answers that no double of ours would give."""

    async def answer(self, text: bytes, close: bool = False) -> Any:
        """What a call comes to when the node answers these bytes."""

        class Canned(Protocol):
            def dataReceived(self, data: bytes) -> None:
                assert self.transport is not None
                self.transport.write(text)
                if close:
                    self.transport.loseConnection()

        factory = Factory.forProtocol(Canned)
        factory.noisy = False
        port: Any = self.reactor.listenTCP(0, factory, interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        transport = self.make_transport(1 << 20)
        node = Node("foo-1", "127.0.0.1", port.getHost().port)
        try:
            return (await self.send(transport, node, HELLO, PATIENCE)).body
        except (BadAnswer, ConnectionLost, ServiceFault) as error:
            return error

    async def test_unsupported(self) -> None:
        """A server that does not know the content type says so in plain text, and closes or not."""
        text = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 27\r\n\r\nUnsupported Content-Type: x\n"
        for close in (True, False):
            error = await self.answer(text[:-1], close)
            self.assertIsInstance(error, ServiceFault)
            self.assertEqual(error.fault.detail, "Unsupported Content-Type: x")

    async def test_not_200(self) -> None:
        """Another status than 200 is told as go-micro's clients tell it."""
        error = await self.answer(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 4\r\n\r\noops")
        self.assertEqual(error.fault.detail, "502 Bad Gateway: oops")
        self.assertEqual((error.fault.code, error.fault.id), (500, "go.micro.client.transport"))

    async def test_other_protocols(self) -> None:
        """A peer that speaks something else is a bad answer, not a hang."""
        self.assertIsInstance(
            await self.answer(b"\x00\x00\x06\x04\x00\x00\x00\x00\x00\x00\x05\x00\x00\x40\x00"), BadAnswer
        )
        self.assertIsInstance(await self.answer(b"SSH-2.0-OpenSSH_9\r\n"), BadAnswer)

    async def test_silence(self) -> None:
        """A server of 2016 closes without a word when it cannot decode."""
        self.assertIsInstance(await self.answer(b"", close=True), ConnectionLost)

    async def test_empty(self) -> None:
        """An empty 200, as gRPC servers give to strangers, is no answer."""
        self.assertIsInstance(await self.answer(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"), BadAnswer)


class Templates(SynchronousTestCase):
    """Requests with holes."""

    def test_percent(self) -> None:
        """A percent sign in a name is no hole."""
        template = request.template(b"h:1", "a%b", "C%d.%", "application/json", b"p-", False)
        data = template.fill(7, b"7", 1.0, b"X-Foo: 100%\r\n", b'"%b%d"')
        self.assertIn(b"Micro-Service: a%b\r\n", data)
        self.assertTrue(data.endswith(b'{"method":"C%d.%","params":["%b%d"],"id":7}'), data)
        head, _, body = data.partition(b"\r\n\r\n")
        self.assertIn(b"Content-Length: %d\r\n" % len(body), head)
        self.assertIn(b"X-Foo: 100%", head)

    def test_length(self) -> None:
        """The length is right for every dialect, id and payload."""
        for content_type in ("application/json", "application/protobuf"):
            for lean in (True, False):
                template = request.template(b"h:1", "foo", "Say.Hello", content_type, b"p-", lean)
                for number in (1, 10**12):
                    for payload in (b"{}", "é".encode(), b"x" * 70_000):
                        data = template.fill(number, b"%d" % number, 1.0, b"", payload)
                        head, _, body = data.partition(b"\r\n\r\n")
                        self.assertIn(b"Content-Length: %d\r\n" % len(body), head + b"\r\n")

    def test_no_injection(self) -> None:
        """A name cannot make a header."""
        for service, method in (("foo\r\nMicro-Topic: x", "A.B"), ("foo", "A.B\nX: y"), ("foo\0", "A.B")):
            self.assertRaises(BadRequest, request.template, b"h:1", service, method, "application/json", b"", False)
