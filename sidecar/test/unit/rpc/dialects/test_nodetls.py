"""Calls by TLS to nodes of every dialect, over real sockets, and what is said of certificates that are no good."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from attrs import evolve
from twisted.internet import reactor
from twisted.internet.protocol import Factory
from twisted.trial.unittest import SynchronousTestCase

from sidecar.errors import ConnectFailed, ConnectionLost, NotSent
from sidecar.model import Call, Node
from sidecar.rpc.dialects.mucp import MucpTransport
from sidecar.rpc.dialects.nodetls import NodeTls
from sidecar.test.doubles.certificates import authority
from sidecar.test.doubles.tls import TlsFront, mute, trusting
from sidecar.test.unit.rpc import test_streams
from sidecar.test.unit.rpc.dialects import test_grpc, test_mucp, test_plainhttp

if TYPE_CHECKING:
    from sidecar.test.contracts.transport import TransportContract as _Base
    from sidecar.test.unit.rpc.test_streams import StreamsCase as _Streams
else:
    _Base = _Streams = object

HELLO = Call("foo", "Say.Hello", b'{"name":"John"}')
SECURE = {"secure": "true"}


class Judgement(SynchronousTestCase):
    """Which nodes are spoken to through TLS."""

    def judged(self, mode: Any, **metadata: str) -> str | None:
        return NodeTls(mode).name(Node("a-1", "10.0.0.1", 80, metadata))

    def test_auto(self) -> None:
        """Those whose metadata says ``secure=true`` or ``tls=true``, and no others."""
        for metadata in ({"secure": "true"}, {"tls": "true"}, {"secure": "TRUE", "protocol": "grpc"}):
            self.assertEqual(self.judged("auto", **metadata), "10.0.0.1")
        for metadata in ({}, {"secure": "false"}, {"tls": ""}, {"tls_name": "a.example"}, {"transport": "http"}):
            self.assertIsNone(self.judged("auto", **metadata))

    def test_named(self) -> None:
        """``tls_name`` says whose certificate it shows."""
        self.assertEqual(self.judged("auto", tls="true", tls_name="a.example"), "a.example")

    def test_always_and_never(self) -> None:
        """``require`` has every node speak TLS, ``off`` none."""
        self.assertEqual(self.judged("require"), "10.0.0.1")
        self.assertEqual(self.judged("require", tls_name="a.example"), "a.example")
        self.assertIsNone(self.judged("off", secure="true"))


class Secure(_Base):
    """Has a node speak TLS, and its transport trust it."""

    def setUp(self) -> None:
        super().setUp()
        signer = authority(_home(self))
        self.chain = signer.issue("server")
        self.trust = trusting(signer)

    def make_transport(self, max_body: int) -> Any:
        made: Any = super().make_transport(max_body)
        made._tls.use("auto", self.trust)
        made._times.most = 30.0  # many handshakes at once take a busy machine a while
        return made

    async def make_node(self) -> Node:
        node = await super().make_node()
        self.front = TlsFront(reactor, node.port, *self.chain)
        self.addCleanup(self.front.stop)
        return Node(node.id, node.address, self.front.port, {**node.metadata, "secure": "true"})

    async def test_agreed(self) -> None:
        """Both agree on what is spoken."""
        transport, node = self.make_transport(1 << 20), await self.make_node()
        await self.send(transport, node, HELLO)
        wanted = b"h2" if node.metadata.get("protocol") == "grpc" else b"http/1.1"
        self.assertEqual(self.front.agreed, [wanted])
        self.assertEqual(self.front.asked, [None], "an address is no name to ask for")

    async def test_named(self) -> None:
        """The name to look for is asked for, and a server that speaks no ALPN is taken at its word."""
        transport, node = self.make_transport(1 << 20), await self.make_node()
        front = TlsFront(reactor, (await super().make_node()).port, *self.chain, protocols=())
        self.addCleanup(front.stop)
        named = evolve(node, port=front.port, metadata={**node.metadata, "tls_name": "localhost"})
        await self.send(transport, named, HELLO)
        self.assertEqual((front.asked, front.agreed), (["localhost"], [None]))


class Mucp(Secure, test_mucp.Mucp):  # type: ignore[misc]  # its transports take more settings
    """Every transport's promises, by TLS to a server that speaks go-micro's own protocol."""


class PlainHttp(Secure, test_plainhttp.PlainHttp):
    """The same to an app that speaks plain HTTP."""


class Grpc(Secure, test_grpc.Contract):
    """The same to a server that speaks gRPC."""


class SecureStreams(_Streams):
    """Has a node that streams are opened to speak TLS."""

    def setUp(self) -> None:
        super().setUp()
        signer = authority(_home(self))
        self.chain = signer.issue("server")
        self.tls = NodeTls("auto", trusting(signer))

    def listen(self, server: Any, **metadata: str) -> Node:
        node = super().listen(server, **metadata)
        front = TlsFront(reactor, node.port, *self.chain)
        self.addCleanup(front.stop)
        return evolve(node, port=front.port, metadata={**node.metadata, "secure": "true"})


class MucpStreams(SecureStreams, test_streams.Mucp):
    """What streams in go-micro's own protocol promise, by TLS."""


