"""A network link in memory, on a clock of its own: what one sends to a multicast group reaches all who listen to it."""

from __future__ import annotations

from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred, succeed
from twisted.internet.protocol import DatagramProtocol

from sidecar.test.doubles.virtualtime import VirtualTime

#: The address of everybody here.
HERE = "127.0.0.1"


class _Handle:
    """Stands in for a socket, whose options make no difference here."""

    def setsockopt(self, *_: Any) -> None:
        """Take it."""


@define(eq=False)
class _LinkPort:
    """One port. :ivar number: several may share it, as those that listen to a group do."""

    link: MemoryLink
    number: int
    protocol: DatagramProtocol
    sent: int = field(default=0, init=False)

    def getHandle(self) -> Any:
        return _Handle()

    def write(self, packet: bytes, to: tuple[str, int]) -> None:
        self.sent += 1
        for port in [each for each in self.link.ports if each.number == to[1]]:
            self.link.callLater(0, port.hear, packet, (HERE, self.number))
            if to[0] == HERE:
                break  # it is meant for one

    def hear(self, packet: bytes, sender: tuple[str, int]) -> None:
        if self in self.link.ports:
            self.protocol.datagramReceived(packet, sender)

    def stopListening(self) -> Deferred[None]:
        if self in self.link.ports:
            self.link.ports.remove(self)
        return succeed(None)


class MemoryLink(VirtualTime):
    """The link, and the clock of those on it. It is handed out as their reactor. :ivar ports: those that are open."""

    def __init__(self) -> None:
        super().__init__()
        self.ports: list[_LinkPort] = []
        self._last = 40_000

    def listenMulticast(self, port: int, protocol: Any, maxPacketSize: int = 0, listenMultiple: bool = False) -> Any:
        self._last += 1
        made = _LinkPort(self, port or self._last, protocol)
        self.ports.append(made)
        return made
