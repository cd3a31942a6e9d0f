"""What a GET of the registry can ask, read from its target."""

from __future__ import annotations

import re
from typing import Final

from attrs import frozen

from sidecar.errors import BadRequest
from sidecar.web.catalog.descriptions import MAX_KEPT, Form
from sidecar.web.params import query
from sidecar.wire import durations, fields
from sidecar.wire.registry import journal

#: What a query may hold, whatever the method.
PARAMETERS: Final = ("service", "format", "version", "ttl", "index", "wait", "at")

#: Seconds that a blocking query waits unless it says otherwise, and at most. :source: Consul's blocking queries
WAIT, LONGEST_WAIT = 300.0, 600.0
_INDEX: Final = re.compile("[0-9]{1,20}")


@frozen
class RegistryQuery:
    """What a GET asks.

    :ivar form: None leaves it to the kind of client. :ivar version: the only one of interest, or None.
    :ivar index: answer as soon as there is more than at this index, None for at once.
    :ivar wait: after so many seconds anyway.
    :ivar at: tell how it was, in seconds since the epoch; None for how it is.
    """

    service: str
    form: Form | None
    version: str | None = None
    index: int | None = None
    wait: float = WAIT
    at: float | None = None


def index(text: str, name: str = "index") -> int:
    """Read an index of the journal. :raises BadRequest: it is none. :param name: of the parameter."""
    if not _INDEX.fullmatch(text):
        raise BadRequest(f"{name}: must be a whole number, as X-Micro-Index tells it")
    return int(text)


def service(name: str | None) -> str:
    """:returns: the name of a service, "" for none. :raises BadRequest: it is too long to be one."""
    if name is not None and len(name) > fields.MAX_NAME:
        raise BadRequest(f"service: is longer than {fields.MAX_NAME} characters")
    return name or ""


class RegistryQueries:
    """Reads queries, the same target only once."""

    def __init__(self) -> None:
        self._known: dict[bytes, RegistryQuery] = {}

    def read(self, target: bytes) -> RegistryQuery:
        """:raises BadRequest: something in it cannot be meant, with its name."""
        known = self._known.get(target)
        if known is not None:
            return known
        found = _read(target)
        # One with an index is hardly ever asked again.
        if len(target) < 1024 and found.index is None and found.at is None:
            if len(self._known) >= MAX_KEPT:
                self._known.clear()
            self._known[target] = found
        return found


def _read(target: bytes) -> RegistryQuery:
    asked = query(target).expect(*PARAMETERS)
    form = asked.one("format")
    if form not in (None, "object", "array"):
        raise BadRequest(f"format: {form!r} is not known; it is object or array")
    name = service(asked.one("service"))
    version = asked.one("version") or None
    if version is not None and not name:
        raise BadRequest("version: of which service? Name it by service=")
    seen, wait, at = asked.one("index"), asked.one("wait"), asked.one("at")
    if at is not None and seen is not None:
        raise BadRequest("at: the past does not change any more, so leave index out")
    if wait is not None and seen is None:
        raise BadRequest("wait: for what? Say by index=, from X-Micro-Index, what you have seen")
    return RegistryQuery(
        name,
        form,  # type: ignore[arg-type]  # the comparison above narrows it
        version,
        None if seen is None else index(seen),
        WAIT if wait is None else _wait(wait),
        None if at is None else _at(at),
    )


def _wait(text: str) -> float:
    try:
        return min(durations.parse(text), LONGEST_WAIT)
    except ValueError as error:
        raise BadRequest(f"wait: {error}") from None


def _at(text: str) -> float:
    try:
        return journal.read_date(text)
    except ValueError as error:
        raise BadRequest(f"at: {error}") from None
