"""A connection on which both sides send when they like, to a peer that does not read."""

from __future__ import annotations

from typing import Any

from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase

from sidecar.net.client.duplex import DuplexConnection
from sidecar.net.errors import NetError, QueueFull
from sidecar.net.memory import MemoryBudget


class Wire(StringTransport):
    def setTcpNoDelay(self, enabled: bool) -> None:
        self.no_delay = enabled


class Unread(SynchronousTestCase):
    def setUp(self) -> None:
        self.budget = MemoryBudget(1000, Clock().seconds)
        self.ends: list[NetError | None] = []

    def connect(self) -> tuple[DuplexConnection, Wire]:
        connection, wire = DuplexConnection(lambda _: None, self.ends.append, 1000, self.budget), Wire()
        connection.makeConnection(wire)
        producer: Any = wire.producer
        producer.pauseProducing()
        return connection, wire

    def test_counted(self) -> None:
        """What waits for it counts, until it goes out or the connection is closed."""
        connection, wire = self.connect()
        other, _ = self.connect()
        for each in (connection, other):
            each.send(b"x" * 300)
        self.assertEqual((self.budget.total, wire.value()), (600, b""))
        connection.resumeProducing()
        self.assertEqual((self.budget.total, len(wire.value())), (300, 300))
        other.close()
        self.assertEqual((self.budget.total, self.ends), (0, []))

    def test_too_much(self) -> None:
        """Beyond the budget whoever sends most is told so, or its stream ends with that."""
        first, wire = self.connect()
        second, _ = self.connect()
        first.send(b"x" * 600)
        second.send(b"x" * 450)
        (error,) = self.ends
        self.assertIsInstance(error, QueueFull)
        self.assertIn("--max_memory", str(error))
        self.assertEqual((wire.disconnecting, self.budget.total), (True, 450))
        with self.assertRaisesRegex(QueueFull, "--max_memory"):
            second.send(b"x" * 600)
        self.assertEqual((self.budget.total, self.budget.shed), (0, {"messages": 2}))
