"""Tells systemd how we are, when it started us with ``Type=notify``."""

from __future__ import annotations

import socket
import time
from collections.abc import Mapping
from typing import Any

from twisted.application import service
from twisted.logger import Logger


class Notifier(service.Service):
    """Says ``READY=1`` once the reactor runs, ``RELOADING=1`` while files are read again, and ``STOPPING=1`` when told
    to stop. Does nothing without systemd."""

    log = Logger()

    def __init__(self, reactor: Any, environ: Mapping[str, str]) -> None:
        """:param environ: where ``NOTIFY_SOCKET`` is."""
        self._reactor = reactor
        self._socket = environ.get("NOTIFY_SOCKET", "")

    def startService(self) -> None:
        super().startService()
        self._reactor.callWhenRunning(self._tell, "READY=1")

    def stopService(self) -> None:
        super().stopService()
        self._tell("STOPPING=1")

    def reloading(self) -> None:
        """Say that files are being read again."""
        # systemd compares this with its own clock, which is CLOCK_MONOTONIC, to know which reload is meant.
        self._tell(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def reloaded(self, how: str) -> None:
        """Say that this is over. :param how: what came of it, for ``systemctl status``."""
        self._tell(f"READY=1\nSTATUS={how}")

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
