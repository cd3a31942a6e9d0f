"""What is stored, as values, and as text in a row."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import orjson
from attrs import frozen

from sidecar.errors import MalformedRecord
from sidecar.model import Service
from sidecar.registry.journal import JournalEntry
from sidecar.wire import services

#: Seconds in which an owner can renew what ran out while nobody could: at least, at most, and as a share of the TTL.
LEAST_GRACE, MOST_GRACE, GRACE_SHARE = 1.0, 30.0, 0.5


def grace(ttl: float) -> float:
    """:returns: seconds that a registration is given after a time in which its owner could not renew it."""
    return min(max(LEAST_GRACE, ttl * GRACE_SHARE), MOST_GRACE)


@frozen
class StoredRegistration:
    """A node that was registered.

    :ivar service: with just this node.
    :ivar ttl: seconds, None for ever.
    :ivar left: what was left of them when it was read; less than 0 where it was over.
    :ivar by: who registered it. :ivar since: when, in seconds since the epoch.
    """

    service: Service
    ttl: float | None = None
    left: float = 0.0
    by: str = ""
    since: float = 0.0


@frozen
class StoredMaintenance:
    """A node, or with an empty id a service, that is in maintenance. :ivar since: seconds since the epoch."""

    name: str
    id: str
    since: float
    detail: str = ""
    by: str = ""


#: No app has an id yet.
EMPTY_APPS: Mapping[tuple[str, str, str], str] = MappingProxyType({})


@frozen
class StoredState:
    """All that was kept.

    :ivar apps: the ids of our own apps, by name, address and machine.
    :ivar before: what there was before the first entry. :ivar began: since when the entries go back.
    :ivar skipped: what could not be read, in words.
    """

    registrations: tuple[StoredRegistration, ...] = ()
    maintenance: tuple[StoredMaintenance, ...] = ()
    apps: Mapping[tuple[str, str, str], str] = EMPTY_APPS
    entries: tuple[JournalEntry, ...] = ()
    before: tuple[Service, ...] = ()
    began: float = 0.0
    skipped: tuple[str, ...] = ()


def encoded(service: Service) -> bytes:
    """A service as a row holds it."""
    return orjson.dumps(services.to_json(service))


def decoded(record: bytes) -> Service:
    """Undo :func:`encoded`. :raises MalformedRecord: it is none."""
    if not isinstance(record, bytes):
        raise MalformedRecord("is no record")
    return services.decode_record(record)
