"""How WebSockets are opened, and how they are not."""

from __future__ import annotations

import json
from base64 import b64decode

from sidecar.test.doubles.clients.pubsub import BrokerCase
from sidecar.test.doubles.clients.websocket import client_frame, handshake


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


class StockHandshakes(Handshakes):
    """The same on twisted.web's own channel."""

    channel = "stock"


class Hasty(BrokerCase):
    def test_frames_at_once(self) -> None:
        """Frames that come together with the handshake's request are heard."""
        client = self.request(handshake("/broker?topic=t") + client_frame("early") + client_frame("late")[:3])
        client.send(client_frame("late")[3:] + client_frame("last"))
        self.turn()
        bodies = [b64decode(json.loads(message)["Body"]) for message in client.read().messages]
        self.assertEqual(bodies, [b"early", b"late", b"last"])
