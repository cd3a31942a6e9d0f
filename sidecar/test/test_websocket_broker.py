"""``/broker`` from the first byte of the handshake to the last of the goodbye, over a transport in memory."""

from __future__ import annotations

import json
from base64 import b64decode
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
from sidecar.model import Message
from sidecar.net.limits import HTTPLimits
from sidecar.pubsub.outbox import Bounds
from sidecar.test.doubles.wsclient import BINARY, CLOSE, PING, PONG, TEXT, Reader, client_frame, handshake
from sidecar.web.broker import BrokerRoom
from sidecar.web.cors import CorsPolicy
from sidecar.web.site import SidecarSite
from sidecar.web.tree import Tree
from sidecar.websocket import protocol
from sidecar.websocket.factory import SUBSCRIBE_PATIENCE, PubSubFactory
from sidecar.websocket.sockets import GOODBYE, WebSockets

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
        bounds: Bounds | None = None,
        allowed: tuple[str, ...] = (),
        max_connections: int = 100,
    ) -> None:
        self.sockets = WebSockets(self.clock, max_message=MAX, max_connections=max_connections)
        self.sockets.startService()
        self.pubsub = PubSubFactory(broker, self.clock, self.sockets, bounds)
        cors = CorsPolicy(allowed)
        room = BrokerRoom(broker, self.pubsub, cors, MAX)
        self.site = SidecarSite(
            Tree({"/broker": room}, cors),
            self.clock,
            HTTPLimits(),
            self.channel,  # type: ignore[arg-type]  # one of the two names
        )

    def connect(self, target: str = "/broker?topic=t", **fields: str) -> Client:
        return self.request(handshake(target, **fields))

    def request(self, data: bytes) -> Client:
        address = IPv4Address("TCP", "127.0.0.1", 12345)
        transport = Transport(peerAddress=address)
        channel: Any = self.site.buildProtocol(address)
        transport.protocol = channel
        channel.makeConnection(transport)
        client = Client(transport)
        client.send(data)
        client.read()
        return client

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


