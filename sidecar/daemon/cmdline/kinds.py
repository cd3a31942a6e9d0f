"""What ``--registry`` and ``--broker`` may name: the entry points of the packages that are installed."""

from __future__ import annotations

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
