"""What one WebSocket may take of a turn."""

from __future__ import annotations

from base64 import b64decode

import orjson

from sidecar.test.doubles.clients.pubsub import BrokerCase
from sidecar.test.doubles.clients.websocket import BINARY, client_frame
from sidecar.websocket.protocol import AT_ONCE


def body(envelope: bytes) -> bytes:
    """What was published, of the message that a subscriber gets."""
    return b64decode(orjson.loads(envelope)["Body"])


class SmallFrames(BrokerCase):
    def test_in_turns(self) -> None:
        """Of many frames in one packet some are looked at at once, and the rest in turns and in order."""
        self.serve(self.memory)
        sender, reader = self.joined(), self.joined()
        count = 10 * AT_ONCE + 1
        sender.send(b"".join(client_frame(b"%d" % number, BINARY) for number in range(count)))
        self.assertEqual(self.pubsub.counters.published, AT_ONCE)
        self.assertEqual(sender.transport.producerState, "paused")
        sender.send(client_frame(b"last", BINARY))
        self.clock.advance(1)
        self.assertEqual(self.pubsub.counters.published, count + 1)
        self.assertEqual(sender.transport.producerState, "producing")
        wanted = [*(b"%d" % number for number in range(count)), b"last"]
        self.assertEqual([body(message) for message in reader.read().messages], wanted)

    def test_gone(self) -> None:
        """Nothing more is looked at of one that is gone."""
        self.serve(self.memory)
        sender = self.joined()
        sender.send(client_frame(b"x", BINARY) * (2 * AT_ONCE))
        sender.leave()
        self.clock.advance(1)
        self.assertEqual(self.pubsub.counters.published, AT_ONCE)
