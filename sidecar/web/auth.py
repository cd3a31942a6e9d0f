"""Makes the :class:`~sidecar.model.Caller` of a request, which goes along with everything that it asks for."""

from __future__ import annotations

from typing import Any

from sidecar.model import ANONYMOUS, Caller


def caller_of(request: Any) -> Caller:
    """Who sent ``request``: what the access policy found out, where there is one; else anybody, who is known by the
    address that they came from alone.

    That is made once a connection and kept with it, since making it costs more than the rest of a lean request's way.
    """
    channel = request.channel
    if channel is None:
        return ANONYMOUS  # the connection has ended meanwhile
    known: Caller | None = getattr(channel, "identity", None)
    if known is None:
        known = channel.identity = Caller(address=address_of(channel.getPeer()))
    return known


def address_of(peer: Any) -> str:
    """The IP literal, or the path of a Unix socket, "" where there is none."""
    host = getattr(peer, "host", None)
    if host is None:
        name = getattr(peer, "name", None) or b""
        host = name.decode("utf-8", "surrogateescape") if isinstance(name, bytes) else str(name)
    return str(host)
