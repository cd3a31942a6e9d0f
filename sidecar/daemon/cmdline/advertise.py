"""At which address an app is registered, where the one that it listens at is of no use to others. Pure."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable

from attrs import frozen

_LOOPBACK = {False: "127.0.0.1", True: "::1"}


@frozen
class AdvertisedAddress:
    """Where an app is registered.

    :ivar host: a name or an IP literal without brackets.
    :ivar note: what was made of the address that was given, "" where it is registered as it is.
    :ivar warning: why others may not reach it, "" where nothing speaks against it.
    """

    host: str
    port: int
    note: str = ""
    warning: str = ""


def is_everywhere(host: str) -> bool:
    """Whether ``host`` is every interface of a machine, and so no address to call."""
    if not host:
        return True
    try:
        return ipaddress.ip_address(host).is_unspecified
    except ValueError:
        return False


def is_loopback(host: str) -> bool:
    """Whether ``host`` is this machine for whoever looks it up."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        name = host.rstrip(".").lower()
        return name == "localhost" or name.endswith(".localhost")


def here(host: str) -> str:
    """:returns: how we ourselves reach what listens at ``host``."""
    return _LOOPBACK[":" in host] if is_everywhere(host) else host


def advertised(
    flag: str, host: str, port: int, alone: bool, own_addresses: Callable[[bool], list[str]]
) -> AdvertisedAddress:
    """The address to register for an app that listens at ``host`` and ``port``.

    :param flag: what gave the address, for messages.
    :param alone: whether nobody but us reads the registry.
    :param own_addresses: this machine's addresses, of IPv6 or not, best first.
    """
    shown = f"{flag}={f'[{host}]' if ':' in host else host}:{port}"
    if not is_everywhere(host):
        if alone or not is_loopback(host):
            return AdvertisedAddress(host, port)
        return AdvertisedAddress(
            host,
            port,
            warning=f"{shown} is registered for other machines, which cannot reach it: have the app listen at an"
            " address of this machine, or name one by --server_advertise",
        )
    if alone:
        loopback = here(host)
        return AdvertisedAddress(loopback, port, note=f"{shown} is every interface: registered as {loopback}")
    # As go-micro does. What listens at [::] takes IPv4 too, which more machines speak.
    found = own_addresses(False) or (own_addresses(True) if ":" in host or not host else [])
    if found:
        note = f"{shown} is every interface: registered as {found[0]}, an address of this machine"
        return AdvertisedAddress(found[0], port, note=f"{note}; --server_advertise names another")
    return AdvertisedAddress(
        here(host),
        port,
        warning=f"{shown} is every interface, and this machine has no address but loopback: other machines cannot"
        " reach the app; name one that they can by --server_advertise",
    )
