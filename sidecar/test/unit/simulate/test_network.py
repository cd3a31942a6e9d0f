"""Machines and wires in virtual time are as real ones: order, back-pressure, cuts, crashes, processes that stop."""

from __future__ import annotations

import socket
from random import Random
from typing import Any

from twisted.internet.error import ConnectionDone, ConnectionLost, ConnectionRefusedError, TimeoutError
from twisted.internet.protocol import ClientFactory, Factory, Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from sidecar.simulate.network import Machine, Network


class Noted(Protocol):
    def __init__(self) -> None:
        self.came = b""
        self.lost: Exception | None = None

    def dataReceived(self, data: bytes) -> None:
        self.came += data

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        assert isinstance(reason.value, Exception)
        self.lost = reason.value


class Caller(ClientFactory):
    noisy = False
    protocol = Noted
    failed: Exception | None = None
    made: Noted | None = None

    def buildProtocol(self, addr: Any) -> Noted:
        self.made = Noted()
        return self.made

    def clientConnectionFailed(self, connector: Any, reason: Failure) -> None:
        assert isinstance(reason.value, Exception)
        self.failed = reason.value


class NetworkTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.network = Network(Random(1))
        self.here, self.there = Machine(self.network, "here"), Machine(self.network, "there")
        self.served: list[Noted] = []
        factory = Factory()
        factory.noisy = False
        factory.buildProtocol = self.serve  # type: ignore[method-assign]
        self.there.listen(80, factory)

    def serve(self, addr: Any) -> Noted:
        self.served.append(Noted())
        return self.served[-1]

    def pump(self, seconds: float = 1.0) -> None:
        self.network.clock.pump([0.01] * round(seconds * 100))

    def connect(self) -> tuple[Noted, Noted]:
        caller = Caller()
        self.here.connectTCP("127.0.0.1", 80, caller)
        self.pump()
        assert caller.made is not None
        return caller.made, self.served[-1]

    def test_order(self) -> None:
        """Bytes come in order, both ways, and the end after the last."""
        ours, theirs = self.connect()
        assert ours.transport is not None and theirs.transport is not None
        for number in range(50):
            ours.transport.write(b"%d," % number)
        theirs.transport.write(b"back")
        ours.transport.loseConnection()
        self.pump()
        self.assertEqual(theirs.came, b"".join(b"%d," % number for number in range(50)))
        self.assertIsInstance(theirs.lost, ConnectionDone)
        self.assertIsInstance(ours.lost, ConnectionDone)

    def test_refused(self) -> None:
        """Where nobody listens a connection is refused."""
        caller = Caller()
        self.here.connectTCP("127.0.0.1", 81, caller)
        self.pump()
        self.assertIsInstance(caller.failed, ConnectionRefusedError)

    def test_cut(self) -> None:
        """What is sent over a wire that is cut waits for it; a connection is waited for as long as it may take."""
        ours, theirs = self.connect()
        assert ours.transport is not None
        self.network.part("here", "there")
        ours.transport.write(b"later")
        caller = Caller()
        self.here.connectTCP("127.0.0.1", 80, caller, timeout=2)
        self.pump(3)
        self.assertEqual(theirs.came, b"")
        self.assertIsInstance(caller.failed, TimeoutError)
        self.network.heal("here", "there")
        self.pump()
        self.assertEqual(theirs.came, b"later")

    def test_crash(self) -> None:
        """A crashed machine's peers see a reset, its port is gone, and nothing of it happens any more."""
        ours, theirs = self.connect()
        done: list[str] = []
        self.there.callLater(1, done.append, "work")
        self.there.crash()
        self.pump(2)
        self.assertIsInstance(ours.lost, ConnectionLost)
        self.assertEqual((theirs.lost, done), (None, []))
        self.test_refused()

    def test_frozen(self) -> None:
        """A frozen one is late with everything; what was cancelled meanwhile does not happen."""
        done: list[str] = []
        self.there.callLater(1, done.append, "kept")
        cancelled = self.there.callLater(1, done.append, "cancelled")
        self.there.frozen = True
        self.pump(2)
        self.assertEqual(done, [])
        cancelled.cancel()
        self.there.thaw()
        self.assertEqual(done, ["kept"])

    def test_slow_reader(self) -> None:
        """A writer is told to pause while its reader does, and to go on with it."""
        ours, theirs = self.connect()
        told: list[str] = []

        class Producer:
            def pauseProducing(self) -> None:
                told.append("pause")

            def resumeProducing(self) -> None:
                told.append("resume")

        transport: Any = ours.transport
        transport.registerProducer(Producer(), True)
        assert theirs.transport is not None
        reader: Any = theirs.transport
        reader.pauseProducing()
        transport.write(b"x" * 200_000)
        self.pump()
        self.assertEqual((theirs.came, told), (b"", ["pause"]))
        reader.resumeProducing()
        self.pump()
        self.assertEqual((len(theirs.came), told), (200_000, ["pause", "resume"]))

    def test_dates(self) -> None:
        """Setting the date of a machine moves no timer."""
        before = self.here.wall()
        self.here.set_by += 3600
        self.assertEqual(self.here.wall() - before, 3600)
        self.assertEqual(self.here.seconds(), self.there.seconds())

    def test_ports(self) -> None:
        """A port of the real machine is nobody else's until the network is closed, also when who had it is gone."""
        self.addCleanup(self.network.close)
        bound = socket.socket()
        bound.bind(("127.0.0.1", 0))
        number = bound.getsockname()[1]
        port = Machine(self.network, "c").adoptStreamPort(bound.fileno(), socket.AF_INET, Factory())
        bound.close()
        self.successResultOf(port.stopListening())
        with socket.socket() as other:
            self.assertRaises(OSError, other.bind, ("127.0.0.1", number))