class Handshakes(BrokerCase):
    def test_opens(self) -> None:
        """The answer of RFC 6455's own example, without extensions."""
        client = self.joined(Sec_WebSocket_Extensions="permessage-deflate; client_max_window_bits")
        assert client.reader.head is not None
        head = client.reader.head.lower()
        self.assertIn(b"sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo=", head)
        self.assertNotIn(b"extensions", head)
        self.assertEqual(self.sockets.connections, 1)

    def test_is_no_request_any_more(self) -> None:
        """An open WebSocket is nothing that a drain would wait for."""
        self.joined()
        self.assertEqual(self.site.in_flight, 0)
        self.assertEqual(self.site.connections, 0)

    def test_firefox(self) -> None:
        """``Connection: keep-alive, Upgrade`` is an upgrade, and names are of any case."""
        self.joined(Connection="keep-alive, upgrade", Upgrade="WebSocket")

    def test_no_topic(self) -> None:
        """A WebSocket without a topic is refused before it is open."""
        for target in ("/broker", "/broker?topic=", "/broker?queue=q"):
            fault = self.refused(400, client=self.connect(target))
            self.assertEqual(fault["detail"], "Topic not specified")

    def test_no_upgrade(self) -> None:
        """A plain GET is told what to do."""
        client = self.request(b"GET /broker?topic=t HTTP/1.1\r\nHost: localhost\r\n\r\n")
        self.refused(426, "WebSocket", client=client)
        assert client.reader.head is not None
        self.assertIn(b"Upgrade: websocket", client.reader.head)

    def test_malformed(self) -> None:
        """Each fault of a handshake is named, and the connection goes on as HTTP."""
        for fields, words in (
            ({"Sec_WebSocket_Version": "8"}, "Sec-WebSocket-Version"),
            ({"Sec_WebSocket_Version": ""}, "Sec-WebSocket-Version"),
            ({"Sec_WebSocket_Key": ""}, "Sec-WebSocket-Key"),
            ({"Sec_WebSocket_Key": "short"}, "Sec-WebSocket-Key"),
            ({"Sec_WebSocket_Key": "not base64 at all, no no"}, "Sec-WebSocket-Key"),
        ):
            client = self.connect(**fields)
            self.refused(400, words, client=client)
            self.assertTrue(client.open)

    def test_format(self) -> None:
        """An unknown format is refused with the names of those that are known."""
        self.refused(400, "format", "json, raw, text", client=self.connect("/broker?topic=t&format=xml"))

    def test_topic_that_cannot_be(self) -> None:
        """What the broker does not carry is refused before the connection is open."""
        self.refused(400, "topic", client=self.connect("/broker?topic=" + "x" * 2000))
        self.refused(400, "queue", client=self.connect("/broker?topic=t&queue=" + "x" * 2000))
        self.assertEqual(self.sockets.connections, 0)

    def test_origins(self) -> None:
        """A page of another host is refused, one of ours and no page at all are not."""
        self.refused(403, "Origin", "--sidecar_cors", client=self.connect(Origin="http://evil.example"))
        self.refused(403, "Origin", client=self.connect(Origin="null"))
        self.joined(Origin="http://localhost")
        self.joined()
        self.serve(self.memory, allowed=("https://app.example",))
        self.joined(Origin="https://app.example")
        self.refused(403, client=self.connect(Origin="https://app.example.evil"))
        self.serve(self.memory, allowed=("*",))
        self.joined(Origin="http://anybody.example")

    def test_too_many(self) -> None:
        """Beyond the cap 503 and when to try again; a place that becomes free is given again."""
        self.serve(self.memory, max_connections=2)
        first = self.joined()
        self.joined()
        client = self.connect()
        self.refused(503, "2 WebSockets", client=client)
        assert client.reader.head is not None
        self.assertIn(b"Retry-After", client.reader.head)
        first.leave()
        self.joined()
        self.assertEqual(self.pubsub.stats()["refused"], 1)

    def test_other_methods(self) -> None:
        """405 with Allow."""
        client = self.request(b"DELETE /broker?topic=t HTTP/1.1\r\nHost: localhost\r\n\r\n")
        self.refused(405, client=client)
        assert client.reader.head is not None
        self.assertIn(b"Allow: GET, POST, HEAD, OPTIONS", client.reader.head)

    def test_frames_at_once(self) -> None:
        """Frames that come together with the handshake's request are heard."""
        client = self.request(handshake("/broker?topic=t") + client_frame("early") + client_frame("late")[:3])
        client.send(client_frame("late")[3:] + client_frame("last"))
        self.turn()
        bodies = [b64decode(json.loads(message)["Body"]) for message in client.read().messages]
        self.assertEqual(bodies, [b"early", b"late", b"last"])


class StockHandshakes(Handshakes):
    """The same on twisted.web's own channel."""

    channel = "stock"

    def test_frames_at_once(self) -> None:
        """Only ours: twisted.web's channel reads on while a request is being answered."""

    def test_topic_that_cannot_be(self) -> None:
        """The same there."""
        super().test_topic_that_cannot_be()


