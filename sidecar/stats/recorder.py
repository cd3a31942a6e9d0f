"""Keeps the counters of this process and what it knows of itself: memory, threads, collector pauses."""

from __future__ import annotations

import gc
import os
import resource
import sys
import threading
from collections.abc import Iterable
from time import perf_counter
from typing import Any

from attrs import frozen
from twisted.application import service
from twisted.internet.interfaces import IReactorTime

from sidecar.stats.counters import Counters, Counts, Latency
from sidecar.waiting import wall


@frozen
class Snapshot:
    """How the process stands.

    :ivar started: seconds since the epoch. :ivar memory: resident bytes. :ivar gc_pause: seconds that the collector has
        taken since the start.
    """

    started: int
    memory: int
    threads: int
    gc_pause: float
    windows: tuple[Counts, ...]
    latency: Latency


class StatsRecorder(service.Service):
    """Counts answers. As a service it also times the garbage collector."""

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._started = wall(clock)
        self._date = self._started - clock.seconds()
        self._counters = Counters(clock.seconds())
        #: Answers since the start by the first digit of their status: of all paths that are not counted by themselves.
        self._others = [0] * 10
        self._by_path: dict[bytes, list[int]] = {}
        self._gc_pause = 0.0
        self._gc_began = 0.0

    def startService(self) -> None:
        super().startService()
        gc.callbacks.append(self._collecting)

    def stopService(self) -> None:
        super().stopService()
        if self._collecting in gc.callbacks:
            gc.callbacks.remove(self._collecting)

    @property
    def started(self) -> float:
        """Seconds since the epoch."""
        return self._started

    def distinguish(self, paths: Iterable[bytes]) -> None:
        """Count the answers of each of these paths by itself."""
        self._by_path = {path: [0] * 10 for path in paths}

    @property
    def totals(self) -> dict[tuple[bytes, int], int]:
        """Answers since the start, by their path and the first digit of their status; b"" is all other paths."""
        counted = {**self._by_path, b"": self._others}
        return {(path, digit): count for path, counts in counted.items() for digit, count in enumerate(counts) if count}

    def record(self, status: int, seconds: float, path: bytes, now: float) -> None:
        """Count an answer. :param status: its HTTP status. :param seconds: it took. :param path: what was asked.
        :param now: by our clock."""
        (self._by_path.get(path) or self._others)[status // 100] += 1
        self._counters.record(now, status, seconds)

    def snapshot(self) -> Snapshot:
        """How it stands now."""
        now = self._clock.seconds()
        date = wall(self._clock) - now
        if abs(date - self._date) > 1:
            # The clock was set (or the machine slept): windows are shown by the date that everybody has now. A smaller
            # difference is a clock that is being disciplined, for which no window should move.
            self._date = date
        return Snapshot(
            started=int(self._started),
            memory=resident(),
            threads=threading.active_count(),
            gc_pause=self._gc_pause,
            windows=self._counters.windows(now, self._date),
            latency=self._counters.latency(now),
        )

    def _collecting(self, phase: str, info: dict[str, Any]) -> None:
        if phase == "start":
            self._gc_began = perf_counter()
        else:
            self._gc_pause += perf_counter() - self._gc_began


def resident() -> int:
    """Bytes of memory that this process holds now, or at most held where the system tells no more."""
    try:
        with open("/proc/self/statm", "rb") as statm:
            return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024
