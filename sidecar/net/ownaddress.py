"""The addresses by which other machines reach this one, best first."""

from __future__ import annotations

import fcntl
import ipaddress
import socket
import struct
from collections.abc import Iterator
from pathlib import Path

#: Addresses for documents, which no machine has: a route to them is the route to everybody.
_FAR = {socket.AF_INET: ("192.0.2.1", 9), socket.AF_INET6: ("2001:db8::1", 9)}
#: Linux: what an interface's address is, and its flags; up, and loopback.
_SIOCGIFADDR, _SIOCGIFFLAGS, _UP, _LOOPBACK = 0x8915, 0x8913, 1, 8
#: Linux: a line an address, in hex, of every interface.
_IF_INET6 = Path("/proc/net/if_inet6")


def own_addresses(ipv6: bool) -> list[str]:
    """:param ipv6: of which family. :returns: global and private addresses of this machine; the one first from which
    it talks to others. Nothing is sent and no name is looked up."""
    found = [
        *_by_route(socket.AF_INET6 if ipv6 else socket.AF_INET),
        *(_of_interfaces6() if ipv6 else _of_interfaces4()),
    ]
    return [one for one in dict.fromkeys(found) if reaches_us(one)]


def reaches_us(address: str) -> bool:
    """Whether other machines can reach somebody at ``address``, as far as its kind tells."""
    ip = ipaddress.ip_address(address)
    return not (ip.is_loopback or ip.is_unspecified or ip.is_link_local or ip.is_multicast)


def _by_route(family: socket.AddressFamily) -> Iterator[str]:
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as sock:
            sock.connect(_FAR[family])  # a datagram socket only remembers it
            yield sock.getsockname()[0]
    except OSError:
        return  # no such family, or no route to anybody


def _of_interfaces4() -> Iterator[str]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        for _, name in socket.if_nameindex():
            asked = struct.pack("256s", name.encode()[:15])
            try:
                (flags,) = struct.unpack_from("H", fcntl.ioctl(sock, _SIOCGIFFLAGS, asked), 16)
                if flags & _UP and not flags & _LOOPBACK:
                    yield socket.inet_ntoa(fcntl.ioctl(sock, _SIOCGIFADDR, asked)[20:24])
            except OSError:
                continue  # an interface without an IPv4 address


def _of_interfaces6() -> Iterator[str]:
    try:
        lines = _IF_INET6.read_text().splitlines()
    except OSError:
        return
    for line in lines:
        number, _, _, scope, *_ = line.split()
        if scope == "00":  # global
            yield str(ipaddress.IPv6Address(bytes.fromhex(number)))
