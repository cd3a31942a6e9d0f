"""Counts what each peer has of connections, requests, WebSockets and subscriptions, and says what is too much.

A peer is an address (of IPv6, its first 64 bits), or at a Unix socket a user. All apps of this machine share the
loopback address, so who comes from there may have as much as there is for all, and is not counted here.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable
from ipaddress import IPv6Address, IPv6Network
from typing import Any, Final, Literal

from attrs import define, field, frozen

#: What is counted.
Kind = Literal["connections", "requests", "websockets", "subscriptions"]

_CREDENTIALS: Final = struct.Struct("3i")

_NAMES: Final[dict[Kind, str]] = {
    "connections": "connections of {} are open",
    "requests": "requests of {} are under way",
    "websockets": "WebSockets of {} are open",
    "subscriptions": "subscriptions (WebSockets, watches, blocking queries) of {} are open",
}


@frozen
class Shares:
    """The most that one peer may have of each kind.

    :ivar requests: under way, those that last as long as their callers like left out: they are subscriptions.
    :ivar connections: likewise. :ivar subscriptions: WebSockets, event streams and blocking queries together.
    """

    connections: int = 2500
    requests: int = 2500
    websockets: int = 4096
    subscriptions: int = 4096


@define(eq=False)
class PeerUse:
    """What one peer has. :ivar name: the address, or ``uid:1000``. :ivar requests: under way, those that last too."""

    name: str
    shares: Shares
    _unused: Callable[[str], None]
    connections: int = field(default=0, init=False)
    requests: int = field(default=0, init=False)
    websockets: int = field(default=0, init=False)
    subscriptions: int = field(default=0, init=False)

    def count(self, kind: Kind) -> int:
        """How many it has; what lasts as long as its caller likes takes the place of no connection and no request."""
        number: int = getattr(self, kind)
        if kind in ("connections", "requests"):
            return number - (self.subscriptions - self.websockets)
        return number

    def problem(self, kind: Kind) -> str:
        """Why it may not have one more, "" where it may."""
        there, most = self.count(kind), getattr(self.shares, kind)
        if there < most:
            return ""
        return f"{there} {_NAMES[kind].format(self.name)}, the limit of one peer (--max_peer_{kind}): try again later"

    def take(self, *kinds: Kind) -> None:
        """It has one more of each of ``kinds``."""
        for kind in kinds:
            setattr(self, kind, getattr(self, kind) + 1)

    def release(self, *kinds: Kind) -> None:
        """It has one less of each of ``kinds``."""
        for kind in kinds:
            setattr(self, kind, getattr(self, kind) - 1)
        if not (self.connections or self.requests or self.websockets or self.subscriptions):
            self._unused(self.name)


class Peers:
    """All peers of a port that have something there, but those on loopback."""

    def __init__(self, shares: Shares) -> None:
        self._shares = shares
        self._uses: dict[str, PeerUse] = {}

    def __len__(self) -> int:
        return len(self._uses)

    def of(self, transport: Any) -> PeerUse | None:
        """What the peer at the other end of ``transport`` has; None for one that may have all there is. To be used, or
        else released, at once."""
        name = peer_name(transport)
        if not name:
            return None
        use = self._uses.get(name)
        if use is None:
            use = self._uses[name] = PeerUse(name, self._shares, self._forget)
        return use

    def _forget(self, name: str) -> None:
        self._uses.pop(name, None)


def peer_name(transport: Any) -> str:
    """By which a peer is counted; "" for loopback, and for what has no address."""
    host = getattr(transport.getPeer(), "host", None)
    if host is None:
        user = credentials(transport)
        return "" if user is None else f"uid:{user[0]}"
    return "" if is_loopback(host) else _named(str(host).lower().removeprefix("::ffff:"))


def _named(host: str) -> str:
    """An IPv6 address by its first 64 bits: a machine has all that share them, and could have a share for each."""
    try:
        return str(IPv6Network((IPv6Address(host.partition("%")[0]), 64), strict=False)) if ":" in host else host
    except ValueError:
        return host


def is_loopback(host: object) -> bool:
    """Whether an address, as sockets write it, is one of this machine to itself."""
    return isinstance(host, str) and (host.startswith(("127.", "::ffff:127.")) or host == "::1")


def credentials(transport: Any) -> tuple[int, int] | None:
    """The user and the (primary) group at the other end of a Unix socket, None where ``transport`` is none."""
    inner = getattr(transport, "transport", transport)  # of TLS over a Unix socket
    handle = getattr(inner, "getHandle", None)
    sock = None if handle is None else handle()
    if getattr(sock, "family", None) != socket.AF_UNIX:
        return None
    assert sock is not None
    raw = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    _, uid, gid = _CREDENTIALS.unpack(raw)
    return uid, gid


def use_of(request: Any) -> PeerUse | None:
    """What the peer has who sent ``request``; None where that is not counted."""
    use: PeerUse | None = getattr(request.channel, "use", None)
    return use
