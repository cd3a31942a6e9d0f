"""What signals do: SIGTERM and SIGINT end the daemon in order, SIGHUP has it read its files again."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from types import FrameType
from typing import Any

from twisted.logger import Logger

#: The first one ends the daemon in order with exit code 0, the second one at once with 1.
_ENDING = (signal.SIGTERM, signal.SIGINT)
#: Seconds after a SIGHUP at which the terminal is looked at once more: a shell that closes tells its jobs first.
_TERMINAL_CLOSES = 1.0


class Signals:
    """Takes the process's signals.

    Twisted's own handlers of SIGTERM and SIGINT make twistd kill itself with the same signal once all is stopped, which
    supervisors read as a crash; so ours replace them as soon as the reactor runs.

    SIGHUP means two things: to a daemon, read your files again; from a terminal that closed, go. The second is meant
    where we were started in a terminal and have it no longer.
    """

    log = Logger()

    def __init__(self, reactor: Any, reload: Callable[[], None], terminal: Callable[[], bool] | None = None) -> None:
        """:param reload: reads the files again. :param terminal: tells whether the process has a terminal."""
        self._reactor = reactor
        self._reload = reload
        self._terminal = has_terminal if terminal is None else terminal
        self._ending = False
        self._had_terminal = False
        self._session = -1

    def install(self) -> None:
        """Take SIGHUP now, since it would end us, and the others when the reactor has started (its own handlers are in
        place by then)."""
        self.look_for_terminal()
        # nohup has it ignored: then no terminal's end is ours.
        if signal.getsignal(signal.SIGHUP) == signal.SIG_IGN:
            self._terminal = lambda: False
            self._had_terminal = False
        signal.signal(signal.SIGHUP, self._hung_up)
        self._reactor.callWhenRunning(self._take)

    def look_for_terminal(self) -> None:
        """Remember whether there is a terminal, and of which session we are."""
        self._session = os.getsid(0)
        self._had_terminal = self._terminal()

    def _take(self) -> None:
        if os.getsid(0) != self._session:
            self.look_for_terminal()  # twistd has made us a daemon since
        for number in _ENDING:
            signal.signal(number, self._received)

    def _received(self, number: int, frame: FrameType | None) -> None:
        name = signal.Signals(number).name
        if self._ending:
            # Straight to the descriptor: a handler may interrupt the logger anywhere.
            os.write(2, f"{name} again: exiting at once, calls in flight are lost\n".encode())
            os._exit(1)
        self._ending = True
        self._reactor.callFromThread(self._end, name)

    def _hung_up(self, number: int, frame: FrameType | None) -> None:
        self._reactor.callFromThread(self.hung_up)

    def hung_up(self) -> None:
        """SIGHUP came: end where the terminal is gone, else reload."""
        if self._ending or self._terminal_is_gone():
            return
        self.log.info("Received SIGHUP: reading files again")
        self._reload()
        if self._had_terminal:
            self._reactor.callLater(_TERMINAL_CLOSES, self._terminal_is_gone)

    def _terminal_is_gone(self) -> bool:
        if not self._had_terminal or self._terminal():
            return False
        if not self._ending:
            self._ending = True
            self._end("SIGHUP, the terminal was closed")
        return True

    def _end(self, why: str) -> None:
        self.log.info("Received {name}: leaving the registry, then finishing calls in flight", name=why)
        self._reactor.stop()


def has_terminal() -> bool:
    """:returns: whether this process has a controlling terminal that is open."""
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC))
    except OSError:
        return False
    return True
