"""The connections to one node."""

from __future__ import annotations

import socket
from typing import Any

from attrs import define, field
from twisted.internet.error import ConnectionDone, ConnectionRefusedError, UserError
from twisted.internet.protocol import ClientFactory
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from sidecar.net.client.connection import ClientConnection
from sidecar.net.client.pool import Pool
from sidecar.net.errors import PoolExhausted
from sidecar.test.unit.net.client.test_connection import GOOD, Transport


@define(eq=False)
class Connecting:
    """A connection on its way."""

    factory: ClientFactory
    given_up: bool = False
    transport: Transport = field(factory=Transport)

    def disconnect(self) -> None:
        self.given_up = True
        self.fail(UserError())

    def fail(self, error: Exception) -> None:
        self.factory.clientConnectionFailed(self, Failure(error))  # type: ignore[arg-type]  # as good as a connector

    def succeed(self) -> ClientConnection:
        connection = self.factory.buildProtocol(None)
        assert isinstance(connection, ClientConnection)
        connection.makeConnection(self.transport)
        return connection


@define(eq=False)
class PoolWaiter:
    """Somebody who wants a connection."""

    connection: ClientConnection | None = None
    error: Exception | None = None
    answers: list[bytes] = field(factory=list)

    def ready(self, connection: ClientConnection) -> None:
        self.connection = connection

    def unreachable(self, error: Exception) -> None:
        self.error = error

    def answered(self, connection: ClientConnection, status: int, body: bytes) -> None:
        self.answers.append(body)

    def lost(self, error: Exception) -> None:
        self.error = error