class GrpcStreams(SecureStreams, test_streams.Grpc):
    """What streams in gRPC promise, by TLS."""


class Faults(test_mucp.MucpCase):
    """What is wrong with a certificate is told in words, and the request was not sent."""

    def setUp(self) -> None:
        self.home = _home(self)
        self.signer = authority(self.home)

    def make(self, credentials: Any = None, **settings: Any) -> MucpTransport:
        return self.make_transport(1 << 20, tls=NodeTls("auto", credentials or trusting(self.signer)), **settings)

    async def front(self, chain: str, key: str, **settings: Any) -> Node:
        node = (await self.make_service()).node()
        front = TlsFront(reactor, node.port, chain, key, **settings)
        self.addCleanup(front.stop)
        return Node("foo-1", "127.0.0.1", front.port, SECURE)

    async def told(self, node: Node, **settings: Any) -> str:
        error = await self.failing(self.send(self.make(**settings), node, HELLO), ConnectFailed)
        if hasattr(self, "service"):
            self.assertEqual(self.service.heard, [], "nothing may be sent")
        return str(error)

    async def test_expired(self) -> None:
        """A certificate that expired, and when."""
        self.assertRegex(await self.told(await self.front(*self.signer.issue("old", -1))), r"expired on 20..-..-.. ..:")

    async def test_stranger(self) -> None:
        """A certificate of somebody whom we do not trust, by name, and the flag that names whom to trust."""
        other = authority(_home(self))
        told = await self.told(await self.front(*other.issue("server")))
        self.assertIn("CN=Test authority", told)
        self.assertIn("--rpc_tls_ca_file", told)

    async def test_name(self) -> None:
        """A certificate that is for another name, and which names it has."""
        node = await self.front(*self.signer.issue("server"))
        told = await self.told(evolve(node, metadata={**SECURE, "tls_name": "pay.example"}))
        self.assertIn("for localhost, 127.0.0.1, not for pay.example", told)

    async def test_plain(self) -> None:
        """A node that does not speak TLS."""
        port = self.reactor.listenTCP(0, Factory.forProtocol(test_grpc._Http1), interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        told = await self.told(Node("foo-1", "127.0.0.1", port.getHost().port, SECURE))
        self.assertIn("does not speak TLS", told)

    async def test_silent(self) -> None:
        """A node that takes the connection and never answers the handshake is given up as one that does not connect."""
        port = self.reactor.listenTCP(0, mute(), interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        node = Node("foo-1", "127.0.0.1", port.getHost().port, SECURE)
        self.assertIn("did not shake hands for TLS", await self.told(node, connect_timeout=0.3))

    async def test_our_certificate(self) -> None:
        """A node that asks for a certificate takes ours, and the fault of not having one is told."""
        node = await self.front(*self.signer.issue("server"), client_ca=self.signer.ca_file)
        own = trusting(self.signer, *self.signer.issue("client"))
        await self.send(self.make(own), node, HELLO)
        self.service.heard.clear()
        error = await self.failing(self.send(self.make(), node, HELLO), ConnectFailed, NotSent, ConnectionLost)
        if not isinstance(error, ConnectionLost):  # a reset can overtake the reason
            self.assertIn("--rpc_tls_cert_file", str(error))

    async def test_changed(self) -> None:
        """What is trusted can change: connections that are open stay, and new ones are judged by the new."""
        node = await self.front(*self.signer.issue("server"))
        transport = self.make(trusting(authority(_home(self))))
        await self.failing(self.send(transport, node, HELLO), ConnectFailed)
        transport._tls.use("auto", trusting(self.signer))
        await self.send(transport, node, HELLO)
        transport._tls.use("auto", trusting(authority(_home(self))))
        await self.send(transport, node, HELLO)


def _home(case: Any) -> Path:
    home = Path(case.mktemp())
    home.mkdir()
    return home
