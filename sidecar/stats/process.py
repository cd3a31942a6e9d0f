"""How this process is: its processor time and memory, and how late its reactor comes to what is due."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, Final

from twisted.application import service
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from sidecar.stats.history import WIDTH, History
from sidecar.stats.rates import Totals
from sidecar.stats.recorder import resident
from sidecar.waiting import wall

#: Seconds between two looks.
INTERVAL: Final = 1.0
#: Seconds that a look comes late from which on it is a stall: callers feel it.
STALL: Final = 0.1


class ProcessSampler(service.Service):
    """Looks once a second, which costs next to nothing, and keeps an hour of it.

    :ivar cpu: share of one processor that the process took lately. :ivar delay: seconds that the last look came late.
    :ivar history: the last hour.
    """

    def __init__(self, clock: IReactorTime, calls: Callable[[], Totals]) -> None:
        """:param calls: gives all calls since the start."""
        self._clock = clock
        self._calls = calls
        self._timer: IDelayedCall | None = None
        self._due = 0.0
        self._used, self._used_at = _processor_seconds(), clock.seconds()
        self._bucket_used, self._bucket_began = self._used, self._used_at
        self.cpu = 0.0
        self.delay = 0.0
        self._stalls = 0
        self.history = History()
        self._listeners: dict[object, Callable[[], None]] = {}

    def startService(self) -> None:
        super().startService()
        self._used, self._used_at = _processor_seconds(), self._clock.seconds()
        self._bucket_used, self._bucket_began = self._used, self._used_at
        self._wait()

    def stopService(self) -> None:
        super().stopService()
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None

    @property
    def memory(self) -> int:
        """Bytes that the process holds now."""
        return resident()

    def stats(self) -> dict[str, Any]:
        """:returns: seconds that the last look came late, and how many looks came late by ``STALL`` or more."""
        return {"delay": self.delay, "stalls": self._stalls}

    def listen(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Have ``listener`` called once a second. :returns: what ends that; doing it twice is no error."""
        key = object()
        self._listeners[key] = listener

        def end() -> None:
            self._listeners.pop(key, None)

        return end

    def _wait(self) -> None:
        self._due = self._clock.seconds() + INTERVAL
        self._timer = self._clock.callLater(INTERVAL, self._look)

    def _look(self) -> None:
        now, used = self._clock.seconds(), _processor_seconds()
        self.delay = max(0.0, now - self._due)
        self._stalls += self.delay >= STALL
        self.cpu = _share(used - self._used, now - self._used_at)
        self._used, self._used_at = used, now
        if now - self._bucket_began >= WIDTH:
            seconds = now - self._bucket_began
            cpu = _share(used - self._bucket_used, seconds)
            self.history.add(wall(self._clock), seconds, self._calls(), cpu, self.memory)
            self._bucket_used, self._bucket_began = used, now
        self._wait()
        for listener in tuple(self._listeners.values()):
            listener()


def _processor_seconds() -> float:
    used = os.times()
    return used.user + used.system


def _share(used: float, seconds: float) -> float:
    return used / seconds if seconds > 0 else 0.0
