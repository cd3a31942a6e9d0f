"""The registry as it was, by the journal."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from attrs import define

from sidecar.errors import BadRequest, Gone, NotFound
from sidecar.model import Service
from sidecar.registry.journal import Journal
from sidecar.wire.registry.journal import date

#: Seconds by which a caller's clock may be ahead of ours.
_AHEAD: Final = 60.0


@define(eq=False)
class PastCatalog:
    """Tells what was registered at a time. :ivar journal: what it knows that by."""

    journal: Journal
    _now: Callable[[], float]

    def names(self, time: float) -> tuple[str, ...]:
        """The names of all services. :param time: seconds since the epoch.

        :raises Gone: the journal does not go back so far. :raises BadRequest: it is still to come."""
        found = self.journal.names_at(self._judged(time))
        if found is None:
            raise self._gone(time)
        return found

    def service(self, name: str, time: float) -> tuple[Service, ...]:
        """One service, one value a version. :raises NotFound: it was not there. Else as :meth:`names`."""
        found = self.journal.at(name, self._judged(time))
        if found is None:
            raise self._gone(time)
        if not found:
            raise NotFound(f"no service {name!r} was registered at {date(time)}")
        return found

    def _judged(self, time: float) -> float:
        if time > self._now() + _AHEAD:
            raise BadRequest(f"at: {date(time)} is still to come; it is {date(self._now())} here")
        # What the journal tells as of a millisecond happened within half of one; a finer time is taken as it is.
        millis = time * 1000
        return time + 0.0005 if abs(millis - round(millis)) < 0.001 else time

    def _gone(self, time: float) -> Gone:
        return Gone(f"how it was at {date(time)} is not known: the journal goes back to {date(self.journal.began)}")
