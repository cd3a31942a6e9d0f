"""Eager writes: what the socket takes goes at once, the rest goes Twisted's way, and nothing else changes."""

from __future__ import annotations

import errno
import socket
from typing import Any

from twisted.internet import reactor as real_reactor
from twisted.internet import tcp
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IPushProducer
from twisted.internet.main import CONNECTION_DONE, CONNECTION_LOST
from twisted.internet.protocol import ClientFactory, Protocol, ServerFactory
from twisted.internet.testing import MemoryReactor
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.trial.unittest import SynchronousTestCase, TestCase
from zope.interface import implementer

from sidecar.net.reactor import eager
from sidecar.test.doubles.tls import tls_ends

PATIENCE = 60

reactor: Any = real_reactor


class Watcher:
    """A reactor that only notes who wants to be told of what."""

    def __init__(self) -> None:
        self.writers: list[object] = []
        self.later: list[tuple[Any, tuple[Any, ...]]] = []
        self.registrations = 0

    def addReader(self, reader: object) -> None: ...
    def removeReader(self, reader: object) -> None: ...

    def addWriter(self, writer: object) -> None:
        self.registrations += 1
        if writer not in self.writers:
            self.writers.append(writer)

    def removeWriter(self, writer: object) -> None:
        if writer in self.writers:
            self.writers.remove(writer)

    def callLater(self, delay: float, call: Any, *args: Any) -> None:
        self.later.append((call, args))


class Socket:
    """A socket that takes ``room`` bytes, or fails. :ivar taken: what it took. :ivar sends: how often it was asked."""

    def __init__(self) -> None:
        self.taken = b""
        self.room = 1 << 30
        self.error: int | None = None
        self.sends = 0
        self.closed = False
        self.shut: list[int] = []
        self.options: list[tuple[Any, ...]] = []

    def send(self, data: bytes) -> int:
        self.sends += 1
        if self.error is not None or self.shut:
            raise OSError(self.error or errno.EPIPE, "as told")
        if not self.room:
            raise OSError(errno.EAGAIN, "full")
        part = bytes(data[: self.room])
        self.taken += part
        self.room -= len(part)
        return len(part)

    def setsockopt(self, *args: Any) -> None:
        self.options.append(args)

    def shutdown(self, how: int) -> None:
        self.shut.append(how)

    def setblocking(self, flag: bool) -> None: ...

    def close(self) -> None:
        self.closed = True

    def fileno(self) -> int:
        return 7


class Quiet(Protocol):
    """:ivar lost: how often connectionLost came."""

    lost = 0

    def connectionLost(self, reason: Any = None) -> None:
        self.lost += 1


@implementer(IPushProducer)
class Producer:
    def __init__(self) -> None:
        self.told: list[str] = []

    def pauseProducing(self) -> None:
        self.told.append("pause")

    def resumeProducing(self) -> None:
        self.told.append("resume")

    def stopProducing(self) -> None:
        self.told.append("stop")


