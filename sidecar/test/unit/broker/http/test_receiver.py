"""The port of the HTTP broker: what comes there waits for its turn, and counts in the budget of memory."""

from __future__ import annotations

from typing import Any

from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from sidecar.broker.http.receiver import Receiver
from sidecar.model import Message
from sidecar.net.memory import MemoryBudget
from sidecar.net.reactor.admission import AT_ONCE, PATIENCE, Admission
from sidecar.wire.broker import http as wire

GONE = Failure(ConnectionDone())
POST = b"POST /?id=a HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: %d\r\n\r\n"


class TurningClock(Clock):
    """A Clock that says that it counts its turns."""

    turns = 0


class Received(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = TurningClock()
        self.budget = MemoryBudget(100_000, self.clock.seconds)
        self.topics: list[str] = []
        admission = Admission(self.clock, PATIENCE)
        self.receiver = Receiver(self.clock, "127.0.0.1:0", self.receive, 1 << 20, (), self.budget, admission)
        self.receiver.factory.doStart()
        self.addCleanup(self.receiver.stop)

    def receive(self, topic: str, identity: str, message: Message) -> None:
        self.topics.append(topic)

    def connect(self) -> tuple[Any, Any]:
        protocol: Any = self.receiver.factory.buildProtocol(None)
        wired = StringTransport()
        protocol.makeConnection(wired)
        return protocol, wired

    def post(self, topic: str) -> bytes:
        body = wire.encode(Message({}, b"{}"), topic)
        return POST % len(body) + body

    def test_turns(self) -> None:
        """As many are taken at once as a turn has time for, the others in order; who left meanwhile is passed over."""
        peers = [self.connect() for _ in range(AT_ONCE + 3)]
        for number, (protocol, _) in enumerate(peers):
            protocol.dataReceived(self.post(f"t{number}"))
        self.assertEqual(self.topics, [f"t{number}" for number in range(AT_ONCE)])
        peers[AT_ONCE][0].connectionLost(GONE)
        self.clock.turns += 1
        self.clock.advance(0)
        self.assertEqual(self.topics[AT_ONCE:], [f"t{AT_ONCE + 1}", f"t{AT_ONCE + 2}"])
        self.assertTrue(all(wired.value().startswith(b"HTTP/1.1 200") for _, wired in peers[AT_ONCE + 1 :]))
        self.assertEqual(self.budget.total, 0)

    def test_too_long(self) -> None:
        """Who waited for too long is told so, and the message is not taken."""
        peers = [self.connect() for _ in range(AT_ONCE + 1)]
        for protocol, _ in peers:
            protocol.dataReceived(self.post("t"))
        self.clock.turns += 1
        self.clock.advance(PATIENCE + 0.1)
        answer = peers[-1][1].value()
        self.assertEqual((answer[:12], b"--queue_timeout" in answer), (b"HTTP/1.1 503", True))
        self.assertEqual(len(self.topics), AT_ONCE)

    def test_counted(self) -> None:
        """What has not come whole counts, until it is whole or its sender leaves; too much of it is given up."""
        (one, _), (other, _) = self.connect(), self.connect()
        one.dataReceived(POST % 90_000 + b"x" * 40_000)
        other.dataReceived(POST % 90_000 + b"x" * 50_000)
        self.assertEqual(self.budget.total, 90_000)
        one.connectionLost(GONE)
        self.assertEqual(self.budget.total, 50_000)
        protocol, wired = self.connect()
        protocol.dataReceived(POST % 90_000 + b"x" * 60_000)
        self.assertTrue(wired.disconnecting)
        self.assertEqual((self.budget.total, self.budget.shed), (50_000, {"requests": 1}))
