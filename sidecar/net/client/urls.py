"""http and https URLs as a request needs them, with every host that can be connected to. Pure.

URL libraries hold hosts to the rules for names on the Internet, which refuse what a machine may well be called: Docker
Compose and Swarm make names with underscores.
"""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import quote, urlsplit

from attrs import frozen

_PORTS: Final = {"http": 80, "https": 443}
_NAME: Final = re.compile(r"[0-9A-Za-z._-]+")
_ADDRESS: Final = re.compile(r"[0-9A-Fa-f:.]+(%[0-9A-Za-z._-]+)?")


@frozen
class Url:
    """One URL.

    :ivar host: a name in lower case, or an address without brackets.
    :ivar absolute: the whole, without user and fragment, its host in brackets where it is an IPv6 address, and escaped
        where it has to be.
    """

    scheme: str
    host: str
    port: int
    absolute: bytes


def parse(url: str) -> Url:
    """:raises ValueError: in words, where there can be no request for this URL."""
    parts = urlsplit(url)
    default = _PORTS.get(parts.scheme)
    if default is None:
        raise ValueError(f"cannot speak {parts.scheme!r}; give an http or https URL")
    host = parts.hostname or ""
    if not host.isascii():
        try:
            host = host.encode("idna").decode("ascii")
        except UnicodeError:
            raise ValueError(f"{host!r} is not a host name or an IP address") from None
    if not (_ADDRESS if ":" in host else _NAME).fullmatch(host):
        raise ValueError(f"{host!r} is not a host name or an IP address")
    port = default if parts.port is None else parts.port
    if not port:
        raise ValueError("there is no port 0; ports go from 1 to 65535")
    place = f"[{host}]" if ":" in host else host
    path = quote(parts.path or "/", safe="/%:@!$&'()*+,;=~")
    query = f"?{quote(parts.query, safe='/%:@!$&()*+,;=~?[]')}" if parts.query else ""
    return Url(parts.scheme, host, port, f"{parts.scheme}://{place}:{port}{path}{query}".encode("ascii"))
