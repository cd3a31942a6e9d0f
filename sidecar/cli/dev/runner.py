"""Keeps the app running beside the sidecar: finds its port, has it registered, starts it again."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from attrs import frozen
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.threads import deferToThreadPool
from twisted.python.failure import Failure

from sidecar.cli.dev import proc, sources
from sidecar.cli.dev.program import Program
from sidecar.cli.dev.screen import Screen

#: Seconds between looks for the app's port, between looks at its files, and after which a silent app is spoken of.
LOOK, LOOK_AT_FILES, SILENT = 0.2, 0.5, 15.0
#: Seconds before an app that died is started again, doubling from the first to the last; after so long a life it is the
#: first again.
FIRST_PAUSE, LAST_PAUSE, LONG_LIFE = 0.5, 10.0, 10.0
#: Makes a session of its own and becomes the command; dies with us however we die.
_LEAD = """\
import os, sys
os.setsid()
if sys.platform == "linux":
    import ctypes, signal
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)
try:
    os.execvp(sys.argv[1], sys.argv[1:])
except OSError as error:
    print(f"{sys.argv[1]} cannot be started: {error.strerror}", file=sys.stderr)
    sys.exit(127)
"""


class IAppRegistration(Protocol):
    """Has the app in the registry."""

    def register(self, host: str, port: int) -> str:
        """Have it there from now on. :returns: why it cannot be, "" where it can."""

    def deregister(self) -> None:
        """Have it there no more."""


@frozen
class DevSettings:
    """What to run.

    :ivar command: the app's. :ivar name: the service that it is. :ivar port: where the app listens, 0 to find it out.
    :ivar watched: directories and files whose changes start it again. :ivar environ: of the app.
    """

    command: Sequence[str]
    name: str
    port: int
    watched: Sequence[str]
    environ: Mapping[str, str]


class Runner:
    """Runs the app until it is stopped."""

    def __init__(self, reactor: Any, settings: DevSettings, screen: Screen, registration: IAppRegistration) -> None:
        self._reactor = reactor
        self._settings = settings
        self._screen = screen
        self._registration = registration
        self._shown = " ".join(settings.command)
        self._program: Program | None = None
        self._where: tuple[str, int] | None = None
        self._began = 0.0
        self._silent = False
        self._pause = FIRST_PAUSE
        self._stopping = self._restarting = False
        self._again: IDelayedCall | None = None
        self._timers: dict[str, IDelayedCall] = {}
        self._files: sources.Snapshot = {}

    def start(self) -> None:
        """Begin, once the reactor runs."""
        if self._settings.watched:
            self._files = sources.snapshot(self._settings.watched)
            self._timers["files"] = self._reactor.callLater(LOOK_AT_FILES, self._look_at_files)
        self._run()

    async def stop(self) -> None:
        """End the app and whatever it started. It has left the registry before."""
        self._stopping = True
        self._cancel()
        if self._program is not None:
            await self._program.stop()

    def kill(self) -> None:
        """End the app and whatever it started at once."""
        if self._program is not None and self._program.running:
            self._program.signal(9)

    def _cancel(self) -> None:
        for timer in (*self._timers.values(), self._again):
            if timer is not None and timer.active():
                timer.cancel()

    # --- The process --------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        if self._stopping:
            return
        self._restarting = self._silent = False
        self._began = self._reactor.seconds()
        program = self._program = Program(self._reactor, self._screen.app)
        self._screen.dev(f"starting {self._shown}")
        program.start(self._settings.command, self._settings.environ, (sys.executable, "-ISc", _LEAD))
        program.ended.addCallback(self._ended)
        self._timers["port"] = self._reactor.callLater(0, self._look_for_port)

    def _ended(self, how: str) -> None:
        self._leave_registry()
        if self._stopping or self._restarting:
            return
        now = self._reactor.seconds()
        if now - self._began >= LONG_LIFE:
            self._pause = FIRST_PAUSE
        self._screen.trouble(f"{self._shown} {how}; starting it again in {self._pause:g} s")
        self._again = self._reactor.callLater(self._pause, self._run)
        self._pause = min(self._pause * 2, LAST_PAUSE)

    def _restart(self, why: str) -> Deferred[None]:
        return Deferred.fromCoroutine(self._restarted(why)).addErrback(self._failed)

    async def _restarted(self, why: str) -> None:
        if self._restarting or self._stopping:
            return
        self._screen.dev(why)
        self._restarting = True
        self._pause = FIRST_PAUSE
        self._leave_registry()
        if self._again is not None and self._again.active():
            self._again.cancel()
        if self._program is not None:
            await self._program.stop()
        self._run()

    def _failed(self, failure: Failure) -> None:
        self._screen.trouble(failure.getErrorMessage())

    # --- Its port -----------------------------------------------------------------------------------------------------

    def _look_for_port(self) -> None:
        program = self._program
        if self._stopping or self._restarting or program is None or not program.running:
            return
        self._timers["port"] = self._reactor.callLater(LOOK if self._where is None else LOOK * 5, self._look_for_port)
        found = proc.listening(process.pid for process in program.processes())
        wanted = self._settings.port
        fit = [each for each in found if not wanted or each.port == wanted]
        if self._where is not None:
            if self._where not in {(each.host, each.port) for each in fit}:
                self._screen.trouble(f"the app does not listen on port {self._where[1]} any more")
                self._leave_registry()
        elif fit:
            self._register(fit)
        elif not self._silent and self._reactor.seconds() - self._began >= SILENT:
            self._silent = True
            others = ", ".join(str(each.port) for each in found)
            self._screen.trouble(
                f"the app listens on port {others}, and not on --app_port={wanted}"
                if found
                else f"the app does not listen {f'on --app_port={wanted}' if wanted else 'on any port'} yet"
            )

    def _register(self, found: Sequence[proc.ListeningSocket]) -> None:
        first = found[0]
        self._where = first.host, first.port
        others = sorted({each.port for each in found} - {first.port})
        more = f" (and on {', '.join(map(str, others))}: name another by --app_port)" if others else ""
        self._screen.dev(f"the app listens on port {first.port}{more}: registering {self._settings.name}")
        why = self._registration.register(first.host, first.port)
        if why:
            self._screen.trouble(f"{self._settings.name} cannot be registered: {why}")

    def _leave_registry(self) -> None:
        if self._where is not None:
            self._where = None
            self._registration.deregister()

    # --- Its files ----------------------------------------------------------------------------------------------------

    def _look_at_files(self) -> None:
        looking = deferToThreadPool(
            self._reactor, self._reactor.getThreadPool(), sources.snapshot, self._settings.watched
        )
        looking.addCallback(self._looked).addErrback(self._failed)

    def _looked(self, files: sources.Snapshot) -> None:
        if self._stopping:
            return
        which = sources.changed(self._files, files)
        self._files = files
        self._timers["files"] = self._reactor.callLater(LOOK_AT_FILES, self._look_at_files)
        if which:
            self._restart(f"{which} changed: starting {self._shown} again")
