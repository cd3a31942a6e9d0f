"""A UDP multicast group: heard on its own shared port, and asked from a port of ours that answers come back to."""

from __future__ import annotations

import socket
import struct
import sys
from collections.abc import Callable
from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred, DeferredList, maybeDeferred
from twisted.internet.error import CannotListenError, MessageLengthError
from twisted.internet.protocol import DatagramProtocol

from sidecar.net.errors import InvalidSetting, Unavailable

#: Called with a packet and its sender, host and port.
Receive = Callable[[bytes, tuple[str, int]], None]

#: Octets of the largest packet that is read, and of what may wait in the kernel while the reactor is busy.
LARGEST, WAITING = 65_535, 1024 * 1024
#: How far packets may go. mDNS never leaves the link; this value proves that nobody passed them on (RFC 6762, 11).
HOPS = 255
#: From <linux/in.h>; Python has no name for it.
IP_MULTICAST_ALL = 49


class _Receiver(DatagramProtocol):
    noisy = False

    def __init__(self, receive: Receive) -> None:
        self._receive = receive

    def datagramReceived(self, datagram: bytes, addr: tuple[str, int]) -> None:
        self._receive(datagram, addr)


@define(eq=False)
class MulticastGroup:
    """Two sockets. Packets go to ``heard`` whichever of them they reach.

    :ivar interface: the address of the network interface to use, "" for all of them to hear and the default to send.
    """

    _reactor: Any
    group: str
    port: int
    interface: str
    _heard: Receive
    _shared: Any = field(default=None, init=False)
    _asking: Any = field(default=None, init=False)

    def start(self) -> None:
        """:raises InvalidSetting: there is no way to hear or to send."""
        try:
            self._shared = self._listen(self.port)
            self._asking = self._listen(0)
            _join(self._shared.getHandle(), self.group, self.interface)
        except (OSError, CannotListenError) as error:
            self.stop()
            raise InvalidSetting(self._trouble(error)) from None

    def stop(self) -> Deferred[Any]:
        """Leave. :returns: fires when both sockets are closed."""
        sockets, self._shared, self._asking = (self._shared, self._asking), None, None
        return DeferredList([maybeDeferred(each.stopListening) for each in sockets if each is not None])

    def ask(self, packet: bytes) -> None:
        """Send to the group from the port that answers come back to. :raises Unavailable: it cannot be sent."""
        self._send(self._asking, packet, (self.group, self.port))

    def tell(self, packet: bytes) -> None:
        """Send to the group from the group's own port. :raises Unavailable: it cannot be sent."""
        self._send(self._shared, packet, (self.group, self.port))

    def answer(self, packet: bytes, to: tuple[str, int]) -> None:
        """Send to one. :raises Unavailable: it cannot be sent."""
        self._send(self._shared, packet, to)

    def _listen(self, port: int) -> Any:
        # Others on this machine listen to the group as well: each needs to say that it shares the port.
        listening = self._reactor.listenMulticast(
            port, _Receiver(self._heard), maxPacketSize=LARGEST, listenMultiple=port != 0
        )
        handle: socket.socket = listening.getHandle()
        handle.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, HOPS)
        handle.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_LOOP, 1)
        handle.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, WAITING)
        if self.interface:
            handle.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(self.interface))
        return listening

    def _send(self, through: Any, packet: bytes, to: tuple[str, int]) -> None:
        if through is None:
            raise Unavailable("multicast is stopped")
        try:
            through.write(packet, to)
        except (OSError, MessageLengthError) as error:
            raise Unavailable(self._trouble(error)) from None

    def _trouble(self, error: Exception) -> str:
        where = f"on the interface {self.interface}" if self.interface else "on the default interface"
        return (
            f"multicast to {self.group}:{self.port} {where} does not work: {error}; name an interface with a multicast "
            "route by its IP address"
        )


def check(group: str, port: int, interface: str) -> None:
    """Try whether multicast works here, and leave nothing behind. :raises InvalidSetting: it does not."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            if interface:
                probe.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(interface))
            _join(probe, group, interface)
            probe.connect((group, port))  # sends nothing, but needs a route
        except OSError as error:
            where = f"the interface {interface}" if interface else "any interface"
            raise InvalidSetting(
                f"no multicast to {group} on {where}: {error}; name an interface with a multicast route by its IP "
                "address (127.0.0.1 for this machine alone)"
            ) from None


def _join(handle: socket.socket, group: str, interface: str) -> None:
    """Hear the group. :raises OSError: on none of the interfaces."""
    if interface:
        if sys.platform == "linux":
            # Otherwise it hears what any process of this machine has joined, on any interface.
            handle.setsockopt(socket.IPPROTO_IP, IP_MULTICAST_ALL, 0)
        membership = socket.inet_aton(group) + socket.inet_aton(interface)
        handle.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, membership)
        return
    joined, trouble = 0, OSError("there is no network interface")
    for index, _ in socket.if_nameindex():
        try:
            handle.setsockopt(
                socket.IPPROTO_IP,
                socket.IP_ADD_MEMBERSHIP,
                struct.pack("=4s4si", socket.inet_aton(group), bytes(4), index),
            )
            joined += 1
        except OSError as error:  # noqa: PERF203  # one without multicast must not keep us from the others
            trouble = error
    if not joined:
        raise trouble
