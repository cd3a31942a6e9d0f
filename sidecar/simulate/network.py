"""Machines in virtual time: each is a reactor for what runs on it, and can freeze, crash and have a wrong date."""

from __future__ import annotations

import os
import socket
from collections import deque
from collections.abc import Callable
from random import Random
from typing import Any

from attrs import define
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import AlreadyCalled, AlreadyCancelled, ConnectionDone, ConnectionRefusedError, TimeoutError
from twisted.internet.interfaces import IAddress, IReactorSocket
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from zope.interface import implementer

from sidecar.simulate.wires import Wire, WireEnd

#: Seconds that a piece takes, at least and at most.
_LATENCY = (0.0001, 0.002)
#: The date at which every simulation begins: 2026-01-01.
_BEGIN = 1767225600.0


class Network:
    """All machines. :ivar clock: the time of the world. :ivar cut: pairs of machines between which nothing passes."""

    def __init__(self, chance: Random) -> None:
        self.clock = Clock()
        self.chance = chance
        self.ports: dict[int, tuple[Machine, Any]] = {}
        self.cut: set[frozenset[str]] = set()
        self.wires: list[Wire] = []
        self._taken: list[socket.socket] = []

    def take(self, descriptor: int) -> int:
        """Keep a port of the real machine for as long as this network is there: none of its numbers is given twice.

        :param descriptor: of the socket that is bound to it. :returns: its number."""
        self._taken.append(bound := socket.socket(fileno=os.dup(descriptor)))
        number: int = bound.getsockname()[1]
        return number

    def close(self) -> None:
        """Give the real machine its ports back."""
        while self._taken:
            self._taken.pop().close()

    def is_cut(self, one: Machine, other: Machine) -> bool:
        """Whether nothing passes between the two."""
        return frozenset((one.name, other.name)) in self.cut

    def part(self, one: str, other: str) -> None:
        """From now on nothing passes between the two machines; what is on its way waits."""
        self.cut.add(frozenset((one, other)))

    def heal(self, one: str, other: str) -> None:
        """It passes again, what has waited first."""
        self.cut.discard(frozenset((one, other)))
        for wire in list(self.wires):
            wire.go_on()

    def latency(self) -> float:
        """:returns: seconds."""
        return self.chance.uniform(*_LATENCY)


@define(eq=False)
class _Port:
    network: Network
    number: int
    factory: Any

    def getHost(self) -> IAddress:
        return IPv4Address("TCP", "127.0.0.1", self.number)

    def stopListening(self) -> Deferred[None]:
        if self.network.ports.pop(self.number, None) is not None:
            self.factory.doStop()
        return succeed(None)


class _Timer:
    """A call to come on a machine, which a frozen one makes late: until then it can be cancelled."""

    def __init__(self, machine: Machine, delay: float, work: Callable[[], object]) -> None:
        self._machine, self._work = machine, work
        self._over: type[Exception] | None = None
        self._set(delay)

    def _set(self, delay: float) -> None:
        self._call = self._machine.network.clock.callLater(max(0.0, delay), self._machine.do, self._fire)

    def _fire(self) -> None:
        if self._over is None and not self._call.active():
            self._over = AlreadyCalled
            self._work()

    def active(self) -> bool:
        return self._over is None

    def getTime(self) -> float:
        when: float = self._call.getTime()
        return when

    def cancel(self) -> None:
        self._check()
        self._over = AlreadyCancelled
        if self._call.active():
            self._call.cancel()

    def reset(self, delay: float) -> None:
        self._check()
        if self._call.active():
            self._call.cancel()
        self._set(delay)

    def delay(self, seconds: float) -> None:
        self.reset(self.getTime() + seconds - self._machine.seconds())

    def _check(self) -> None:
        if self._over is not None:
            raise self._over


