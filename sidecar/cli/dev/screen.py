"""Shows the logs of app and sidecar and the calls that pass, each line with whose it is, in colours where wanted."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, TextIO

from attrs import define, field
from twisted.logger import ILogObserver, LogEvent, LogLevel, eventAsText
from zope.interface import implementer

from sidecar.cli.output import visible
from sidecar.daemon.logs.levels import Levels

_RED, _GREEN, _YELLOW, _BLUE, _MAGENTA, _CYAN, _DIM = "31", "32", "33", "34", "35", "36", "2"
_COLOURS = {"app": _CYAN, "sidecar": _BLUE, "call": _MAGENTA, "dev": _YELLOW}
_LEVELS = {LogLevel.debug: _DIM, LogLevel.warn: _YELLOW, LogLevel.error: _RED, LogLevel.critical: _RED}
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


@implementer(ILogObserver)
@define(eq=False)
class Screen:
    """Writes lines. As a log observer it shows the sidecar's.

    :ivar colours: whether colours may be. :ivar levels: which lines of the sidecar are shown.
    :ivar closed: whether nobody reads any more. :ivar when_closed: called once then.
    """

    _stream: TextIO
    colours: bool
    levels: Levels
    closed: bool = field(default=False, init=False)
    when_closed: Callable[[], object] = field(default=lambda: None, init=False)

    def __call__(self, event: LogEvent) -> None:
        if not self.levels.wants(event):
            return
        level = event.get("log_level") or LogLevel.info
        for line in eventAsText(event, includeTimestamp=False, includeSystem=False).splitlines():
            self.line("sidecar", line, _LEVELS.get(level, ""))

    def app(self, line: str) -> None:
        """A line that the app wrote."""
        self.line("app", line)

    def dev(self, line: str) -> None:
        """A line of our own: what happens to the app."""
        self.line("dev", line)

    def trouble(self, line: str) -> None:
        """A line of our own: what is wrong."""
        self.line("dev", line, _RED)

    def call(self, told: dict[str, Any]) -> None:
        """A call that was made. :param told: its service, method, node, address, total_ms, outcome and error."""
        node = " ".join(filter(None, (told["node"], told["address"] and f"({told['address']})"))) or "no node"
        answered = told["outcome"] == "answered"
        outcome = told["outcome"] + (f": {told['error']}" if told["error"] else "")
        shown = self._coloured(" ".join(outcome.split()), _GREEN if answered else _RED)
        self.line("call", f"{told['service']} {told['method']} -> {node} {told['total_ms']:.1f} ms {shown}")

    def line(self, whose: str, text: str, colour: str = "") -> None:
        """:param whose: ``app``, ``sidecar``, ``call`` or ``dev``. :param colour: of the text."""
        if self.closed:
            return
        shown = visible(text.rstrip())
        if not self.colours:
            shown = _COLOUR.sub("", shown)
        elif "\x1b" in shown:
            shown += "\x1b[0m"  # whatever it began
        head = self._coloured(f"{whose:>7} |", _COLOURS[whose])
        try:
            self._stream.write(f"{head} {self._coloured(shown, colour)}\n")
            self._stream.flush()
        except (OSError, ValueError):
            # A pipe or a terminal that is gone.
            first, self.closed = not self.closed, True
            if first:
                self.when_closed()

    def _coloured(self, text: str, colour: str) -> str:
        return f"\x1b[{colour}m{text}\x1b[0m" if colour and self.colours else text