class WriteOverlay(SynchronousTestCase):
    def setUp(self) -> None:
        self.socket = Socket()
        self.watcher = Watcher()
        self.protocol = Quiet()
        self.transport: Any = eager.EagerServer(
            self.socket,  # type: ignore[arg-type]  # a double
            self.protocol,
            ("127.0.0.1", 1),
            None,
            0,
            self.watcher,
        )
        self.protocol.makeConnection(self.transport)

    def test_at_once(self) -> None:
        """What the socket has room for is sent inside write, and the reactor is not bothered."""
        self.transport.write(b"one")
        self.transport.writeSequence([b"two", b"three"])
        self.assertEqual(self.socket.taken, b"onetwothree")
        self.assertEqual(self.socket.sends, 2)
        self.assertEqual(self.watcher.registrations, 0)

    def test_partial(self) -> None:
        """What the socket does not take waits for the reactor, later writes wait behind it, then all is eager again."""
        self.socket.room = 4
        self.transport.write(b"abcdefgh")
        self.assertEqual(self.watcher.writers, [self.transport])
        self.socket.room = 100
        self.transport.write(b"ij")
        self.assertEqual(self.socket.taken, b"abcd")
        self.assertIsNone(self.transport.doWrite())
        self.assertEqual(self.socket.taken, b"abcdefghij")
        self.assertEqual(self.watcher.writers, [])
        self.transport.write(b"k")
        self.assertEqual(self.socket.taken, b"abcdefghijk")
        self.assertEqual(self.watcher.registrations, 2)

    def test_full(self) -> None:
        """A socket without room costs nothing but the wait."""
        self.socket.room = 0
        self.transport.write(b"abc")
        self.socket.room = 100
        self.transport.doWrite()
        self.assertEqual(self.socket.taken, b"abc")

    def test_broken(self) -> None:
        """A broken connection is not told inside write: the reactor's turn finds it, as ever."""
        for number in (errno.EPIPE, errno.ECONNRESET):
            self.socket.error = number
            self.transport.write(b"abc")
            self.transport.write(b"def")
            self.assertEqual(self.protocol.lost, 0)
            self.assertEqual(self.watcher.writers, [self.transport])
            self.assertIs(self.transport.doWrite(), CONNECTION_LOST)

    def test_only_bytes(self) -> None:
        """What stock transports refuse to write is refused."""
        for wrong in ("text", bytearray(b"abc"), memoryview(b"abc"), None):
            with self.assertRaises(TypeError):
                self.transport.write(wrong)
        self.assertEqual(self.socket.sends, 0)

    def test_push_producer(self) -> None:
        """A push producer is paused when the rest is more than the buffer is meant for, and resumed when it is out."""
        producer = Producer()
        self.transport.registerProducer(producer, True)
        self.transport.write(b"x" * 1000)
        self.assertEqual(producer.told, [])
        self.socket.room = 10
        self.transport.write(b"y" * (self.transport.bufferSize + 11))
        self.assertEqual(producer.told, ["pause"])
        self.socket.room = 1 << 30
        while self.watcher.writers:
            self.transport.doWrite()
        self.assertEqual(producer.told, ["pause", "resume"])
        self.assertEqual(len(self.socket.taken), 1000 + self.transport.bufferSize + 11)

    def test_pull_producer(self) -> None:
        """A pull producer is asked for more whenever its last piece is out, until it has no more."""
        transport = self.transport

        class Pull:
            left = 3

            def resumeProducing(self) -> None:
                self.left -= 1
                transport.write(b"p%d" % self.left)
                if not self.left:
                    transport.unregisterProducer()

            def stopProducing(self) -> None: ...

        transport.registerProducer(Pull(), False)
        for _ in range(5):
            if self.watcher.writers:
                transport.doWrite()
        self.assertEqual(self.socket.taken, b"p2p1p0")

    def test_lose_connection_after_write(self) -> None:
        """loseConnection lets everything out that was written before it, and then closes."""
        self.socket.room = 3
        self.transport.write(b"abcdef")
        self.transport.loseConnection()
        self.assertFalse(self.socket.closed)
        self.socket.room = 100
        self.assertIs(self.transport.doWrite(), CONNECTION_DONE)
        self.assertEqual(self.socket.taken, b"abcdef")

    def test_lose_connection_when_all_is_out(self) -> None:
        """loseConnection right after an eager write closes in the reactor's next turn."""
        self.transport.write(b"abc")
        self.transport.loseConnection()
        self.assertEqual(self.watcher.writers, [self.transport])
        self.assertIs(self.transport.doWrite(), CONNECTION_DONE)

    def test_half_close(self) -> None:
        """loseWriteConnection closes our side after what was written; what is written afterwards is dropped."""
        self.socket.room = 3
        self.transport.write(b"abcdef")
        self.transport.loseWriteConnection()
        self.assertEqual(self.socket.shut, [])
        self.socket.room = 100
        self.transport.doWrite()
        self.assertEqual((self.socket.taken, self.socket.shut), (b"abcdef", [1]))
        self.transport.write(b"too late")
        self.assertEqual(self.socket.taken, b"abcdef")

    def test_abort(self) -> None:
        """After abortConnection not one byte leaves."""
        self.transport.abortConnection()
        self.transport.write(b"abc")
        self.assertEqual(self.socket.taken, b"")

    def test_gone(self) -> None:
        """Writing to a connection that is gone does nothing, as with stock transports."""
        from twisted.python.failure import Failure

        self.transport.connectionLost(Failure(CONNECTION_DONE))
        self.transport.write(b"abc")
        self.transport.writeSequence([b"abc"])
        self.assertEqual((self.socket.taken, self.protocol.lost), (b"", 1))

    def test_no_delay(self) -> None:
        """Nagle's algorithm is off."""
        self.assertIn((socket.IPPROTO_TCP, socket.TCP_NODELAY, True), self.socket.options)


