"""What waits on transports is counted in the budget of all, and given up when that is spent."""

from __future__ import annotations

import socket
import sys
from typing import Any, cast

from twisted.internet import reactor as real_reactor
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase, TestCase

from sidecar.net.memory import MemoryBudget
from sidecar.net.reactor import eager
from sidecar.test.unit.net.reactor.test_eager import PATIENCE, Quiet, Socket, Watcher

reactor: Any = real_reactor


class Counted(SynchronousTestCase):
    def setUp(self) -> None:
        self.budget = MemoryBudget(100_000, Clock().seconds)
        self.watcher = Watcher()

    def aborted(self) -> list[object]:
        return [call.__self__ for call, _ in self.watcher.later]

    def connection(self) -> tuple[Any, Socket]:
        sock = Socket()
        protocol = Quiet()
        transport: Any = eager.EagerServer(
            sock,  # type: ignore[arg-type]  # a double
            protocol,
            ("127.0.0.1", 1),
            None,
            0,
            self.watcher,
            budget=self.budget,
        )
        protocol.makeConnection(transport)
        return transport, sock

    def test_counted(self) -> None:
        """What the socket takes at once is not counted; what waits is until all of its buffer went out."""
        transport, sock = self.connection()
        transport.write(b"x" * 50_000)
        self.assertEqual(self.budget.total, 0)
        sock.room = 10_000
        transport.write(b"x" * 50_000)
        self.assertEqual(self.budget.total, 40_000)
        sock.room = 30_000
        transport.doWrite()
        self.assertEqual(self.budget.total, 40_000)
        sock.room = 30_000
        transport.doWrite()
        self.assertEqual((self.budget.total, transport.unsent), (0, 0))

    def test_lost(self) -> None:
        """A connection that is gone keeps nothing."""
        transport, sock = self.connection()
        sock.room = 0
        transport.write(b"x" * 50_000)
        transport.abortConnection()
        for call, args in self.watcher.later:
            call(*args)
        self.assertEqual(self.budget.total, 0)

    def test_shed(self) -> None:
        """Once all together are too much the largest is cut off, whoever it is."""
        large, large_sock = self.connection()
        small, small_sock = self.connection()
        large_sock.room = small_sock.room = 0
        large.write(b"x" * 60_000)
        small.write(b"x" * 50_000)
        self.assertEqual(self.aborted(), [large])
        self.assertEqual((self.budget.total, self.budget.shed), (50_000, {"answers": 1}))
        small.write(b"x" * 60_000)
        self.assertEqual(self.aborted(), [large, small])
        self.assertEqual((self.budget.total, self.budget.shed), (0, {"answers": 2}))


class OverUnixSockets(TestCase):
    async def test_counted(self) -> None:
        """What waits on a Unix socket is counted like what waits on any."""
        budget = MemoryBudget(1 << 30, reactor.seconds)
        accepted: Deferred[Any] = Deferred()

        class Accepting(Factory):
            noisy = False

            def buildProtocol(self, addr: Any) -> Quiet:
                protocol = Quiet()
                reactor.callLater(0, accepted.callback, protocol)
                return protocol

        path = self.mktemp()[-80:].replace("/", "_")
        port = eager.make_eager(reactor.listenUNIX(path, Accepting()), budget)
        self.addCleanup(port.stopListening)
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(path)
            accepted.addTimeout(PATIENCE, reactor)
            protocol = await accepted
            protocol.transport.write(b"x" * 5_000_000)
            self.assertEqual(budget.total, 5_000_000)
            protocol.transport.abortConnection()
            await self._gone(budget)

    async def _gone(self, budget: MemoryBudget) -> None:
        for _ in range(1000):
            if not budget.total:
                return
            turn: Deferred[None] = Deferred()
            reactor.callLater(0.01, turn.callback, None)
            await turn
        self.fail(f"{budget.total} bytes are counted of a connection that is gone")


class LetGo(TestCase):
    async def test_freed(self) -> None:
        """What waited on a connection that is gone is freed with it, whoever still knows the transport."""
        accepted: Deferred[Any] = Deferred()

        class Once(Factory):
            noisy = False

            def buildProtocol(self, addr: Any) -> Quiet:
                protocol = Quiet()
                reactor.callLater(0, accepted.callback, protocol)
                return protocol

        budget = MemoryBudget(1 << 30, reactor.seconds)
        port: Any = eager.listen(reactor, 0, cast(Any, Once()), "127.0.0.1", budget=budget)
        self.addCleanup(port.stopListening)
        with socket.create_connection(("127.0.0.1", port.getHost().port)):
            accepted.addTimeout(PATIENCE, reactor)
            protocol = await accepted
            answer = b"x" * 20_000_000
            waiting = sys.getrefcount(answer)
            protocol.transport.write(answer)
            transport = protocol.transport
            self.assertGreater(budget.total, 0)
            transport.abortConnection()
            for _ in range(1000):
                if protocol.lost:
                    break
                turn: Deferred[None] = Deferred()
                reactor.callLater(0.01, turn.callback, None)
                await turn
            self.assertEqual((protocol.lost, budget.total, transport.unsent), (1, 0, 0))
            self.assertEqual(transport.dataBuffer, b"")
            self.assertEqual(sys.getrefcount(answer), waiting)
