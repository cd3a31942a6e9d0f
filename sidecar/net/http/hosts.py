"""Which names a server goes by, and whether a page of a browser belongs to it.

A page can have its own name resolve to an address of ours (DNS rebinding) and is then of the same origin as we are, for
its browser: what gives it away is the ``Host`` that it asks. A name in a resolver cannot be an IP literal.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit

_PORTS = {"http": 80, "https": 443, "ws": 80, "wss": 443}
_PORT = re.compile(r":\d*\Z")
#: Values of ``Host`` that are remembered as good, so that each is judged once.
_MOST_KNOWN = 256


class AllowedHosts:
    """The values of ``Host`` under which a server may be asked: IP literals, loopback names, and the given names."""

    def __init__(self, names: Iterable[str] = ()) -> None:
        """:param names: host names; ``*.example.com`` for all below one, ``*`` for every name."""
        lower = [name.strip().lower().rstrip(".") for name in names]
        self._any = "*" in lower
        self._names = frozenset(lower) | {"localhost"}
        self._suffixes = (".localhost", *(name[1:] for name in lower if name.startswith("*.")))
        self._known: set[bytes] = set()

    def allows(self, host: bytes | None) -> bool:
        """Whether a request for ``host`` is for us. :param host: the field's value; None, as HTTP/1.0 may leave it."""
        if host is None or host in self._known or self._any:
            return True
        name = _PORT.sub("", host.decode("latin-1").lower()).rstrip(".")
        if not (is_literal(name) or name in self._names or name.endswith(self._suffixes)):
            return False
        if len(self._known) < _MOST_KNOWN:
            self._known.add(host)
        return True


def is_literal(name: str) -> bool:
    """Whether it is an IP address, IPv6 in brackets or not."""
    bare = name[1:-1] if name.startswith("[") and name.endswith("]") else name
    try:
        ip_address(bare)
    except ValueError:
        return False
    return True


def machine_names(etc: Path = Path("/etc")) -> frozenset[str]:
    """The machine's own host name, alone and with its domain. No resolver is asked: one may not answer.

    :param etc: where ``hosts`` and ``resolv.conf`` are.
    """
    own = os.uname().nodename.lower()
    short = own.partition(".")[0]
    names = {own, short}
    for line in _lines(etc / "hosts"):
        listed = line.partition("#")[0].lower().split()[1:]
        if own in listed or short in listed:
            names.update(listed)
    for line in _lines(etc / "resolv.conf"):
        words = line.lower().split()
        if len(words) > 1 and words[0] in ("domain", "search"):
            names.update(f"{short}.{domain.rstrip('.')}" for domain in words[1:])
    return frozenset(names)


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text("utf-8", "replace").splitlines()[:10_000]
    except OSError:
        return []


def normal_origin(origin: str) -> str:
    """An origin as browsers compare them: lower case, the scheme's own port left out."""
    lower = origin.strip().lower().rstrip("/")
    try:
        parts = urlsplit(lower)
        port = parts.port
    except ValueError:
        return lower
    if not parts.scheme or not parts.hostname:
        return lower
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{parts.scheme}://{host}" if port in (None, _PORTS.get(parts.scheme)) else f"{parts.scheme}://{host}:{port}"


def same_host(origin: bytes, host: bytes | None) -> bool:
    """Whether a page of ``origin`` came from the ``Host`` that it asks. (TLS may end in front of us, so the scheme is
    taken from the origin.)"""
    scheme, mark, rest = normal_origin(origin.decode("latin-1")).partition("://")
    if not mark or host is None:
        return False
    return normal_origin(f"{scheme}://{host.decode('latin-1')}") == f"{scheme}://{rest}"
