"""Server-Sent Events, read from an answer that does not end."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

#: Bytes of the longest line and of one event's data: a sidecar's own are far below.
MAX_LINE = 4 * 1024 * 1024


@dataclass(frozen=True)
class Event:
    """One event. :ivar name: ``message`` where it says none. :ivar id: "" where it has none."""

    name: str
    data: str
    id: str = ""


def read(lines: Iterable[bytes]) -> Iterator[Event]:
    """:param lines: what comes, line by line; comments (heartbeats) are passed over.
    :source: WHATWG HTML, 9.2.6 (Interpreting an event stream)."""
    name, identity = "message", ""
    data: list[str] = []
    for line in lines:
        text = line.decode("utf-8", "replace").rstrip("\r\n")
        if not text:
            if data:
                yield Event(name, "\n".join(data), identity)
            name, data = "message", []
            continue
        field, _, value = text.partition(":")
        value = value.removeprefix(" ")
        if field == "data":
            data.append(value)
        elif field == "event":
            name = value or "message"
        elif field == "id":
            identity = value


def lines(answer: Iterable[bytes]) -> Iterator[bytes]:
    """:returns: the lines of a streamed answer. :raises ValueError: one is too long to be an event's."""
    for line in answer:
        if len(line) > MAX_LINE:
            raise ValueError(f"a line of over {MAX_LINE} bytes")
        yield line