class Reads(WriteOverlay):
    """What is read, and how much is asked for. (The promises about writing hold meanwhile.)"""

    def feed(self, *sizes: int) -> list[int]:
        """Read what a socket gives. :returns: how much it was asked for each time."""
        asked: list[int] = []
        came: list[bytes] = []
        left = list(sizes)

        def recv(most: int) -> bytes:
            asked.append(most)
            return b"x" * min(most, left.pop(0))

        self.socket.recv = recv  # type: ignore[attr-defined]
        self.transport.protocol = Protocol()
        self.transport.protocol.dataReceived = came.append
        for _ in sizes:
            self.assertIsNone(self.transport.doRead())
        self.assertEqual([len(data) for data in came], [min(a, s) for a, s in zip(asked, sizes, strict=True)])
        return asked

    def test_appetite(self) -> None:
        """Little is asked for until a message fills it, and much until one is small again."""
        small, large = eager.SMALL, eager.LARGE
        asked = self.feed(100, small - 1, small, large, 20_000, 100, 100)
        self.assertEqual(asked, [small, small, small, large, large, large, small])

    def test_end(self) -> None:
        """The end of a connection is told as by stock transports."""

        def raising(error: OSError) -> Any:
            def recv(most: int) -> bytes:
                raise error

            return recv

        self.socket.recv = lambda most: b""  # type: ignore[attr-defined]
        self.assertIs(self.transport.doRead(), CONNECTION_DONE)
        self.socket.recv = raising(BlockingIOError(errno.EAGAIN, "nothing"))  # type: ignore[attr-defined]
        self.assertIsNone(self.transport.doRead())
        self.socket.recv = raising(ConnectionResetError(errno.ECONNRESET, "reset"))  # type: ignore[attr-defined]
        self.assertIs(self.transport.doRead(), CONNECTION_LOST)


class Collector(Protocol):
    """Gathers what comes, and closes when it has ``wanted`` bytes. :ivar whole: fires with all of it at the end."""

    transport: Any

    def __init__(self, wanted: int, greeting: bytes = b"", chop: int = 1 << 30) -> None:
        self.wanted, self.greeting, self.chop = wanted, greeting, chop
        self.parts: list[bytes] = []
        self.got = 0
        self.whole: Deferred[bytes] = Deferred()

    def connectionMade(self) -> None:
        for start in range(0, len(self.greeting), self.chop):
            self.transport.write(self.greeting[start : start + self.chop])

    def dataReceived(self, data: bytes) -> None:
        self.parts.append(data)
        self.got += len(data)
        if self.got == self.wanted:
            self.transport.loseConnection()

    def connectionLost(self, reason: Any = None) -> None:
        self.whole.callback(b"".join(self.parts))


class Echo(Protocol):
    """Sends back what comes, with Twisted's own back-pressure. :ivar kinds: the transports that were seen."""

    transport: Any
    kinds: list[type] = []

    def connectionMade(self) -> None:
        self.kinds.append(type(self.transport))
        self.transport.registerProducer(self.transport, True)

    def dataReceived(self, data: bytes) -> None:
        self.transport.write(data)


def clients(protocol: Protocol) -> ClientFactory[Any]:
    factory: ClientFactory[Any] = ClientFactory()
    factory.noisy = False
    factory.buildProtocol = lambda addr: protocol  # type: ignore[method-assign]
    return factory


