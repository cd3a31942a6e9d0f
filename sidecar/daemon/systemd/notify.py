"""Tells systemd how the daemon is, when systemd started it with ``Type=notify``: ready, alive, reloading, stopping."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Mapping
from typing import Any

from twisted.application import service
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger

#: Seconds between status lines: they tell of changes that nobody is waiting for.
STATUS_INTERVAL = 5.0


class Notifier(service.Service):
    """systemd's notification protocol, from the service's side (sd_notify(3)). It does nothing without systemd.

    ``READY=1`` is sent once the reactor runs and ``STOPPING=1`` when it is told to stop. Where the unit has
    ``WatchdogSec=``, ``WATCHDOG=1`` goes out twice in that time by a timer of the reactor: a reactor that hangs sends
    none, and systemd starts the daemon anew.
    """

    log = Logger()

    def __init__(self, reactor: Any, environ: Mapping[str, str], status: Callable[[], str] = str) -> None:
        """:param environ: where ``NOTIFY_SOCKET`` and ``WATCHDOG_USEC`` are.
        :param status: how the daemon is, in one line, for ``systemctl status``; "" says nothing."""
        self._reactor = reactor
        self._socket = environ.get("NOTIFY_SOCKET", "")
        self.status = status
        self._told = ""
        self._beat = watchdog_interval(environ)
        self._timers: dict[str, IDelayedCall] = {}

    def startService(self) -> None:
        super().startService()
        if self._socket:
            self._reactor.callWhenRunning(self._ready)
            self._reactor.callWhenRunning(self._alive)

    def stopService(self) -> None:
        super().stopService()
        for timer in self._timers.values():
            if timer.active():
                timer.cancel()
        self._timers.clear()
        self._tell("STOPPING=1\nSTATUS=Draining")

    def reloading(self) -> None:
        """Say that a reload has begun. systemd waits for :meth:`reloaded`, whatever comes of it."""
        # ``Type=notify-reload`` compares this with its own clock, to know which signal is answered.
        self._tell(f"RELOADING=1\nMONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")

    def reloaded(self, how: str) -> None:
        """Say that the reload is over. :param how: what came of it, for ``systemctl status``."""
        self._told = how
        self._tell(f"READY=1\nSTATUS={_one_line(how)}")

    def _ready(self) -> None:
        if self.running:
            self._told = self.status()
            self._tell("READY=1" + (f"\nSTATUS={_one_line(self._told)}" if self._told else ""))
            self._later("status", STATUS_INTERVAL, self._tell_status)

    def _alive(self) -> None:
        if self._beat is not None and self.running:
            self._tell("WATCHDOG=1")
            self._later("watchdog", self._beat, self._alive)

    def _tell_status(self) -> None:
        status = self.status()
        if status != self._told:
            self._told = status
            self._tell(f"STATUS={_one_line(status)}")
        self._later("status", STATUS_INTERVAL, self._tell_status)

    def _later(self, name: str, delay: float, call: Callable[[], None]) -> None:
        before = self._timers.get(name)
        if before is not None and before.active():
            before.cancel()
        self._timers[name] = self._reactor.callLater(delay, call)

    def _tell(self, state: str) -> None:
        if not self._socket:
            return
        # "@" is how an abstract socket is written; the kernel wants a NUL there.
        address = "\0" + self._socket[1:] if self._socket.startswith("@") else self._socket
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as notify:
                notify.setblocking(False)
                notify.sendto(state.encode(), address)
        except OSError as error:
            self.log.warn("systemd was not told {state}: {error}", state=state, error=error)


def watchdog_interval(environ: Mapping[str, str], pid: int | None = None) -> float | None:
    """How often systemd's watchdog is to hear from this process.

    :param pid: this process, for tests.
    :returns: seconds, half of what the unit allows; None where no watchdog waits for this process.
    """
    allowed, whose = environ.get("WATCHDOG_USEC", ""), environ.get("WATCHDOG_PID", "")
    if not (allowed.isascii() and allowed.isdigit()) or int(allowed) == 0:
        return None
    if whose and whose != str(os.getpid() if pid is None else pid):
        return None
    return int(allowed) / 2e6


def _one_line(text: str) -> str:
    """A newline would end the variable and begin another."""
    return " ".join(text.split())[:500]