@implementer(IReactorSocket)
class Machine:
    """One machine: a reactor for what runs on it.

    :ivar frozen: it does nothing, as a process that was stopped. :ivar dead: it never will again.
    :ivar set_by: seconds by which its date is wrong.
    """

    def __init__(self, network: Network, name: str) -> None:
        self.network = network
        self.name = name
        self.frozen = self.dead = False
        self.set_by = 0.0
        self._late: deque[Callable[[], None]] = deque()

    # --- Time -------------------------------------------------------------------------------------------------------

    def seconds(self) -> float:
        now: float = self.network.clock.seconds()
        return now

    def wall(self) -> float:
        """The date that this machine believes in, in seconds since the epoch."""
        return _BEGIN + self.seconds() + self.set_by

    def callLater(self, delay: float, work: Callable[..., object], *args: Any, **named: Any) -> Any:
        return _Timer(self, delay, lambda: work(*args, **named))

    def getDelayedCalls(self) -> Any:
        return self.network.clock.getDelayedCalls()

    def callFromThread(self, work: Callable[..., object], *args: Any, **named: Any) -> None:
        self.callLater(0, work, *args, **named)

    def callWhenRunning(self, work: Callable[..., object], *args: Any, **named: Any) -> None:
        work(*args, **named)

    def do(self, work: Callable[[], object]) -> None:
        """Do ``work`` now, or when the machine is awake again, or never."""
        if self.dead:
            return
        if self.frozen:
            self._late.append(work)  # type: ignore[arg-type]  # what it returns is nobody's
        else:
            work()

    def thaw(self) -> None:
        """It goes on, with what it has missed first."""
        self.frozen = False
        while self._late and not self.frozen and not self.dead:
            self._late.popleft()()

    def crash(self) -> None:
        """Everything on it is gone, as by a ``kill -9``; its peers see their connections reset."""
        self.dead = True
        for number in [number for number, (machine, _) in self.network.ports.items() if machine is self]:
            del self.network.ports[number]
        for wire in [wire for wire in self.network.wires if self in (wire.left.machine, wire.right.machine)]:
            wire.reset()

    # --- Connections ------------------------------------------------------------------------------------------------

    def adoptStreamPort(self, fileDescriptor: int, addressFamily: Any, factory: Any) -> Any:
        return self.listen(self.network.take(fileDescriptor), factory)

    def adoptStreamConnection(self, fileDescriptor: int, addressFamily: Any, factory: Any) -> None:
        raise NotImplementedError("there are no connections from outside")

    def adoptDatagramPort(
        self, fileDescriptor: int, addressFamily: Any, protocol: Any, maxPacketSize: int = 8192
    ) -> Any:
        raise NotImplementedError("there are no datagrams")

    def listen(self, number: int, factory: Any) -> _Port:
        """Listen on a port of the network, which all machines share."""
        factory.doStart()
        self.network.ports[number] = (self, factory)
        return _Port(self.network, number, factory)

    def connectTCP(self, host: str, port: int, factory: Any, timeout: float = 30, bindAddress: Any = None) -> Connector:
        connector = Connector(self, port, factory, timeout)
        connector.connect()
        return connector


class Connector:
    """A connection being made."""

    def __init__(self, machine: Machine, port: int, factory: Any, timeout: float) -> None:
        self._machine, self._port, self._factory, self._timeout = machine, port, factory, timeout
        self._timer: Any = None
        self._end: WireEnd | None = None

    def connect(self) -> None:
        """Knock."""
        self._factory.doStart()
        self._factory.startedConnecting(self)
        self._deadline = self._machine.seconds() + self._timeout
        self._knock()

    def _knock(self) -> None:
        self._timer = self._machine.callLater(self._machine.network.latency(), self._arrived)

    def _arrived(self) -> None:
        machine, network = self._machine, self._machine.network
        there = network.ports.get(self._port)
        now = machine.seconds()
        if there is not None and (network.is_cut(machine, there[0]) or there[0].frozen):
            # Nobody says anything; a kernel asks again, and so do we.
            if now >= self._deadline:
                self._fail(TimeoutError("nobody answered"))
            else:
                self._timer = machine.callLater(min(0.2, max(0.0, self._deadline - now)), self._arrived)
        elif there is None:
            self._fail(ConnectionRefusedError("nobody listens"))
        else:
            self._timer = None
            wire = Wire(network, machine, there[0], self._port)
            self._end = wire.left
            served = there[1].buildProtocol(wire.right.getPeer())
            asking = self._factory.buildProtocol(wire.left.getPeer())
            wire.begin(asking, served)

    def _fail(self, error: Exception) -> None:
        self._timer = None
        self._factory.clientConnectionFailed(self, Failure(error))
        self._factory.doStop()

    def stopConnecting(self) -> None:
        self.disconnect()

    def disconnect(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._fail(ConnectionDone("given up"))
        elif self._end is not None:
            self._end.loseConnection()

    def getDestination(self) -> IAddress:
        return IPv4Address("TCP", "127.0.0.1", self._port)