class Pooling(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.tries: list[Connecting] = []
        self.emptied = 0
        self.pool = self.make()

    def make(self, **settings: Any) -> Pool:
        def emptied() -> None:
            self.emptied += 1

        return Pool(self.connect, self.clock.seconds, 1000, emptied=emptied, **settings)

    def connect(self, factory: ClientFactory) -> Any:
        self.tries.append(Connecting(factory))
        return self.tries[-1]

    def take(self) -> PoolWaiter:
        waiter = PoolWaiter()
        self.pool.take(waiter)
        return waiter

    def connected(self) -> PoolWaiter:
        """Somebody with a new connection."""
        waiter = self.take()
        self.tries[-1].succeed()
        self.assertIsNotNone(waiter.connection)
        return waiter

    def release(self, waiter: PoolWaiter) -> ClientConnection:
        assert waiter.connection is not None
        self.pool.release(waiter.connection)
        return waiter.connection

    def test_used_again(self) -> None:
        """The connection that was used last is used next."""
        first, second = self.connected(), self.connected()
        self.release(first)
        last = self.release(second)
        self.assertIs(self.take().connection, last)
        self.assertEqual(len(self.tries), 2)

    def test_not_after_an_error(self) -> None:
        """One that is not fit any more is closed and not used."""
        waiter = self.connected()
        assert waiter.connection is not None
        waiter.connection.reusable = False
        self.release(waiter)
        self.assertTrue(self.tries[0].transport.disconnecting)
        self.assertIsNone(self.take().connection)
        self.assertEqual(len(self.tries), 2)

    def test_in_order(self) -> None:
        """When all are busy, who waits longest is served first, by whatever is free first."""
        self.pool = self.make(size=2)
        busy = [self.connected(), self.connected()]
        waiting = [self.take() for _ in range(3)]
        self.assertEqual(len(self.tries), 2)
        freed = [self.release(busy[1]), self.release(busy[0])]
        self.assertEqual([waiter.connection for waiter in waiting], [*freed, None])
        self.assertEqual(self.pool.connections, 2)

    def test_freed_before_made(self) -> None:
        """A connection that becomes free serves the one who waits; the one on its way is kept for the next."""
        busy = self.connected()
        waiting = self.take()
        freed = self.release(busy)
        self.assertIs(waiting.connection, freed)
        made = self.tries[1].succeed()
        self.assertIs(self.take().connection, made)

    def test_queue_is_bounded(self) -> None:
        """More than may wait are refused."""
        self.pool = self.make(size=1, max_waiting=2)
        self.connected()
        self.take()
        self.take()
        self.assertRaises(PoolExhausted, self.take)

    def test_left(self) -> None:
        """Who leaves the queue is not served, and a connection that nobody waits for is given up."""
        waiter = self.take()
        self.pool.cancel_wait(waiter)
        self.assertTrue(self.tries[0].given_up)
        self.assertEqual((waiter.connection, waiter.error), (None, None))
        self.assertFalse(self.pool.in_use)
        self.pool.cancel_wait(waiter)

    def test_refused(self) -> None:
        """Each who waits is told when its try fails; the others go on waiting for theirs."""
        first, second = self.take(), self.take()
        self.tries[1].fail(ConnectionRefusedError())
        self.assertIsInstance(first.error, ConnectionRefusedError)
        self.assertIsNone(second.error)
        self.tries[0].succeed()
        self.assertIsNotNone(second.connection)

    def test_nobody_waits_in_vain(self) -> None:
        """When nothing is open and nothing is coming, everybody who waits is told."""
        self.pool = self.make(size=1)
        waiters = [self.take() for _ in range(3)]
        self.assertEqual(len(self.tries), 1)
        self.tries[0].fail(ConnectionRefusedError())
        self.assertEqual([type(waiter.error) for waiter in waiters], [ConnectionRefusedError] * 3)

    def test_lost_while_others_wait(self) -> None:
        """A busy connection that is lost makes room for a new one for those who wait."""
        self.pool = self.make(size=1)
        busy = self.connected()
        waiting = self.take()
        assert busy.connection is not None
        busy.connection.connectionLost(Failure(ConnectionDone()))
        self.tries[1].succeed()
        self.assertIsNotNone(waiting.connection)

    def test_closed_while_idle(self) -> None:
        """One that the node closes while it idles is forgotten at once."""
        idle = self.release(self.connected())
        idle.connectionLost(Failure(ConnectionDone()))
        self.assertIsNone(self.take().connection)
        self.assertEqual(len(self.tries), 2)

    def test_idle_for_at_most(self) -> None:
        """Nothing idles for longer than its time, give or take one sweep, and never longer."""
        self.pool = self.make(ttl=60.0)
        self.release(self.connected())
        elapsed = 0.0
        while self.pool.connections and not self.tries[0].transport.disconnecting:
            self.clock.advance(1.0)
            elapsed += 1.0
            self.pool.sweep(self.clock.seconds())
        self.assertTrue(58.0 <= elapsed <= 60.0, elapsed)

    def test_busy_is_not_idle(self) -> None:
        """Being used begins its time anew."""
        waiter = self.connected()
        for _ in range(10):
            self.release(waiter)
            for _ in range(40):
                self.clock.advance(1.0)
                self.pool.sweep(self.clock.seconds())
            waiter = self.take()
            self.assertIsNotNone(waiter.connection)
        self.assertEqual(len(self.tries), 1)

    def test_looked_at(self) -> None:
        """After a rest its socket is looked at: one that was closed unnoticed is not trusted with a call."""
        ours, theirs = socket.socketpair()
        self.addCleanup(ours.close)
        self.addCleanup(theirs.close)
        idle = self.release(self.connected())
        self.tries[0].transport.fileno = ours.fileno  # type: ignore[attr-defined]  # a real transport has one
        for _ in range(2):
            self.clock.advance(1.0)
            self.pool.sweep(self.clock.seconds())
        waiter = self.take()
        self.assertIs(waiter.connection, idle)
        self.release(waiter)
        self.pool.sweep(self.clock.seconds())
        theirs.close()
        self.assertIsNone(self.take().connection)
        self.assertTrue(self.tries[0].transport.aborted)

    def test_emptied(self) -> None:
        """When the last connection is gone and nobody waits, that is told."""
        waiter = self.connected()
        idle = self.release(waiter)
        self.assertEqual(self.emptied, 0)
        idle.connectionLost(Failure(ConnectionDone()))
        self.assertEqual(self.emptied, 1)

    def test_stop(self) -> None:
        """Stopping closes all, tells those who wait, and is over when the last connection is."""
        idle = self.release(self.connected())
        busy = self.take()
        waiting = self.take()
        stopped = self.pool.stop()
        self.assertIsInstance(waiting.error, UserError)
        self.assertTrue(self.tries[0].transport.aborted)
        self.assertNoResult(stopped)
        idle.connectionLost(Failure(ConnectionDone()))
        self.successResultOf(stopped)
        self.assertIs(busy.connection, idle)

    def test_answer_frees(self) -> None:
        """A call's whole life: taken, sent, answered, given back."""
        waiter = self.connected()
        assert waiter.connection is not None
        waiter.connection.send(b"x", waiter)
        waiter.connection.dataReceived(GOOD)
        self.release(waiter)
        self.assertEqual(waiter.answers, [b"hello"])
        self.assertEqual(self.tries[0].transport.value(), b"x")
