"""Connections in virtual time: bytes take a while, wait for a way and a reader, and keep order."""

from __future__ import annotations

from collections import deque
from itertools import count
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IAddress
from twisted.python.failure import Failure

#: Bytes that are on their way, or wait for a reader, from which on a writer is told to pause.
_WINDOW = 64 * 1024


class Wire:
    """A connection. :ivar left: who connected. :ivar right: who listened. :ivar network: whose wire it is."""

    def __init__(self, network: Any, left: Any, right: Any, port: int) -> None:
        self.network = network
        self.left, self.right = WireEnd(self, left, port), WireEnd(self, right, port)
        self.left.peer, self.right.peer = self.right, self.left
        network.wires.append(self)

    def begin(self, asking: Any, served: Any) -> None:
        """Hand both ends to their protocols; None for one that will not have it."""
        self.left.protocol, self.right.protocol = asking, served
        if served is None:
            self.left.machine.do(lambda: asking.makeConnection(self.left))
            self.reset()
            return
        self.right.machine.do(lambda: served.makeConnection(self.right))
        self.left.machine.do(lambda: asking.makeConnection(self.left))

    def go_on(self) -> None:
        """Nothing is in the way any more."""
        for end in (self.left, self.right):
            end.move()

    def reset(self) -> None:
        """Cut it: both sides see it lost."""
        for end in (self.left, self.right):
            end.lost(ConnectionLost("reset"))

    def forget(self) -> None:
        """Both ends are closed."""
        if self in self.network.wires and self.left.closed and self.right.closed:
            self.network.wires.remove(self)


_PORTS = count()

#: Stands behind the last bytes of a side that has no more to say.
_FIN = object()


class WireEnd:
    """One end of a wire: a transport."""

    peer: WireEnd

    def __init__(self, wire: Wire, machine: Any, port: int) -> None:
        self.wire, self.machine, self._port = wire, machine, port
        self.protocol: Any = None
        self._own = 1024 + next(_PORTS) % 60000
        self.closed = self.disconnecting = False
        self.connected = 1
        self._out: deque[Any] = deque()
        self._size = 0
        self._paused = False
        self._due: Any = None
        self._producer: Any = None
        self._producer_paused = False

    @property
    def disconnected(self) -> bool:
        return self.closed

    def write(self, data: bytes) -> None:
        if self.closed or self.disconnecting or not data:
            return
        self._out.append(bytes(data))
        self._size += len(data)
        if self._size > _WINDOW and self._producer is not None and not self._producer_paused:
            self._producer_paused = True
            self._producer.pauseProducing()
        self.move()

    def writeSequence(self, pieces: Any) -> None:
        self.write(b"".join(pieces))

    def loseConnection(self) -> None:
        if not self.closed and not self.disconnecting:
            self.disconnecting = True
            self._out.append(_FIN)
            self.move()

    def abortConnection(self) -> None:
        if not self.closed:
            self.wire.reset()

    def move(self) -> None:
        """Have what waits arrive, one piece after the other."""
        blocked = self.peer._paused or self.wire.network.is_cut(self.machine, self.peer.machine)
        if self._due is None and self._out and not blocked and not self.machine.dead:
            clock = self.wire.network.clock
            self._due = clock.callLater(self.wire.network.latency(), self.peer.machine.do, self._arrive)

    def _arrive(self) -> None:
        self._due = None
        if self.closed or not self._out:
            return
        if self.peer._paused or self.wire.network.is_cut(self.machine, self.peer.machine):
            return  # whoever ends that has us go on
        piece = self._out.popleft()
        if piece is _FIN:
            self.peer.lost(ConnectionDone())
            self.lost(ConnectionDone())
            return
        self._size -= len(piece)
        if self._producer_paused and self._size <= _WINDOW // 2:
            self._producer_paused = False
            self.machine.do(self._resume)
        self.peer.protocol.dataReceived(piece)
        self.move()

    def _resume(self) -> None:
        if self._producer is not None and not self.closed:
            self._producer.resumeProducing()

    def lost(self, why: Exception) -> None:
        """This side's protocol hears that the connection is gone, once."""
        if self.closed:
            return
        self.closed = True
        self.connected = 0
        self._out.clear()
        protocol = self.protocol
        if protocol is not None:
            self.wire.network.clock.callLater(0, self.machine.do, lambda: protocol.connectionLost(Failure(why)))
        self.wire.forget()

    # --- What transports have besides -------------------------------------------------------------------------------

    def pauseProducing(self) -> None:
        self._paused = True

    def resumeProducing(self) -> None:
        self._paused = False
        self.peer.move()

    def stopProducing(self) -> None:
        self.loseConnection()

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        self._producer = producer

    def unregisterProducer(self) -> None:
        self._producer, self._producer_paused = None, False

    def getPeer(self) -> IAddress:
        return IPv4Address("TCP", "127.0.0.1", self._own)

    def getHost(self) -> IAddress:
        return IPv4Address("TCP", "127.0.0.1", self._port)

    def setTcpNoDelay(self, enabled: bool) -> None:
        """Nothing is ever delayed for more."""

    def setTcpKeepAlive(self, enabled: bool) -> None:
        """Nobody asks whether the other side is still there."""

    def getTcpNoDelay(self) -> bool:
        return True
