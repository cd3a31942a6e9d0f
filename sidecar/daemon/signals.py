"""SIGTERM and SIGINT: the first one leaves in order and exits 0, the second one exits at once."""

from __future__ import annotations

import os
import signal
from types import FrameType
from typing import Any

from twisted.logger import Logger

#: SIGHUP is what a closing terminal sends: the app must leave the registry then too, unless nohup was asked for.
_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class Signals:
    """Stops the reactor.

    Twisted's own handlers make twistd kill itself with the same signal once all is stopped, which supervisors read
    as a crash; so these replace them as soon as the reactor runs.
    """

    log = Logger()

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._told = False

    def install(self) -> None:
        """Take the signals over when the reactor has started (its own handlers are in place by then)."""
        self._reactor.callWhenRunning(self._take)

    def _take(self) -> None:
        for number in _SIGNALS:
            if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
                signal.signal(number, self._received)

    def _received(self, number: int, frame: FrameType | None) -> None:
        name = signal.Signals(number).name
        if self._told:
            # Straight to the descriptor: a handler may interrupt the logger anywhere.
            os.write(2, f"{name} again: exiting at once, calls in flight are lost\n".encode())
            os._exit(128 + number)
        self._told = True
        self._reactor.callFromThread(self._leave, name)

    def _leave(self, name: str) -> None:
        self.log.info("Received {name}: leaving the registry, then finishing calls in flight", name=name)
        self._reactor.stop()
