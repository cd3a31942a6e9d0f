"""How lines are shown."""

from __future__ import annotations

from io import StringIO
from typing import Any

from twisted.logger import Logger
from twisted.trial.unittest import SynchronousTestCase

from sidecar.cli.dev.program import MAX_LINE, Lines
from sidecar.cli.dev.screen import Screen
from sidecar.daemon.logs.levels import Levels

CALL = {
    "service": "foo",
    "method": "Say.Hello",
    "node": "foo-1",
    "address": "127.0.0.1:9090",
    "total_ms": 3.21,
    "outcome": "answered",
    "error": "",
}


class Shown(SynchronousTestCase):
    def shown(self, colours: bool, *calls: tuple[str, Any]) -> str:
        stream = StringIO()
        screen = Screen(stream, colours, Levels.parse("info"))
        for name, value in calls:
            getattr(screen, name)(value)
        return stream.getvalue()

    def test_plain(self) -> None:
        """Each line says whose it is; a call has service, method, node, milliseconds and outcome."""
        failed = {**CALL, "node": "", "address": "", "outcome": "refused", "error": "no node\nanswers"}
        self.assertEqual(
            self.shown(False, ("app", "\x1b[31mred\x1b[0m"), ("dev", "starting"), ("call", CALL), ("call", failed)),
            "    app | red\n"
            "    dev | starting\n"
            "   call | foo Say.Hello -> foo-1 (127.0.0.1:9090) 3.2 ms answered\n"
            "   call | foo Say.Hello -> no node 3.2 ms refused: no node answers\n",
        )

    def test_colours(self) -> None:
        """With colours, what answered is green; the app's own colours pass and end with the line."""
        text = self.shown(True, ("call", CALL), ("app", "\x1b[31mred"))
        self.assertIn("\x1b[32manswered\x1b[0m", text)
        self.assertIn("\x1b[31mred\x1b[0m\n", text)

    def test_controls(self) -> None:
        """Nothing moves the cursor."""
        self.assertEqual(self.shown(True, ("app", "a\x1b[2Jb")).count("\x1b[2J"), 0)

    def test_sidecar(self) -> None:
        """The sidecar's log stands among the lines, what is below the level does not."""
        stream = StringIO()
        log = Logger("sidecar.test", observer=Screen(stream, False, Levels.parse("info")))
        log.debug("unseen")
        log.warn("seen {what}", what="twice")
        self.assertEqual(stream.getvalue(), "sidecar | seen twice\n")

    def test_nobody_reads(self) -> None:
        """A pipe that was closed raises nothing, and is told of once."""
        stream = StringIO()
        screen = Screen(stream, False, Levels.parse("info"))
        told: list[int] = []
        screen.when_closed = lambda: told.append(1)
        stream.close()
        for _ in range(2):
            screen.app("x")
        self.assertEqual((screen.closed, told), (True, [1]))


class Pieces(SynchronousTestCase):
    def test_lines(self) -> None:
        """Pieces become lines; what was begun is shown at the end, and what never ends in parts."""
        shown: list[str] = []
        lines = Lines(shown.append)
        for piece in (b"a", b"b\nc\n", b"\xff", b"d"):
            lines.feed(piece)
        self.assertEqual(shown, ["ab", "c"])
        lines.end()
        lines.end()
        self.assertEqual(shown[2:], ["\ufffdd"])
        lines.feed(b"x" * MAX_LINE)
        self.assertEqual(len(shown), 4)