class Talking(BrokerCase):
    def test_everybody_hears(self) -> None:
        """What a client says reaches all subscribers, itself too, in the form of the original plus Data."""
        publisher, other = self.joined(), self.joined()
        publisher.say("hello world")
        self.turn()
        for client in (publisher, other):
            (message,) = map(json.loads, client.read().messages)
            self.assertEqual(set(message), {"Header", "Body", "Data"})
            self.assertEqual(b64decode(message["Body"]), b"hello world")
            self.assertEqual(message["Data"], message["Body"])
            self.assertEqual(message["Header"]["Micro-Topic"], "t")
            self.assertEqual(message["Header"]["Content-Type"], "text/plain")
            self.assertTrue(message["Header"]["Micro-Id"])

    def test_verbatim(self) -> None:
        """Text and binary messages of any content are published as they are, each with an id of its own."""
        client = self.joined("/broker?topic=t&format=raw")
        sent = [b"", b"\x00\xff", b"x" * MAX, '{"größe":1}'.encode()]
        for payload in sent:
            client.say(payload, BINARY)
        self.turn()
        self.assertEqual(client.read().frames, [(BINARY, payload) for payload in sent])

    def test_content_type(self) -> None:
        """The upgrade request's own word, else what the message looks like."""
        stated, looked_at = self.joined(Content_Type="application/x-thing"), self.joined()
        for client, payload, opcode, kind in (
            (stated, b"{}", TEXT, "application/x-thing"),
            (looked_at, b"{}", TEXT, "application/json"),
            (looked_at, b"{}", BINARY, "application/json"),
            (looked_at, b"{", TEXT, "text/plain"),
            (looked_at, b"\xff", BINARY, "application/octet-stream"),
        ):
            client.say(payload, opcode)
            self.turn()
            message = json.loads(client.read().messages[-1])
            self.assertEqual(message["Header"]["Content-Type"], kind)

    def test_formats(self) -> None:
        """Each gets the form that it asked for."""
        clients = [self.joined(f"/broker?topic=t&format={name}") for name in ("text", "raw", "json")]
        clients[0].say('{"a":1}')
        self.turn()
        self.assertEqual(
            [client.read().frames for client in clients],
            [[(TEXT, b'{"a":1}')], [(BINARY, b'{"a":1}')], [(TEXT, b'{"a":1}')]],
        )

    def test_queue(self) -> None:
        """One of a group gets each message; a subscriber without a queue gets all."""
        members = [self.joined("/broker?topic=t&queue=q&format=raw") for _ in range(3)]
        plain = self.joined("/broker?topic=t&format=raw")
        for number in range(9):
            plain.say(b"%d" % number)
        self.turn()
        self.assertEqual([len(client.read().messages) for client in members], [3, 3, 3])
        self.assertEqual(len(plain.read().messages), 9)

    def test_fragments(self) -> None:
        """A message in fragments, with a ping in between, is one message."""
        client = self.joined("/broker?topic=t&format=raw")
        client.say("hel", fin=False)
        client.say("ping", PING)
        client.say("lo", 0)
        client.say("next")
        self.turn()
        self.assertEqual(client.read().frames, [(PONG, b"ping"), (BINARY, b"hello"), (BINARY, b"next")])

    def test_any_split(self) -> None:
        """It does not matter in which pieces the bytes come."""
        stream = client_frame("one") + client_frame("x" * 300) + client_frame("p", PING) + client_frame("three")
        for step in (1, 2, 3, 7, 50, 301):
            client = self.joined("/broker?topic=t&format=raw")
            for at in range(0, len(stream), step):
                client.send(stream[at : at + step])
            self.turn()
            self.assertEqual(client.read().messages, [b"one", b"x" * 300, b"three"], step)
            client.leave()

    def test_gone(self) -> None:
        """Who left without a word is forgotten, and hears nothing."""
        client = self.joined()
        client.leave()
        self.assertEqual(self.sockets.connections, 0)
        self.assertEqual(len(self.pubsub.hub._topics), 0)
        self.assertEqual(self.clock.getDelayedCalls(), [call for call in self.clock.getDelayedCalls() if call.active()])


