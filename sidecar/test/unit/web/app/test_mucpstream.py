"""Streams of callers in go-micro's protocol and gRPC, over real sockets, to an app that serves WebSockets."""

from __future__ import annotations

from typing import Any

from autobahn.twisted.websocket import WebSocketServerFactory, WebSocketServerProtocol
from twisted.internet import reactor as installed
from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase
from zope.interface import implementer

from sidecar.errors import ServiceFault, SidecarError
from sidecar.interfaces import IStreamListener, IStreamTransport
from sidecar.model import Call, Node
from sidecar.net.http.limits import HTTPLimits
from sidecar.net.http2.switch import SwitchFactory
from sidecar.rpc.dialects.bynode import DeferredTransport
from sidecar.rpc.dialects.grpc import GrpcTransport
from sidecar.rpc.dialects.grpcstream import GrpcStreams
from sidecar.rpc.dialects.mucpstream import MucpStreams
from sidecar.rpc.dialects.plainhttp import PlainHttpTransport
from sidecar.web.app.app import App
from sidecar.web.appserver import AppServerResource
from sidecar.web.site import SidecarSite
from sidecar.websocket.sockets import LateStreams

reactor: Any = installed


class Echo(WebSocketServerProtocol):
    """An app: says each message again, and ends after the second. ``/Say/Fail`` ends with an error."""

    count = 0

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        self.count += 1
        path: Any = self.http_request_path
        if path == "/Say/Fail":
            self.sendClose(4409, "taken")
            return
        self.sendMessage(payload, isBinary)
        if self.count == 2:
            self.sendClose(1000)


@implementer(IStreamListener)
class Hearing:
    """:ivar over: fires with all that came, and how it ended."""

    def __init__(self) -> None:
        self.heard: list[bytes] = []
        self.over: Deferred[tuple[list[bytes], SidecarError | None]] = Deferred()

    def message(self, payload: bytes) -> None:
        self.heard.append(payload.strip())

    def stream_ended(self) -> None:
        self.over.callback((self.heard, None))

    def failed(self, error: SidecarError) -> None:
        self.over.callback((self.heard, error))


class OverSockets(TestCase):
    def setUp(self) -> None:
        app = WebSocketServerFactory()
        app.protocol = Echo
        port = reactor.listenTCP(0, app, interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        plain = PlainHttpTransport(reactor, 1 << 20)
        plain.startService()
        self.addCleanup(plain.stopService)
        behind = Node("srv-1", "127.0.0.1", port.getHost().port)
        streams = LateStreams(reactor, 1 << 20)
        served = App("srv", behind, DeferredTransport(plain, reactor), streams=streams)
        resource = AppServerResource(served, 1 << 20)
        site: Any = SidecarSite(resource, reactor, HTTPLimits())
        inbound = reactor.listenTCP(0, SwitchFactory(site, lambda: resource.grpc(site)), interface="127.0.0.1")
        self.addCleanup(inbound.stopListening)
        self.node = Node("srv-1", "127.0.0.1", inbound.getHost().port)
        grpc = GrpcTransport(reactor, 1 << 20)
        grpc.startService()
        self.addCleanup(grpc.stopService)
        self.transports: dict[str, IStreamTransport] = {
            "mucp": MucpStreams(reactor, 1 << 20, "test"),
            "grpc": GrpcStreams(grpc),
        }

    async def test_echo(self) -> None:
        """Each message is a frame to the app and each of its frames a message, and its end is the stream's."""
        for name, transport in self.transports.items():
            hearing = Hearing()
            stream = await transport.open(self.node, Call("srv", "Say.Stream"), hearing)
            for payload in (b'{"n":1}', b'{"n":2}'):
                stream.send(payload)
            self.assertEqual(await hearing.over, ([b'{"n":1}', b'{"n":2}'], None), name)
            stream.close()

    async def test_error(self) -> None:
        """The app's close code and reason are its error."""
        for name, transport in self.transports.items():
            hearing = Hearing()
            stream = await transport.open(self.node, Call("srv", "Say.Fail"), hearing)
            stream.send(b"{}")
            stream.send(b"{}")
            _, error = await hearing.over
            assert isinstance(error, ServiceFault), name
            self.assertEqual((error.fault.code, error.fault.detail), (409, "taken"), name)
            stream.close()
