"""Addresses of nodes that say by ``https://`` that one speaks TLS there. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from sidecar.model import EMPTY

#: What the metadata of a node says that speaks TLS; go-micro's HTTP broker has the name.
SECURE: Final[Mapping[str, str]] = MappingProxyType({"secure": "true"})

_SCHEME: Final = "https://"


def without_scheme(address: str, port: object) -> tuple[str, object, Mapping[str, str]]:
    """:returns: the address without the ``https://`` that it may begin with, its port (443 where that is how it begins
    and it names none), and what that says of the node as metadata."""
    if address[: len(_SCHEME)].lower() != _SCHEME:
        return address, port, EMPTY
    rest = address[len(_SCHEME) :].removesuffix("/")
    return rest, port if port or ":" in rest.rpartition("]")[2] else 443, SECURE