class OverTheWire(TestCase):
    """The same over real sockets."""

    timeout = PATIENCE

    def listen(self, factory: Any, where: Any = 0) -> int:
        port = eager.listen(reactor, where, factory, "127.0.0.1")
        self.addCleanup(port.stopListening)
        return port.getHost().port  # type: ignore[attr-defined]

    def echo(self) -> Any:
        factory = ServerFactory.forProtocol(Echo)
        factory.noisy = False
        Echo.kinds = []
        return factory

    async def test_echo(self) -> None:
        """Eight megabytes in odd pieces come back whole, eagerly on both sides."""
        load = bytes(range(256)) * 32768
        collector = Collector(len(load), load, 9973)
        eager.connect(reactor, "127.0.0.1", self.listen(self.echo()), clients(collector), PATIENCE)
        await self.addPatience(collector.whole)
        self.assertEqual(b"".join(collector.parts), load)
        self.assertEqual(Echo.kinds, [eager.EagerServer])
        self.assertIsInstance(collector.transport, eager.EagerClient)

    def addPatience(self, waiting: Deferred[Any]) -> Deferred[Any]:
        return waiting.addTimeout(PATIENCE, reactor)

    async def test_tls_above(self) -> None:
        """TLS laid over eager transports carries two megabytes there and back, and closes in order."""
        context, trust = tls_ends()
        load = bytes(range(256)) * 8192
        collector = Collector(len(load), load, 100_003)
        port = self.listen(TLSMemoryBIOFactory(context, False, self.echo()))
        factory = TLSMemoryBIOFactory(trust, True, clients(collector))
        factory.noisy = False
        eager.connect(reactor, "localhost", port, factory, PATIENCE)
        await self.addPatience(collector.whole)
        self.assertEqual(b"".join(collector.parts), load)

    async def test_start_tls(self) -> None:
        """A connection may turn to TLS in the middle."""
        context, trust = tls_ends()

        class Turning(Echo):
            def dataReceived(self, data: bytes) -> None:
                if data == b"STARTTLS":
                    self.transport.unregisterProducer()
                    self.transport.write(b"OK")
                    self.transport.startTLS(context)
                else:
                    self.transport.write(data)

        class Asking(Collector):
            def dataReceived(self, data: bytes) -> None:
                if data == b"OK":
                    self.transport.startTLS(trust)
                    self.transport.write(b"secret" * 10_000)
                else:
                    super().dataReceived(data)

        factory = ServerFactory.forProtocol(Turning)
        factory.noisy = False
        asking = Asking(60_000, b"STARTTLS")
        eager.connect(reactor, "127.0.0.1", self.listen(factory), clients(asking), PATIENCE)
        await self.addPatience(asking.whole)
        self.assertEqual(b"".join(asking.parts), b"secret" * 10_000)

    async def test_socket_that_is_bound_already(self) -> None:
        """A socket that somebody bound early is served; its owner may close their own handle."""
        bound = socket.create_server(("127.0.0.1", 0))
        number = bound.getsockname()[1]
        self.assertEqual(self.listen(self.echo(), bound), number)
        bound.close()
        collector = Collector(5, b"hello")
        eager.connect(reactor, "127.0.0.1", number, clients(collector), PATIENCE)
        await self.addPatience(collector.whole)
        self.assertEqual(collector.parts, [b"hello"])
        self.assertEqual(Echo.kinds, [eager.EagerServer])

    async def test_both_sides_send_without_delay(self) -> None:
        """TCP_NODELAY is on at both ends."""
        seen: list[bool] = []

        class Noting(Echo):
            def connectionMade(self) -> None:
                super().connectionMade()
                seen.append(self.transport.getTcpNoDelay())

        class Asking(Collector):
            def connectionMade(self) -> None:
                seen.append(self.transport.getTcpNoDelay())
                super().connectionMade()

        factory = ServerFactory.forProtocol(Noting)
        factory.noisy = False
        asking = Asking(2, b"hi")
        eager.connect(reactor, "127.0.0.1", self.listen(factory), clients(asking), PATIENCE)
        await self.addPatience(asking.whole)
        self.assertEqual(seen, [True, True])


class Elsewhere(SynchronousTestCase):
    def test_reactors_without_descriptors(self) -> None:
        """A reactor that watches no descriptors gets its own connectTCP and listenTCP called."""
        memory: Any = MemoryReactor()
        eager.connect(memory, "127.0.0.1", 1234, clients(Quiet()), 3)
        self.assertEqual(memory.tcpClients[0][:2], ("127.0.0.1", 1234))
        eager.listen(memory, 4321, ServerFactory(), "127.0.0.1", 5)
        self.assertEqual((memory.tcpServers[0][0], memory.tcpServers[0][2:]), (4321, (5, "127.0.0.1")))

    def test_foreign_ports_are_left_alone(self) -> None:
        """Only stock TCP ports are made eager: one with a transport of its own keeps that."""

        class Own(tcp.Port):
            transport = Quiet  # type: ignore[assignment]

        port = Own(0, ServerFactory(), reactor=Watcher())
        self.assertIs(eager.make_eager(port), port)
        self.assertIs(port.transport, Quiet)
