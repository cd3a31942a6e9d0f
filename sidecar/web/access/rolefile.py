"""Roles of those whom the connection itself makes known: users of a Unix socket, and bearers of client certificates.

A table each, or only the roles::

    ["uid:1000"]
    roles = ["read", "call"]
    services = ["shop.*"]

    ["san:uri:spiffe://example.org/shop"]
    roles = ["register"]

    "gid:100" = ["read"]

Whom several lines are about is given what the first of them says.
"""

from __future__ import annotations

import re
from typing import Any

from sidecar.errors import ConfigError
from sidecar.net.peers import credentials
from sidecar.web.access.grants import Grant, read_grant
from sidecar.web.access.tokenfile import load, values

_SUBJECT = re.compile(r"uid:[0-9]{1,10}|gid:[0-9]{1,10}|san:(uri|dns):[^\x00-\x20\x7f]{1,1000}")


def parse(text: str, where: str) -> dict[str, Grant]:
    """:returns: what each may do, in the file's order. :raises ConfigError: it cannot be understood."""
    found: dict[str, Grant] = {}
    for subject, value in values(text, where).items():
        place = f"{where}: {subject}"
        if not _SUBJECT.fullmatch(subject):
            raise ConfigError(f"{place}: is nobody; write uid:1000, gid:100, san:uri:spiffe://... or san:dns:host")
        table = value if isinstance(value, dict) else {"roles": value}
        known = subject.lower() if subject.startswith("san:dns:") else subject
        found[known] = read_grant(known, table, place)
    return found


def read(path: str) -> dict[str, Grant]:
    """:raises ConfigError: the file cannot be read or understood."""
    return parse(load(path), path)


def subjects(transport: Any) -> tuple[tuple[str, ...], str]:
    """Who is at the other end of a connection, as the kernel or their certificate says.

    :returns: all that they are called, and how that is known: ``uid``, ``certificate``, or "" where nothing is.
    """
    certificate = getattr(transport, "getPeerCertificate", None)
    if certificate is not None:
        shown = certificate()
        if shown is not None:
            return tuple(_names(shown)), "certificate"
    user = credentials(transport)
    return ((), "") if user is None else ((f"uid:{user[0]}", f"gid:{user[1]}"), "uid")


def _names(shown: Any) -> list[str]:
    from cryptography import x509

    try:
        names = shown.to_cryptography().extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, ValueError):
        return []
    uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    hosts = names.get_values_for_type(x509.DNSName)
    return [*(f"san:uri:{uri}" for uri in uris), *(f"san:dns:{host.lower()}" for host in hosts)]
