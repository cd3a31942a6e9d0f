"""Log lines: their forms, their levels, and that nobody who does not read them stops the daemon."""

from __future__ import annotations

import io
import json
import os
import socket

from twisted.logger import LogEvent, LogLevel
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from sidecar.daemon.logs.formats import choose, journald, json_line, text
from sidecar.daemon.logs.levels import Levels
from sidecar.daemon.logs.observer import BURST, LineObserver


def event(message: str = "Registering {id}", level: object = LogLevel.info, **fields: object) -> LogEvent:
    """An event as Twisted's Logger makes it."""
    head = {"log_format": message, "log_level": level, "log_namespace": "sidecar.x", "log_time": 1764039600.5}
    return {**head, **fields}


def failed(message: str = "It broke") -> LogEvent:
    try:
        raise RuntimeError("no\nmore")
    except RuntimeError:
        return event(message, LogLevel.critical, log_failure=Failure())


class Formats(SynchronousTestCase):
    def test_text(self) -> None:
        """Date, namespace, level, message; the traceback follows."""
        self.assertEqual(text(event(id="foo-1")), "2025-11-25T03:00:00+0000 [sidecar.x#info] Registering foo-1\n")
        self.assertIn("RuntimeError", text(failed()))

    def test_json(self) -> None:
        """One object a line, the fields beside the message, a failure's traceback too."""
        line = json_line(event(id="foo-1", seconds=0.5, ok=True, other=[1], message2=None))
        self.assertTrue(line.endswith("}\n"))
        self.assertEqual(
            json.loads(line),
            {
                "time": "2025-11-25T03:00:00.500Z",
                "level": "info",
                "logger": "sidecar.x",
                "message": "Registering foo-1",
                "id": "foo-1",
                "seconds": 0.5,
                "ok": True,
                "other": "[1]",
                "message2": None,
            },
        )
        self.assertIn("RuntimeError", json.loads(json_line(failed()))["traceback"])

    def test_journald(self) -> None:
        """A priority and no second time stamp; each line of a traceback has the priority too."""
        self.assertEqual(journald(event("Careful", LogLevel.warn)), "<4>sidecar.x: Careful\n")
        lines = journald(failed()).splitlines()
        self.assertTrue(all(line.startswith("<2>") for line in lines))
        self.assertGreater(len(lines), 2)

    def test_no_control_characters(self) -> None:
        """A name from elsewhere writes no line of its own and moves no cursor."""
        for form in (text, journald):
            line = form(event(id="foo\n2025 [fake] \x1b[2J\x9b\x07"))
            self.assertEqual(line.count("\n"), 1)
            self.assertNotRegex(line[:-1], r"[\x00-\x1f\x7f-\x9f]")
        self.assertEqual(json.loads(json_line(event(id="a\nb")))["message"], "Registering a\nb")
        text(event(id="\udcff")).encode()

    def test_long(self) -> None:
        """A line is bounded, and says that it was cut."""
        line = text(event(id="x" * 100_000))
        self.assertLess(len(line), 20_000)
        self.assertIn("100012 characters", line)

    def test_auto(self) -> None:
        """Text on a terminal, journald's on its stream, JSON on a file or pipe."""
        master, slave = os.openpty()
        self.addCleanup(os.close, master)
        with open(slave, "w") as terminal:
            self.assertIs(choose("auto", terminal, {}), text)
        ours, theirs = socket.socketpair()
        self.addCleanup(theirs.close)
        found = os.fstat(ours.fileno())
        with ours, open(os.dup(ours.fileno()), "w") as stream:
            self.assertIs(choose("auto", stream, {"JOURNAL_STREAM": f"{found.st_dev}:{found.st_ino}"}), journald)
            self.assertIs(choose("auto", stream, {"JOURNAL_STREAM": "1:2"}), json_line)
        self.assertIs(choose("auto", io.StringIO(), {}), json_line)
        self.assertIs(choose("text", io.StringIO(), {}), text)


