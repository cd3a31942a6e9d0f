"""The client's side of HTTP/2: how it goes on while a server leaves."""

from __future__ import annotations

from typing import Any

import h2.config
import h2.connection
import h2.events
from hyperframe.frame import GoAwayFrame, PingFrame
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase

from sidecar.net.errors import NetError, NotTaken
from sidecar.net.http2.client import Http2Connection
from sidecar.net.http2.stream import Http2Limits

REQUEST = [(":method", "POST"), (":scheme", "http"), (":path", "/a"), (":authority", "node:1")]


class Transport(StringTransport):
    def setTcpNoDelay(self, enabled: bool) -> None:
        """It has no packets."""


class Receiver:
    """:ivar noted: what was told, in order."""

    def __init__(self) -> None:
        self.noted: list[Any] = []

    def headers_received(self, headers: list[tuple[str, str]]) -> None:
        self.noted.append(dict(headers)[":status"])

    def data_received(self, data: bytes) -> None:
        self.noted.append(data)

    def trailers_received(self, headers: list[tuple[str, str]]) -> None:
        self.noted.append(headers)

    def ended(self) -> None:
        self.noted.append("ended")

    def failed(self, error: NetError) -> None:
        self.noted.append(error)


class LeavingTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.ended: list[Http2Connection] = []
        self.transport = Transport()
        self.connection = Http2Connection(Clock(), "node:1", Http2Limits(), lambda _: None, self.ended.append)
        self.connection.makeConnection(self.transport)
        self.server = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))
        self.server.initiate_connection()
        self.exchange()

    def exchange(self) -> list[h2.events.Event]:
        """Hand over what both sides have to say. :returns: what the server heard."""
        heard = []
        while True:
            said = self.transport.value()
            self.transport.clear()
            if said:
                heard += self.server.receive_data(said)
            answer = self.server.data_to_send()
            if answer:
                self.connection.dataReceived(answer)
            elif not said:
                return heard

    def call(self) -> Receiver:
        receiver = Receiver()
        self.connection.open(REQUEST, receiver).send(b"x", end=True)
        self.exchange()
        return receiver

    def leave(self, last: int, *, ping: bool) -> None:
        """A server's GOAWAY, in one packet with the ping that grpc-go sends after it."""
        said = GoAwayFrame(last_stream_id=last, error_code=0).serialize()
        if ping:
            said += PingFrame(opaque_data=b"\1\6\1\x08\0\3\3\x09").serialize()
        self.connection.dataReceived(said)

    def test_graceful_stop(self) -> None:
        """GOAWAY, a PING, the answers, the end: no call is lost, and the ping is answered."""
        first, second = self.call(), self.call()
        self.leave(2**31 - 1, ping=True)
        self.assertFalse(self.connection.usable)
        self.assertIn(PingFrame(flags=["ACK"], opaque_data=b"\1\6\1\x08\0\3\3\x09").serialize(), self.transport.value())
        self.transport.clear()
        self.leave(3, ping=False)
        for number, receiver in ((1, first), (3, second)):
            self.server.send_headers(number, [(":status", "200")])
            self.server.send_data(number, b"y", end_stream=True)
            self.connection.dataReceived(self.server.data_to_send())
            self.assertEqual(receiver.noted, ["200", b"y", "ended"])
        self.assertEqual(self.ended, [self.connection])
        self.assertTrue(self.transport.disconnecting)

    def test_not_taken(self) -> None:
        """Streams after the last one that the server took cannot have run; those up to it go on."""
        first, second = self.call(), self.call()
        self.leave(1, ping=False)
        self.assertEqual([type(each) for each in second.noted], [NotTaken])
        self.assertEqual((first.noted, self.ended), ([], []))
        self.server.send_headers(1, [(":status", "200")], end_stream=True)
        self.connection.dataReceived(self.server.data_to_send())
        self.assertEqual(first.noted, ["200", "ended"])
        self.assertEqual(self.ended, [self.connection])

    def test_idle(self) -> None:
        """With nothing under way, it closes at once."""
        self.leave(0, ping=True)
        self.assertEqual(self.ended, [self.connection])
        self.assertTrue(self.transport.disconnecting)
