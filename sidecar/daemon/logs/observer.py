"""Writes log lines where they go, a bounded number of them, without ever waiting for whoever should read them."""

from __future__ import annotations

import os
import select
import sys
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from attrs import define, field
from twisted.logger import ILogObserver, LogEvent, LogLevel
from zope.interface import implementer

from sidecar.daemon.logs.formats import Format, choose
from sidecar.daemon.logs.levels import Levels
from sidecar.daemon.logs.rewording import reworded

#: A pipe that is ready takes this much at once without a wait (pipe(7), PIPE_BUF).
_AT_ONCE = 4096
#: Bytes of a line begun that may wait for a reader.
_MOST_WAITING = 256 * 1024
#: Lines about one thing at once, and how many come after them each second.
BURST, RATE = 20.0, 1.0
#: Things whose lines are counted.
_MOST_THINGS = 1024


@define(eq=False)
class _Thing:
    """What lines are about: those of one format in one namespace. :ivar left: lines that may come now."""

    at: float
    left: float = BURST
    suppressed: int = 0


@implementer(ILogObserver)
@define(eq=False)
class LineObserver:
    """A log observer that writes to a descriptor.

    A reader who does not read costs lines, never time: what a pipe does not take at once is dropped and counted, and
    the count is the first thing that is written when it takes again. Lines about one thing come at most ``RATE`` a
    second after a burst of ``BURST``; how many were left out is told with the next one.
    """

    _descriptor: int
    _format: Format
    levels: Levels
    _seconds: Callable[[], float]
    dropped: int = field(default=0, init=False)
    _waiting: bytes = field(default=b"", init=False)
    _untold: int = field(default=0, init=False)
    _things: OrderedDict[tuple[str, str], _Thing] = field(factory=OrderedDict, init=False)

    def __call__(self, event: LogEvent) -> None:
        event = reworded(event)
        if not self.levels.wants(event):
            return
        suppressed = self._suppressed(event)
        if suppressed < 0:
            return
        if suppressed:
            self._write(self._about(event, f"{suppressed} more lines like the next one were left out", LogLevel.warn))
        self._write(self._format(event).encode("utf-8", "backslashreplace"))

    def _suppressed(self, event: LogEvent) -> int:
        """:returns: lines like this one that were left out since the last one, -1 where this one is left out too."""
        if event.get("log_unthrottled"):
            return 0
        key = (str(event.get("log_namespace", "")), str(event.get("log_format", "")))
        now = self._seconds()
        thing = self._things.get(key)
        if thing is None:
            if len(self._things) >= _MOST_THINGS:
                self._things.popitem(last=False)
            thing = self._things[key] = _Thing(now)
        thing.left = min(BURST, thing.left + (now - thing.at) * RATE)
        thing.at = now
        if thing.left < 1:
            thing.suppressed += 1
            return -1
        thing.left -= 1
        left_out, thing.suppressed = thing.suppressed, 0
        return left_out

    def _about(self, event: LogEvent, message: str, level: Any) -> bytes:
        """A line of the observer's own."""
        told = {"log_format": "{text}", "text": message, "log_level": level, "log_time": event.get("log_time")}
        return self._format({**told, "log_namespace": event.get("log_namespace", "-")}).encode()

    def _write(self, line: bytes) -> None:
        if self._waiting:
            self._waiting = self._send(self._waiting)
            if self._waiting:
                self._drop()
                return
        if self._untold:
            told = self._about({}, f"{self._untold} log lines were dropped: nobody read them", LogLevel.warn)
            if self._send(told):
                self._drop()
                return
            self._untold = 0
        self._waiting = self._send(line)
        if self._waiting == line or len(self._waiting) > _MOST_WAITING:
            # Not begun: it can be left out whole. Begun and too long: what is left of it is lost.
            self._waiting = b"" if self._waiting == line else b"\n"
            self._drop()

    def _drop(self) -> None:
        self.dropped += 1
        self._untold += 1

    def _send(self, data: bytes) -> bytes:
        """:returns: what could not be written without waiting."""
        view = memoryview(data)
        poll = select.poll()
        try:
            poll.register(self._descriptor, select.POLLOUT)
            while view:
                ready = poll.poll(0)
                if not ready or not ready[0][1] & select.POLLOUT:
                    break
                view = view[os.write(self._descriptor, view[:_AT_ONCE]) :]
        except BlockingIOError:
            pass  # somebody made it non-blocking: as good as not ready
        except OSError:
            return b""  # it is closed: nobody will ever read
        return bytes(view)


def standard_error(format: Format, levels: Levels, seconds: Callable[[], float]) -> LineObserver:
    """:returns: an observer of the process's standard error. :param seconds: monotonic time."""
    sys.stderr.flush()
    return LineObserver(sys.stderr.fileno(), format, levels, seconds)


def from_environment() -> LineObserver:
    """What ``twistd --logger`` calls: the observer that ``$MICRO_LOG_FORMAT`` and ``$MICRO_LOG_LEVEL`` describe."""
    levels = Levels.parse(os.environ.get("MICRO_LOG_LEVEL", ""))
    form = choose(os.environ.get("MICRO_LOG_FORMAT", "auto"), sys.stderr, os.environ)
    return standard_error(form, levels, time.monotonic)
