"""How WebSockets end: for violations, slowness, silence, and when we stop."""

from __future__ import annotations

from typing import Any

from sidecar.pubsub.outbox import OutboxLimits
from sidecar.test.doubles.clients.pubsub import MAX, BrokerCase, SulkingBroker
from sidecar.test.doubles.clients.websocket import BINARY, CLOSE, PING, PONG, client_frame
from sidecar.websocket import protocol
from sidecar.websocket.sockets import CLOSING


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
        self.serve(self.memory, OutboxLimits(messages=3))
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
        self.serve(self.memory, OutboxLimits(messages=3, slow="close"))
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
        self.assertIsNone(self.sockets._timer)
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
        self.clock.advance(CLOSING)
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
