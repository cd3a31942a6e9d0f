"""Endpoints as a flag names them: ``Say.Hello;description=Greets;example={"name":"John"};scopes=public``."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable

from sidecar.model import EMPTY, Endpoint

#: Go's own names, which is how a list tells the next endpoint from a comma of its text.
_NEXT = re.compile(r",\s*(?=[A-Z]\w*\.[A-Z]\w*\s*(?:[,;]|$))")
_COMMA = re.compile(r"\s*,\s*")
_NAME = re.compile(r"[^\s,;=]+")
_KEY = re.compile(r"\s*;\s*([A-Za-z_][\w.-]*)\s*=")
_JSON = json.JSONDecoder()


def read(text: str) -> tuple[Endpoint, ...]:
    """Read one endpoint, or several with commas between.

    A JSON value may hold semicolons and commas; any other goes up to the next ``;key=``, or to a comma that the name of
    an endpoint follows.

    :raises ValueError: it cannot be read, or one of them stands twice.
    """
    found: list[Endpoint] = []
    at = 0
    while at < len(text):
        endpoint, at = _one(text, at)
        found.append(endpoint)
    return without_twins(found)


def without_twins(endpoints: Iterable[Endpoint]) -> tuple[Endpoint, ...]:
    """:raises ValueError: two of them have one name."""
    found: dict[str, Endpoint] = {}
    for each in endpoints:
        if each.name in found:
            raise ValueError(f"{each.name} is given twice; give each endpoint once")
        found[each.name] = each
    return tuple(found.values())


def _one(text: str, at: int) -> tuple[Endpoint, int]:
    """:returns: the endpoint that begins at ``at``, and where the next one does."""
    named = _NAME.match(text, at + len(text[at:]) - len(text[at:].lstrip()))  # space before it is no part of it
    if named is None or "." not in named[0].strip("."):
        raise ValueError("write Type.Method, and metadata behind it: Say.Hello;description=Greets")
    metadata: dict[str, str] = {}
    at = named.end()
    while at < len(text):
        comma = _COMMA.match(text, at)
        if comma is not None:
            return Endpoint(named[0], metadata=metadata or EMPTY), comma.end()
        key = _KEY.match(text, at)
        if key is None:
            if not text[at:].strip(" ;"):
                break
            raise ValueError(f"{text[at : at + 40]!r} is no metadata; write ;key=value behind {named[0]}")
        value, at = _value(text, key.end())
        metadata[key[1]] = value
    return Endpoint(named[0], metadata=metadata or EMPTY), len(text)


def _value(text: str, at: int) -> tuple[str, int]:
    if text[at : at + 1] in ("{", "[", '"'):
        try:
            _, end = _JSON.raw_decode(text, at)
        except ValueError:
            pass  # it only begins like JSON
        else:
            if not text[end:].strip() or text[end:].lstrip()[0] in ";,":
                return text[at:end], end
    ends = [found.start() for found in (_KEY.search(text, at), _NEXT.search(text, at)) if found is not None]
    end = min(ends, default=len(text))
    return text[at:end].strip().rstrip(";").strip() if end == len(text) else text[at:end].strip(), end
