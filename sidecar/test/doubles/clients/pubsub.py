"""``/broker`` over a transport in memory, and clients that may do anything to it."""

from __future__ import annotations

import json
from typing import Any

from attrs import define, field
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, fail
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransportWithDisconnection
from twisted.trial.unittest import SynchronousTestCase

from sidecar.broker.memory import MemoryBroker
from sidecar.errors import EngineUnavailable
from sidecar.interfaces import IBroker
from sidecar.model import Caller, Message
from sidecar.net.http.limits import HTTPLimits
from sidecar.pubsub.outbox import OutboxLimits
from sidecar.test.doubles.clients.websocket import CLOSE, TEXT, Reader, client_frame, handshake
from sidecar.web.broker import BrokerResource
from sidecar.web.cors import CorsPolicy
from sidecar.web.site import SidecarSite
from sidecar.web.tree import RootResource
from sidecar.websocket.sessions.pubsub import PubSubSessions
from sidecar.websocket.sockets import WebSockets

#: Bytes of the largest message.
MAX = 1000


class Transport(StringTransportWithDisconnection):
    """In memory; it can be told to stay open after ``loseConnection``, as one does whose peer does not read."""

    stubborn = False
    aborted = False

    def loseConnection(self) -> None:
        if not self.stubborn:
            super().loseConnection()

    def abortConnection(self) -> None:
        self.aborted = True
        if self.connected:
            super().loseConnection()

    def unregisterProducer(self) -> None:
        self.producer = None  # as TCP does: it is no error where there is none

    def setTcpNoDelay(self, on: bool) -> None:
        self.no_delay = on


@define(eq=False)
class Client:
    """A client on a connection of its own. :ivar reader: what the server said."""

    transport: Transport
    reader: Reader = field(factory=Reader)

    def send(self, data: bytes) -> None:
        self.transport.protocol.dataReceived(data)

    def say(self, payload: bytes | str, opcode: int = TEXT, **how: Any) -> None:
        self.send(client_frame(payload, opcode, **how))

    def read(self) -> Reader:
        self.reader.feed(self.transport.value())
        self.transport.clear()
        return self.reader

    def leave(self) -> None:
        """Go without a word."""
        self.transport.abortConnection()

    @property
    def open(self) -> bool:
        return bool(self.transport.connected)


def connected(site: SidecarSite, data: bytes) -> Client:
    """A client that sent ``data`` and read what is answered at once."""
    address = IPv4Address("TCP", "127.0.0.1", 12345)
    transport = Transport(peerAddress=address)
    channel: Any = site.buildProtocol(address)
    transport.protocol = channel
    channel.makeConnection(transport)
    client = Client(transport)
    client.send(data)
    client.read()
    return client


class BrokerCase(SynchronousTestCase):
    channel = "fast"

    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(1_000_000)
        self.memory = MemoryBroker(self.clock)
        self.memory.startService()
        self.serve(self.memory)

    def serve(
        self,
        broker: IBroker,
        limits: OutboxLimits | None = None,
        allowed: tuple[str, ...] = (),
        max_connections: int = 100,
        max_incomplete: int = 1_000_000,
    ) -> None:
        self.sockets = WebSockets(
            self.clock, max_message=MAX, max_connections=max_connections, max_incomplete=max_incomplete
        )
        self.sockets.startService()
        self.pubsub = PubSubSessions(broker, self.clock, self.sockets, limits)
        cors = CorsPolicy(allowed)
        resource = BrokerResource(broker, self.pubsub, cors, MAX)
        self.site = SidecarSite(
            RootResource({"/broker": resource}, cors),
            self.clock,
            HTTPLimits(),
            self.channel,  # type: ignore[arg-type]  # one of the two names
        )

    def connect(self, target: str = "/broker?topic=t", **fields: str) -> Client:
        return self.request(handshake(target, **fields))

    def request(self, data: bytes) -> Client:
        return connected(self.site, data)

    def joined(self, target: str = "/broker?topic=t", **fields: str) -> Client:
        client = self.connect(target, **fields)
        self.assertEqual(client.reader.status, 101, client.reader.body)
        return client

    def refused(self, status: int, *words: str, client: Client) -> dict[str, Any]:
        reader = client.read()
        self.assertEqual(reader.status, status)
        fault: dict[str, Any] = json.loads(reader.body)
        self.assertEqual((list(fault), fault["code"]), (["id", "code", "detail", "status"], status))
        for word in words:
            self.assertIn(word, fault["detail"])
        return fault

    def post(self, target: str, body: bytes, *fields: str) -> Client:
        lines = "".join(line + "\r\n" for line in ("Host: localhost", f"Content-Length: {len(body)}", *fields))
        return self.request(f"POST {target} HTTP/1.1\r\n{lines}\r\n".encode() + body)

    def turn(self) -> None:
        self.clock.pump([0, 0, 0])

    def closed(self, code: int, *data: bytes) -> Client:
        """A client that sends ``data`` is closed with ``code``, and gone once it has answered."""
        client = self.joined()
        for piece in data:
            client.send(piece)
        self.assertEqual(client.read().closed, code, data)
        if client.open:
            client.say(client.reader.frames[-1][1], CLOSE)
        self.assertFalse(client.open, "still connected after the closing handshake")
        self.assertEqual(self.sockets.connections, 0)
        return client


class SulkingBroker(MemoryBroker):
    """Subscribes when the test says so, and publishes nothing."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock)
        self.asked: list[Deferred[Any]] = []

    def subscribe(self, topic: str, deliver: Any, queue: str | None, caller: Caller) -> Deferred[Any]:
        self.asked.append(Deferred())
        return self.asked[-1]

    def publish(self, topic: str, message: Message, caller: Caller) -> Deferred[None]:
        return fail(EngineUnavailable("the broker sulks"))
