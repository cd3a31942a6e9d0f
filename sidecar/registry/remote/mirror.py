"""What a remote engine said last: read without a round trip, and kept while the engine is gone. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from attrs import define, field

from sidecar.model import Service
from sidecar.registry.catalog import Catalog


@define(eq=False)
class Mirror(Catalog):
    """A catalog that knows whether it is up to date, and what of it could not be read."""

    #: Seconds since the epoch when the engine was lost, or None while what is here is fresh.
    stale_since: float | None = None
    #: What could not be read, by record, so that each is logged once and not at every poll.
    _malformed: dict[str, str] = field(factory=dict)

    def forget(self, name: str) -> None:
        """Nothing is known of ``name`` any more, which does not say that it is gone."""
        self.replace(name, ())

    def lost(self, now: float) -> bool:
        """The engine does not answer. :param now: seconds since the epoch. :returns: whether that is news."""
        if self.stale_since is not None:
            return False
        self.stale_since = now
        return True

    def found(self) -> bool:
        """The engine answered. :returns: whether that is news."""
        news, self.stale_since = self.stale_since is not None, None
        return news

    def report_malformed(self, record: str, why: str) -> bool:
        """Note that ``record`` is malformed. :returns: whether that was not known yet."""
        if self._malformed.get(record) == why:
            return False
        if len(self._malformed) >= MAX_MALFORMED:
            self._malformed.pop(next(iter(self._malformed)))
        self._malformed[record] = why
        return True

    def clear_malformed(self, record: str) -> None:
        """``record`` is well, or gone."""
        self._malformed.pop(record, None)


#: Malformed records remembered.
MAX_MALFORMED = 1000


def merged(services: Iterable[Service]) -> tuple[Service, ...]:
    """One service a version out of records that hold a node or so each; of differing heads the last holds."""
    catalog = Catalog()
    name = ""
    for service in services:
        name = service.name
        catalog.put(service)
    return catalog.get(name)
