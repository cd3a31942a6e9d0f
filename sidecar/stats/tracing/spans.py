"""A span, and whom it is given to."""

from __future__ import annotations

from collections.abc import Mapping
from random import Random
from typing import Literal, Protocol

from attrs import field, frozen

Attribute = str | int | float | bool
Kind = Literal["client", "producer", "consumer", "internal"]


@frozen
class Span:
    """Something that was done, as a part of a trace.

    :ivar parent: the id of the span that it is a part of, "" for the first one of a trace.
    :ivar start: when it began, and :ivar end: when it was over, both in seconds since the epoch.
    :ivar error: what went wrong, in words; None where nothing did.
    """

    name: str
    kind: Kind
    trace_id: str
    span_id: str
    parent: str
    start: float
    end: float
    attributes: Mapping[str, Attribute] = field(factory=dict)
    error: str | None = None


class ISpans(Protocol):
    """Takes spans that are over."""

    def add(self, span: Span) -> None:
        """Take one; never waits, and drops it where too many wait already."""


def new_span_id(random: Random) -> str:
    """:returns: the id of a span, 16 hexadecimal digits."""
    return f"{random.getrandbits(64) or 1:016x}"


def new_trace_id(random: Random) -> str:
    """:returns: the id of a trace, 32 hexadecimal digits."""
    return f"{random.getrandbits(128) or 1:032x}"
