"""Checks by programs: a script of the operator's, and what systemd says of a unit. They are killed as a tree."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from attrs import frozen
from twisted.internet.defer import Deferred, TimeoutError
from twisted.internet.error import ProcessExitedAlready, ProcessTerminated
from twisted.internet.protocol import ProcessProtocol
from twisted.python.failure import Failure

from sidecar.health.threshold import CheckResult

#: Bytes of output that are kept: the first say what is wrong.
_MOST = 4096
#: Makes a process group of its own, so that whatever the program starts can be killed with it.
_LEAD = """\
import os, sys
os.setsid()
try:
    os.execvp(sys.argv[1], sys.argv[1:])
except OSError as error:
    print(f"{sys.argv[1]} cannot be started: {error.strerror}")
    sys.exit(127)
"""


@frozen
class ProgramEnd:
    """How a program ended. :ivar code: its exit code, None where a signal ended it. :ivar output: its first words."""

    code: int | None
    output: str


class _Program(ProcessProtocol):
    def __init__(self) -> None:
        self._output = b""
        self._pid = 0
        self.ended: Deferred[ProgramEnd] = Deferred(lambda _: self.kill())

    def connectionMade(self) -> None:
        assert self.transport is not None
        # Twisted forgets it when the process has ended; what it started may live on in its group.
        self._pid = self.transport.pid
        self.transport.closeStdin()

    def outReceived(self, data: bytes) -> None:
        self._output = (self._output + data)[:_MOST]

    errReceived = outReceived

    def processEnded(self, reason: Failure) -> None:
        self._kill_group()  # whatever it left behind
        code = reason.value.exitCode if isinstance(reason.value, ProcessTerminated) else 0
        text = " ".join(self._output.decode("utf-8", "replace").split())
        if not self.ended.called:
            self.ended.callback(ProgramEnd(code, text))

    def kill(self) -> None:
        """End the program and whatever it started."""
        self._kill_group()
        if self.transport is not None:
            # It has not made its group yet, where it was just begun.
            with suppress(ProcessExitedAlready):
                self.transport.signalProcess("KILL")

    def _kill_group(self) -> None:
        if self._pid:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self._pid, signal.SIGKILL)


class ProgramProbe:
    """Runs a program. What its exit code means is ``judge``'s to say."""

    def __init__(
        self, reactor: Any, command: Sequence[str], timeout: float, judge: Callable[[ProgramEnd], CheckResult]
    ):
        """:param command: the program and its arguments. :param timeout: seconds until it is killed."""
        self._reactor = reactor
        self._command = command
        self._timeout = timeout
        self._judge = judge

    def check(self) -> Deferred[CheckResult]:
        program = _Program()
        # Not a shell: the words go to the program as they are.
        words = [sys.executable, "-ISc", _LEAD, *self._command]
        environ = {key: value for key, value in os.environ.items() if not key.startswith(("MICRO_", "CREDENTIALS_"))}
        try:
            self._reactor.spawnProcess(program, sys.executable, words, env=environ)
        except OSError as error:
            done: Deferred[CheckResult] = Deferred()
            done.callback(CheckResult(False, f"{self._command[0]} cannot be started: {error.strerror}"))
            return done
        return program.ended.addTimeout(self._timeout, self._reactor).addCallbacks(self._judge, self._failed)

    def _failed(self, failure: Failure) -> CheckResult:
        failure.trap(TimeoutError)
        return CheckResult(False, f"{self._command[0]} did not end within {self._timeout:g} s and was killed")


def judge_script(ended: ProgramEnd) -> CheckResult:
    """As Consul and Nagios do: 0 passes, 1 is a warning, anything else fails."""
    said = ended.output or ("killed by a signal" if ended.code is None else f"exit code {ended.code}")
    return CheckResult(ended.code in (0, 1), said, warning=ended.code == 1)


def judge_unit(unit: str) -> Callable[[ProgramEnd], CheckResult]:
    """:returns: reads what ``systemctl is-active`` prints."""

    def judge(ended: ProgramEnd) -> CheckResult:
        state = ended.output or "unknown"
        if len(state.split()) > 1:
            return CheckResult(False, f"{unit}: {state}")
        passing = state in ("active", "reloading", "activating", "refreshing")
        return CheckResult(passing, f"{unit} is {state}", warning=passing and state != "active")

    return judge
