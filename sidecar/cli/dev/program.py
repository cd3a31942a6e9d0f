"""The app as a process: started, its output read line by line, ended with whatever it started."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessDone, ProcessTerminated
from twisted.internet.protocol import ProcessProtocol
from twisted.internet.task import deferLater
from twisted.python.failure import Failure

from sidecar.cli.dev import proc

#: Bytes of the longest line; a longer one is shown in parts.
MAX_LINE = 64 * 1024
#: Seconds that the app has to leave by itself when it is asked to.
PATIENCE = 10.0
#: Seconds between looks at whether it is gone.
_LOOK = 0.05


class Lines:
    """Makes lines of what comes in pieces."""

    def __init__(self, show: Callable[[str], None]) -> None:
        self._show = show
        self._begun = b""

    def feed(self, data: bytes) -> None:
        """Take a piece."""
        *whole, self._begun = (self._begun + data).split(b"\n")
        for line in whole:
            self._show(line.decode("utf-8", "replace"))
        if len(self._begun) >= MAX_LINE:
            self.end()

    def end(self) -> None:
        """Nothing comes any more: show what was begun."""
        begun, self._begun = self._begun, b""
        if begun:
            self._show(begun.decode("utf-8", "replace"))


class Program(ProcessProtocol):
    """A program that runs in a session of its own: a Ctrl-C of the terminal is ours alone, and we say what it means.

    :ivar ended: fires with how it ended, in words, when it has.
    """

    def __init__(self, reactor: Any, show: Callable[[str], None]) -> None:
        self._reactor = reactor
        self._output = Lines(show)
        self._errors = Lines(show)
        self.pid = 0
        self.running = False
        #: What it has started so far, whatever became of it.
        self._known: set[proc.Process] = set()
        self.ended: Deferred[str] = Deferred()

    def start(self, command: Sequence[str], environ: Mapping[str, str], lead: Sequence[str]) -> None:
        """:param lead: what makes a session and becomes ``command``. :raises OSError: it cannot be started."""
        words = [*lead, *command]
        # Its input is ours: a debugger in the app can be talked to.
        self._reactor.spawnProcess(self, words[0], words, env=dict(environ), childFDs={0: 0, 1: "r", 2: "r"})

    def connectionMade(self) -> None:
        assert self.transport is not None
        self.pid, self.running = self.transport.pid, True

    def outReceived(self, data: bytes) -> None:
        self._output.feed(data)

    def errReceived(self, data: bytes) -> None:
        self._errors.feed(data)

    def processExited(self, reason: Failure) -> None:
        # Not processEnded: what it started may keep its output open for ever.
        self.running = False
        self.signal(signal.SIGKILL)
        self._reactor.callLater(0, self._tell, how(reason))

    def _tell(self, how: str) -> None:
        self._output.end()
        self._errors.end()
        self.ended.callback(how)

    def processes(self) -> set[proc.Process]:
        """:returns: what it has become: itself and whatever it started, were it in sessions of their own, that runs."""
        self._known = proc.alive(self._known) | proc.tree(self.pid)
        return self._known

    def signal(self, number: int) -> None:
        """Send a signal to it and whatever it started."""
        for process in self.processes():
            with suppress(ProcessLookupError, PermissionError):
                os.kill(process.pid, number)

    async def stop(self, patience: float = PATIENCE) -> None:
        """End it: ask it to, and kill what is left when it has left, or after ``patience`` seconds."""
        if not self.running:
            return
        self.signal(signal.SIGTERM)
        deadline = self._reactor.seconds() + patience
        while self.running and self._reactor.seconds() < deadline:
            await deferLater(self._reactor, _LOOK)
        self.signal(signal.SIGKILL)
        while self.running:
            await deferLater(self._reactor, _LOOK)


def how(reason: Failure) -> str:
    """:returns: how a process ended, in words."""
    value = reason.value
    if isinstance(value, ProcessDone):
        return "ended (exit code 0)"
    if isinstance(value, ProcessTerminated) and value.signal:
        return f"was ended by {signal.Signals(value.signal).name}"
    return f"ended with exit code {getattr(value, 'exitCode', None)}"
