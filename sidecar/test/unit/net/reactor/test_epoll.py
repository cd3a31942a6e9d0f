"""The reactor without log contexts does what the stock one does."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from twisted.internet.error import ConnectionDone
from twisted.internet.main import CONNECTION_DONE
from twisted.trial.unittest import SkipTest, SynchronousTestCase

import sidecar
from sidecar.net.reactor import epoll as module

#: Seconds that a process may take: the machine may be busy.
PATIENCE = 120


class Watched:
    """One end of a socket pair. :ivar noted: what happened to it."""

    def __init__(self, end: socket.socket, result: object = None) -> None:
        self.end = end
        self.result = result
        self.noted: list[str] = []
        self.reason: Any = None

    def fileno(self) -> int:
        return self.end.fileno()

    def logPrefix(self) -> str:
        return "watched"

    def doRead(self) -> object:
        self.noted.append(self.end.recv(100).decode())
        if isinstance(self.result, Exception) and not isinstance(self.result, ConnectionDone):
            raise self.result
        return self.result

    def doWrite(self) -> object:
        self.noted.append("write")
        return None

    def connectionLost(self, reason: Any) -> None:
        self.noted.append("lost")
        self.reason = reason


class Turns(SynchronousTestCase):
    def setUp(self) -> None:
        if not module.AVAILABLE:
            raise SkipTest("there is no epoll on this platform")
        self.reactor: Any = module.MicroEPollReactor()
        self.sockets: list[socket.socket] = []
        self.addCleanup(self.tidy)

    def tidy(self) -> None:
        self.reactor.removeAll()
        self.reactor.waker.connectionLost(None)
        for end in self.sockets:
            end.close()

    def pair(self, result: object = None, kind: type[Watched] = Watched) -> tuple[Watched, socket.socket]:
        ours, theirs = socket.socketpair()
        self.sockets += (ours, theirs)
        watched = kind(ours, result)
        self.reactor.addReader(watched)
        return watched, theirs

    def test_readable(self) -> None:
        """What is readable is read, in each turn once."""
        watched, peer = self.pair()
        self.reactor.doIteration(0)
        self.assertEqual(watched.noted, [])
        peer.send(b"one")
        self.reactor.doIteration(1)
        peer.send(b"two")
        self.reactor.doIteration(1)
        self.assertEqual(watched.noted, ["one", "two"])

    def test_writable(self) -> None:
        """What is writable, too, is written."""
        watched, peer = self.pair()
        self.reactor.addWriter(watched)
        peer.send(b"one")
        self.reactor.doIteration(1)
        self.assertEqual(watched.noted, ["one", "write"])

    def test_clock(self) -> None:
        """It keeps monotonic time, also for what waits: nobody sets that clock."""
        before = time.monotonic()
        now = self.reactor.seconds()
        call = self.reactor.callLater(10, lambda: None)
        after = time.monotonic()
        self.assertTrue(before <= now <= after, (before, now, after))
        self.assertTrue(before + 10 <= call.getTime() <= after + 10)
        call.cancel()

    def test_end(self) -> None:
        """A connection that ends is disconnected, with its reason."""
        watched, peer = self.pair(CONNECTION_DONE)
        peer.send(b"bye")
        self.reactor.doIteration(1)
        self.assertEqual(watched.noted, ["bye", "lost"])
        self.assertTrue(watched.reason.check(ConnectionDone))
        self.assertNotIn(watched, self.reactor.getReaders())

    def test_hang_up(self) -> None:
        """So is one whose other side is gone altogether."""
        watched, peer = self.pair(CONNECTION_DONE)
        peer.close()
        self.reactor.doIteration(1)
        self.assertEqual(watched.noted[-1], "lost")

    def test_failure(self) -> None:
        """An exception in a protocol is logged, and costs only its own connection."""
        bad, bad_peer = self.pair(ZeroDivisionError("by a protocol"))
        good, good_peer = self.pair()
        bad_peer.send(b"bad")
        good_peer.send(b"good")
        self.reactor.doIteration(1)
        self.assertEqual((bad.noted, good.noted), (["bad", "lost"], ["good"]))
        self.assertTrue(bad.reason.check(ZeroDivisionError))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_closed_by_an_earlier_event(self) -> None:
        """Of two connections that are readable at once, the first may end the second."""
        reactor = self.reactor
        ends: list[Watched] = []

        class Ending(Watched):
            def doRead(self) -> object:
                for end in ends:
                    if end is not self:
                        reactor.removeReader(end)
                return super().doRead()

        for _ in range(3):
            end, peer = self.pair(kind=Ending)
            ends.append(end)
            peer.send(b"x")
        for _ in range(3):
            self.reactor.doIteration(0)
        self.assertEqual(sorted(end.noted for end in ends), [[], [], ["x"]])

    def test_many(self) -> None:
        """More at once than one turn takes are served in the next."""
        watched = [self.pair() for _ in range(module.AT_ONCE + 10)]
        for _, peer in watched:
            peer.send(b"x")
        for _ in range(3):
            self.reactor.doIteration(0.1)
        self.assertEqual([one.noted for one, _ in watched], [["x"]] * len(watched))


_RUN = """
import sys
import sidecar
from sidecar.net.reactor import epoll as module
assert "twisted.internet.reactor" not in sys.modules
module.ensure()
from twisted.internet import reactor, protocol, endpoints, process
assert type(reactor) is module.MicroEPollReactor, reactor
module.ensure()  # again is no error

class Echo(protocol.Protocol):
    def dataReceived(self, data):
        self.transport.write(data)

class Ask(protocol.Protocol):
    def connectionMade(self):
        self.transport.write(b"hello")
    def dataReceived(self, data):
        print(data.decode())
        reactor.callFromThread(reactor.callLater, 0.01, reactor.stop)

port = reactor.listenTCP(0, protocol.ServerFactory.forProtocol(Echo), interface="127.0.0.1")
endpoints.clientFromString(reactor, f"tcp:127.0.0.1:{port.getHost().port}").connect(protocol.Factory.forProtocol(Ask))
reactor.run()
"""


class Installed(SynchronousTestCase):
    def run_python(self, code: str) -> str:
        """Run ``code`` in a process of its own. :returns: what it printed."""
        # An editable install does not show its plugins to Twisted, unless the checkout is on the path.
        home = Path(sidecar.__file__).parent.parent
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(home), *sys.path])}
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, timeout=PATIENCE, env=environment
        )
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout

    def test_known_to_twisted(self) -> None:
        """``--reactor=microepoll`` finds it."""
        listing = (
            "from twisted.application.reactors import getReactorTypes as known; print([k.shortName for k in known()])"
        )
        self.assertIn("'microepoll'", self.run_python(listing))

    def test_runs_a_process(self) -> None:
        """A process that has it as its reactor talks over sockets, keeps time, hears from threads and stops."""
        if not module.AVAILABLE:
            raise SkipTest("there is no epoll on this platform")
        self.assertEqual(self.run_python(_RUN), "hello\n")

    def test_a_choice_is_kept(self) -> None:
        """A reactor that was chosen before stays."""
        from twisted.internet import reactor

        module.ensure()
        from twisted.internet import reactor as after

        self.assertIs(after, reactor)
