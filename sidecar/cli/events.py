"""Server-Sent Events, read from an answer that does not end."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from sidecar.cli.api import Api, Failed
from sidecar.cli.exits import TIMED_OUT, UNAVAILABLE
from sidecar.cli.invocation import complain

#: Seconds before the first attempt to connect again, and before each at most.
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 10.0


@dataclass(frozen=True)
class Event:
    """One event. :ivar name: ``message`` where it says none. :ivar id: "" where none was told yet."""

    name: str
    data: str
    id: str = ""


class EventReader:
    """The events in what comes, line by line; comments (heartbeats) are passed over.

    :ivar id: the last that was told: where to go on. :source: WHATWG HTML, 9.2.6 (Interpreting an event stream).
    """

    def __init__(self, lines: Iterable[bytes], id: str = "") -> None:
        self._lines = lines
        self.id = id

    def __iter__(self) -> Iterator[Event]:
        name = "message"
        data: list[str] = []
        for line in self._lines:
            text = line.decode("utf-8", "replace").rstrip("\r\n")
            if not text:
                if data:
                    yield Event(name, "\n".join(data), self.id)
                name, data = "message", []
                continue
            field, _, value = text.partition(":")
            value = value.removeprefix(" ")
            if field == "data":
                data.append(value)
            elif field == "event":
                name = value or "message"
            elif field == "id":
                self.id = value


def follow(
    api: Api,
    where: str,
    show: Callable[[Event], bool],
    count: int = 0,
    again: bool = False,
    sleep: Callable[[float], None] = time.sleep,
) -> bool:
    """Show the events of a path as they come.

    :param show: is given each, and tells whether it counts. :param count: leave after so many, 0 for never.
    :param again: connect again when the connection ends, and go on where it was.
    :returns: whether that were ``count``; else the sidecar has ended the stream.
    :raises Failed: it cannot be had, or is lost, and not ``again``.
    """
    left, seen, pause = count or -1, "", FIRST_PAUSE
    while True:
        try:
            with api.stream(where, {"Last-Event-ID": seen} if seen else {}) as lines:
                pause = FIRST_PAUSE
                events = EventReader(lines, seen)
                try:
                    for event in events:
                        left -= show(event)
                        if left == 0:
                            return True
                finally:
                    seen = events.id
            why = f"the sidecar at {api.address} ended the stream"
        except Failed as error:
            if not again or error.code not in (UNAVAILABLE, TIMED_OUT):
                raise
            why = str(error)
        if not again:
            return False
        complain(f"{why}; connecting again in {pause:g} s", code=0)
        sleep(pause)
        pause = min(pause * 2, LONGEST_PAUSE)