class Posting(BrokerCase):
    def heard(self, *fields: str, body: bytes = b'{"a":1}') -> dict[str, Any]:
        subscriber = self.joined()
        client = self.post("/broker?topic=t", body, *fields)
        self.assertEqual((client.reader.status, client.reader.body), (200, b""))
        self.turn()
        message: dict[str, Any] = json.loads(subscriber.read().messages[0])
        subscriber.leave()
        self.assertEqual(b64decode(message["Body"]), body)
        return message

    def test_raw(self) -> None:
        """The body is published raw, whatever its content type; curl's form type is not taken for the message's."""
        for fields, kind in (
            ((), "application/json"),
            (("Content-Type: application/x-www-form-urlencoded",), "application/json"),
            (("Content-Type: application/protobuf",), "application/protobuf"),
        ):
            self.assertEqual(self.heard(*fields)["Header"]["Content-Type"], kind)
        self.heard("Content-Type: application/x-www-form-urlencoded", body=b"a=1&b=%20")
        self.heard(body=b"")
        self.heard(body=b"\x00\xff")

    def test_headers(self) -> None:
        """Chosen headers go along; secrets never."""
        header = self.heard("X-Tenant: a", "Authorization: Bearer secret", "Cookie: s=secret")["Header"]
        self.assertEqual(header["X-Tenant"], "a")
        self.assertNotIn("secret", json.dumps(header))

    def test_no_topic(self) -> None:
        """400."""
        self.assertEqual(self.refused(400, client=self.post("/broker", b"x"))["detail"], "Topic not specified")

    def test_too_large(self) -> None:
        """413."""
        self.refused(413, client=self.post("/broker?topic=t", b"x" * (MAX + 1)))

    def test_not_taken(self) -> None:
        """503 when the broker did not take it: 200 is a promise."""
        self.memory.stopService()
        self.refused(503, "memory broker", client=self.post("/broker?topic=t", b"x"))


