"""Which addresses others may have us connect to: not those that lead to the machine's cloud, to many or to nobody."""

from __future__ import annotations

import socket
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

from attrs import frozen

Network = IPv4Network | IPv6Network

_REFUSED: Final[tuple[tuple[Network, str], ...]] = tuple(
    (ip_network(network), why)
    for network, why in (
        ("0.0.0.0/8", "unspecified"),
        ("::/128", "unspecified"),
        ("169.254.0.0/16", "link-local, where clouds have their metadata"),
        ("fe80::/10", "link-local"),
        ("fd00:ec2::254/128", "a cloud's metadata"),
        ("100.100.100.200/32", "a cloud's metadata"),
        ("224.0.0.0/4", "multicast"),
        ("ff00::/8", "multicast"),
        ("255.255.255.255/32", "broadcast"),
        ("240.0.0.0/4", "reserved"),
    )
)
#: IPv6 networks whose last 32 bits are an IPv4 address that is meant: mapped, compatible, translated (RFC 6052, 8215).
_WITHIN: Final = tuple(
    IPv6Network(each) for each in ("::ffff:0:0/96", "::/96", "64:ff9b::/96", "64:ff9b:1::/48", "::ffff:0:0:0/96")
)
#: 6to4 (RFC 3056): the IPv4 address stands after these 16 bits.
_6TO4: Final = IPv6Network("2002::/16")


def network(text: str) -> Network:
    """An address, or a network such as ``169.254.0.0/16``. :raises ValueError: it is neither."""
    bare = text[1:-1] if text.startswith("[") and text.endswith("]") else text
    return ip_network(bare, strict=False)


@frozen
class AddressRules:
    """:ivar allowed: networks that may be connected to though they would be refused."""

    allowed: tuple[Network, ...] = ()

    def refusal(self, host: str) -> str | None:
        """Why ``host`` may not be connected to, None where it may, and for every name: that is judged by its addresses.

        :param host: in any spelling that the system takes for an address: 0xa9fea9fe is one, and 2852039166.
        """
        address = _read(host)
        if address is None:
            return None
        meant = list(_meant(address))
        if any(each in network for each in meant for network in self.allowed if network.version == each.version):
            return None
        for each in meant:
            for network, why in _REFUSED:
                if each.version == network.version and each in network:
                    shown = host if str(each) == host else f"{host} ({each})"
                    return f"{shown} is {why}; --allow_addresses permits it"
        return None


#: What nobody has loosened.
NONE_ALLOWED: Final = AddressRules()


def _read(host: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(host.partition("%")[0] if ":" in host else host)
    except ValueError:
        pass
    try:
        return IPv4Address(socket.inet_aton(host.rstrip(".")))
    except (OSError, ValueError):
        return None


def _meant(address: IPv4Address | IPv6Address) -> Iterable[IPv4Address | IPv6Address]:
    """The address, and the one that it stands for."""
    yield address
    if isinstance(address, IPv6Address) and int(address) > 1:  # "::" and "::1" are themselves
        if any(address in network for network in _WITHIN):
            yield IPv4Address(int(address) & 0xFFFFFFFF)
        elif address in _6TO4:
            yield IPv4Address(int(address) >> 80 & 0xFFFFFFFF)
