"""What ``--registry`` and ``--broker`` may name: the entry points of the packages that are installed."""

from __future__ import annotations

import ipaddress
import uuid
from collections.abc import Iterable
from functools import cache
from importlib.metadata import EntryPoint, entry_points

#: The entry-point groups, where third parties add theirs.
REGISTRIES = "microsidecar.registries"
BROKERS = "microsidecar.brokers"


@cache
def found(group: str) -> dict[str, EntryPoint]:
    """The entry points of a group by name. They are not loaded."""
    return {point.name: point for point in entry_points(group=group)}


def kinds(group: str) -> tuple[str, ...]:
    """:returns: the names that ``--registry=`` (or ``--broker=``) takes, sorted."""
    return tuple(sorted(found(group)))


def unknown(group: str, flag: str, kind: str) -> str:
    """:returns: the sentence for a kind that nobody offers."""
    return f"--{flag}={kind}: there is no such {flag}; there are {', '.join(kinds(group)) or 'none installed'}"


#: Bytes of a part of a name, between its dots, where records are DNS records.
_LABEL = 63


def node_id(name: str, engines: Iterable[str]) -> str:
    """:returns: a new id for a node of a service: ``<name>-<uuid>``, go-micro's own custom, or where one of the engines
    cannot hold that, the same cut short."""
    custom = f"{name}-{uuid.uuid4()}"
    if not unfit(custom, engines):
        return custom
    before, dot, last = name.rpartition(".")
    digits = uuid.uuid4().hex
    left = _LABEL - len(last.encode()) - 1
    if left >= 12:
        return f"{name}-{digits[:left]}"
    kept = last.encode()[: _LABEL - 13].decode("utf-8", "ignore")
    return f"{before}{dot}{kept}-{digits[:12]}"


def unfit(name: str, engines: Iterable[str]) -> str:
    """:param name: of a service or an id of a node.
    :returns: why an engine cannot hold it, in words; "" where all can."""
    if "mdns" in engines:
        for part in name.split("."):
            if not 1 <= len(part.encode()) <= _LABEL:
                return f"mDNS cannot hold it: the part {part!r} is not 1 to {_LABEL} bytes long"
    return ""


def unreachable(host: str, engines: Iterable[str]) -> str:
    """:returns: why an engine cannot carry ``host`` as the address of a node, in words; "" where all can."""
    if "mdns" not in engines:
        return ""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return "mDNS carries IP addresses only; give the app's IP address, or one by --server_advertise"
    return ""