class Level(SynchronousTestCase):
    def test_by_namespace(self) -> None:
        """The longest namespace decides; Twisted's own lines need to be asked for; failures are always written."""
        levels = Levels.parse("warn,sidecar.rpc=debug,sidecar.rpc.client=error")
        for namespace, level, wanted in (
            ("sidecar.web", LogLevel.info, False),
            ("sidecar.web", LogLevel.warn, True),
            ("sidecar.rpc.selector", LogLevel.debug, True),
            ("sidecar.rpc.client", LogLevel.warn, False),
            ("sidecar.rpcs", LogLevel.info, False),
        ):
            self.assertEqual(levels.wants(event(level=level, log_namespace=namespace)), wanted, namespace)
        self.assertFalse(Levels().wants(event(log_namespace="twisted.web.server.Site")))
        self.assertTrue(Levels.parse("debug").wants(event(log_namespace="twisted.web.server.Site")))
        self.assertTrue(Levels.parse("error").wants({**failed(), "log_level": LogLevel.debug}))

    def test_wrong(self) -> None:
        """A level that there is not is named, with those that there are."""
        error = self.assertRaises(ValueError, Levels.parse, "info,sidecar=loud")
        self.assertIn("'loud' is no level; there are debug", str(error))


class Observer(SynchronousTestCase):
    def setUp(self) -> None:
        self.now = 0.0
        reader, writer = os.pipe()
        self.reader = reader
        self.addCleanup(os.close, reader)
        self.addCleanup(os.close, writer)
        os.set_blocking(reader, False)
        self.observer = LineObserver(writer, text, Levels(), lambda: self.now)

    def read(self) -> str:
        """Everything that a reader finds now."""
        found = b""
        try:
            while piece := os.read(self.reader, 65536):
                found += piece
        except BlockingIOError:
            pass
        return found.decode()

    def test_a_pipe_that_nobody_reads(self) -> None:
        """The daemon goes on, what it could not say is counted, and told once somebody reads; no line is torn."""
        for number in range(3000):
            self.observer(event("{n} " + "x" * 100, n=number, log_unthrottled=True))
        self.assertGreater(self.observer.dropped, 1000)
        first = self.read()
        self.observer(event("at last", log_unthrottled=True))
        whole = first + self.read()
        self.assertTrue(whole.endswith("at last\n"))
        self.assertIn(f"{self.observer.dropped} log lines were dropped: nobody read them\n", whole)
        for line in whole.splitlines():
            self.assertRegex(line, r"^2025-.*(x{100}|dropped: nobody read them|at last)$|^1970-.*dropped")

    def test_no_descriptors(self) -> None:
        """What Twisted tells of descriptors at a level that is not shown is told in words that say what to do."""
        reader, writer = os.pipe()
        self.addCleanup(os.close, reader)
        observer = LineObserver(writer, text, Levels.parse("warn"), lambda: 0.0)
        quiet = event("EMFILE encountered; releasing reserved file descriptor.")
        observer({**quiet, "log_namespace": "twisted.internet.tcp.Port"})
        observer({**event("Re-reserving EMFILE recovery file descriptor."), "log_namespace": "twisted.internet.tcp"})
        os.close(writer)
        told = os.read(reader, 65536).decode()
        self.assertEqual(told.count("\n"), 1)
        self.assertIn("[sidecar.daemon.listening#warn] No file descriptor is left", told)
        self.assertIn("ulimit -n", told)

    def test_a_reader_that_has_gone(self) -> None:
        """A closed pipe stops nobody either."""
        reader, writer = os.pipe()
        os.close(reader)
        self.addCleanup(os.close, writer)
        LineObserver(writer, text, Levels(), lambda: 0.0)(event(id="x"))

    def test_lines_about_one_thing(self) -> None:
        """A burst, then a line a second with the number of those left out; other things are not held up."""
        for _ in range(100):
            self.observer(event("The same {n}", n=1))
        self.observer(event("Another"))
        lines = self.read().splitlines()
        self.assertEqual(sum("The same" in line for line in lines), int(BURST))
        self.assertIn("Another", lines[-1])
        self.now = 5.0
        self.observer(event("The same {n}", n=2))
        self.assertIn("80 more lines like the next one were left out", self.read())