class SulkingBroker(MemoryBroker):
    """Subscribes when the test says so, and publishes nothing."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock)
        self.asked: list[Deferred[Any]] = []

    def subscribe(self, topic: str, deliver: Any, queue: str | None) -> Deferred[Any]:
        self.asked.append(Deferred())
        return self.asked[-1]

    def publish(self, topic: str, message: Message) -> Deferred[None]:
        return fail(EngineUnavailable("the broker sulks"))


class Trouble(BrokerCase):
    """With the broker."""

    def setUp(self) -> None:
        super().setUp()
        self.sulking = SulkingBroker(self.clock)
        self.serve(self.sulking)

    def test_open_when_subscribed(self) -> None:
        """The handshake is answered once the broker subscribed us: nothing published after it is missed."""
        client = self.connect()
        self.assertIsNone(client.reader.status)
        self.sulking.asked[0].callback(self.successResultOf(self.memory.subscribe("t", print, None)))
        self.assertEqual(client.read().status, 101)

    def test_refused(self) -> None:
        """A broker that does not subscribe us makes it 503 before the connection is open, with a reason."""
        client = self.connect()
        self.sulking.asked[0].errback(EngineUnavailable("the broker sulks"))
        self.refused(503, "sulks", client=client)
        self.assertFalse(client.open)
        self.assertEqual(self.sockets.connections, 0)

    def test_never(self) -> None:
        """So does a broker that does not answer."""
        client = self.connect()
        self.clock.advance(SUBSCRIBE_PATIENCE)
        self.refused(503, "subscribe", client=client)

    def test_impatient_client(self) -> None:
        """A client that leaves meanwhile takes its wish along."""
        client = self.connect()
        client.leave()
        self.assertTrue(self.sulking.asked[0].called)
        self.assertEqual(self.sockets.connections, 0)

    def test_failed_publish_is_told(self) -> None:
        """What was not published is told to who said it, in error JSON, and the connection stays."""
        client = self.connect()
        self.sulking.asked[0].callback(self.successResultOf(self.memory.subscribe("t", print, None)))
        client.say("lost")
        (told,) = map(json.loads, client.read().messages)
        self.assertEqual((told["code"], told["detail"]), (503, "the broker sulks"))
        self.assertTrue(client.open)
        self.assertEqual(self.pubsub.stats()["failed"], 1)


class Violations(BrokerCase):
    """Each has its close code, and none is an error in our log."""

    def test_codes(self) -> None:
        """RFC 6455, 7.4.1."""
        text, binary = client_frame("x", fin=False), client_frame("x", BINARY, fin=False)
        for code, data in (
            (1007, [client_frame(b"\xff\xfe")]),
            (1007, [client_frame(b"\xc3", fin=False), client_frame(b"x", 0)]),
            (1007, [client_frame(b"\xc3")]),
            (1002, [b"\x81\x05hello"]),
            (1002, [client_frame("x", rsv=4)]),
            (1002, [client_frame("x", rsv=1)]),
            (1002, [client_frame("x", 3)]),
            (1002, [client_frame("x", 11)]),
            (1002, [client_frame("x", 0)]),
            (1002, [text, client_frame("new")]),
            (1002, [binary, client_frame("new", BINARY)]),
            (1002, [client_frame("x" * 126, PING)]),
            (1002, [client_frame("x", PING, fin=False)]),
            (1002, [client_frame(b"\x03", CLOSE)]),
            (1002, [b"\x81\xfe\x00\x05abcdhello"]),
        ):
            self.closed(code, *data)
            self.closed(code, b"".join(data))

    def test_too_large(self) -> None:
        """1009 as soon as the length is known, in one frame or in many."""
        self.closed(1009, client_frame(b"x" * (MAX + 1), BINARY))
        half = client_frame(b"x" * (MAX // 2 + 1), BINARY, fin=False)
        self.closed(1009, half, client_frame(b"x" * (MAX // 2 + 1), 0))
        for length in (65536, 2**62):
            client = self.joined()
            client.send(b"\x82\xff" + length.to_bytes(8, "big") + b"abcd" + b"x" * 100)
            self.assertEqual(client.read().closed, 1009)
            self.clock.advance(protocol.CLOSE_PATIENCE)
            self.assertFalse(client.open)

    def test_nothing_after_a_violation(self) -> None:
        """What follows a violation is not published."""
        listener = self.joined("/broker?topic=t&format=raw")
        client = self.joined()
        client.send(client_frame("good") + client_frame(b"\xff") + client_frame("bad"))
        self.turn()
        self.assertEqual(listener.read().messages, [b"good"])

    def test_nothing_after_the_goodbye(self) -> None:
        """No message follows our close frame, though the peer takes its time to answer it."""
        client = self.joined()
        client.transport.stubborn = True
        client.say(b"\xff")
        self.post("/broker?topic=t", b"late")
        self.turn()
        self.assertEqual(client.read().frames[-1][0], CLOSE)

    def test_nobody_answers(self) -> None:
        """A peer that does not answer our close frame is cut off."""
        client = self.joined()
        client.say(b"\xff")
        self.assertTrue(client.open)
        self.clock.advance(protocol.CLOSE_PATIENCE)
        self.assertFalse(client.open)
        self.assertEqual(self.sockets.connections, 0)

    def test_nobody_reads(self) -> None:
        """A peer that says goodbye and does not take what waits for it is cut off."""
        client = self.joined()
        client.transport.stubborn = True
        client.say(b"\x03\xe8", CLOSE)
        self.assertTrue(client.open)
        self.clock.advance(protocol.CLOSE_PATIENCE)
        self.assertFalse(client.open)

    def test_client_says_goodbye(self) -> None:
        """Its code comes back, and the connection ends."""
        client = self.joined()
        client.say(b"\x03\xe9bye", CLOSE)
        self.assertEqual(client.read().closed, 1001)
        self.assertFalse(client.open)

    def test_pings_of_one_that_does_not_read(self) -> None:
        """Only the last of them is answered once it reads again."""
        client = self.joined()
        producer: Any = client.transport.producer
        producer.pauseProducing()
        for number in range(100):
            client.say(b"%d" % number, PING)
        self.assertEqual(client.read().frames, [])
        producer.resumeProducing()
        self.assertEqual(client.read().frames, [(PONG, b"99")])


class Slowness(BrokerCase):
    def test_drop(self) -> None:
        """A subscriber that does not read loses its oldest messages; others lose none."""
        self.serve(self.memory, Bounds(messages=3))
        slow, quick = (self.joined("/broker?topic=t&format=raw") for _ in range(2))
        producer: Any = slow.transport.producer
        producer.pauseProducing()
        for number in range(10):
            quick.say(b"%d" % number)
            self.turn()
        producer.resumeProducing()
        self.assertEqual(slow.read().messages, [b"7", b"8", b"9"])
        self.assertEqual(len(quick.read().messages), 10)
        self.assertEqual(self.pubsub.stats()["dropped"], 7)

    def test_close(self) -> None:
        """Or it is closed, 1008, and cut off if it does not even read that."""
        self.serve(self.memory, Bounds(messages=3, slow="close"))
        slow, quick = (self.joined("/broker?topic=t&format=raw") for _ in range(2))
        slow.transport.stubborn = True
        producer: Any = slow.transport.producer
        producer.pauseProducing()
        for number in range(10):
            quick.say(b"%d" % number)
            self.turn()
        self.assertEqual(slow.read().closed, 1008)
        self.assertEqual(len(quick.read().messages), 10)
        self.clock.advance(protocol.CLOSE_PATIENCE)
        self.assertFalse(slow.open)
        self.assertEqual((self.pubsub.stats()["closed"], self.sockets.connections), (1, 1))


class Heartbeats(BrokerCase):
    def test_ping(self) -> None:
        """Every 25 seconds; one who answers stays for ever."""
        client = self.joined()
        for round in range(1, 5):
            self.clock.advance(25)
            self.assertEqual([opcode for opcode, _ in client.read().frames], [PING] * round)
            client.say(b"", PONG)
        self.assertTrue(client.open)

    def test_dead(self) -> None:
        """One who does not is dropped."""
        client, lively = self.joined(), self.joined()
        for _ in range(3):
            self.clock.advance(25)
            lively.say("here")
        self.assertFalse(client.open)
        self.assertTrue(client.transport.aborted)
        self.assertTrue(lively.open)
        self.assertEqual(self.sockets.connections, 1)

    def test_no_clockwork_without_anybody(self) -> None:
        """When the last one left, no timer of ours goes on for ever."""
        self.joined().leave()
        self.clock.advance(26)
        self.assertIsNone(self.sockets._beat)
        client = self.joined()
        self.clock.advance(25)
        self.assertEqual(client.read().frames[0][0], PING)


class Stopping(BrokerCase):
    def test_goodbye(self) -> None:
        """Each is told 1001, and the stop is done when all have answered."""
        clients = [self.joined() for _ in range(3)]
        stopping = self.sockets.stopService()
        for client in clients:
            self.assertNoResult(stopping)
            self.assertEqual(client.read().closed, 1001)
            client.say(b"\x03\xe9", CLOSE)
            self.assertFalse(client.open)
        self.successResultOf(stopping)
        self.assertEqual([call for call in self.clock.getDelayedCalls() if call.active()], [])

    def test_rude(self) -> None:
        """Those that do not answer are cut off in time."""
        client = self.joined()
        client.transport.stubborn = True
        stopping = self.sockets.stopService()
        self.clock.advance(GOODBYE)
        self.successResultOf(stopping)
        self.assertFalse(client.open)

    def test_while_opening(self) -> None:
        """One whose handshake is not answered yet is let go."""
        self.serve(SulkingBroker(self.clock))
        client = self.connect()
        self.successResultOf(self.sockets.stopService())
        self.assertFalse(client.open)

    def test_no_more(self) -> None:
        """Afterwards none is opened."""
        self.successResultOf(self.sockets.stopService())
        self.refused(503, "stopping", client=self.connect())
