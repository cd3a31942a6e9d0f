"""What is said over ``/broker``, and who hears it."""

from __future__ import annotations

import json
from base64 import b64decode
from typing import Any

from sidecar.errors import EngineUnavailable
from sidecar.model import ANONYMOUS
from sidecar.test.doubles.clients.pubsub import MAX, BrokerCase, SulkingBroker
from sidecar.test.doubles.clients.websocket import BINARY, PING, PONG, TEXT, client_frame
from sidecar.websocket.sessions.pubsub import SUBSCRIBE_TIMEOUT


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
        self.sulking.asked[0].callback(self.successResultOf(self.memory.subscribe("t", print, None, ANONYMOUS)))
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
        self.clock.advance(SUBSCRIBE_TIMEOUT)
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
        self.sulking.asked[0].callback(self.successResultOf(self.memory.subscribe("t", print, None, ANONYMOUS)))
        client.say("lost")
        (told,) = map(json.loads, client.read().messages)
        self.assertEqual((told["code"], told["detail"]), (503, "the broker sulks"))
        self.assertTrue(client.open)
        self.assertEqual(self.pubsub.stats()["failed"], 1)
