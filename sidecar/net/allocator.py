"""The C library's allocator, told to give back what a siege took.

glibc keeps freed memory in arenas of each thread, and raises the size from which blocks are given back at once with the
largest that was freed: after a few messages of megabytes it keeps hundreds of them. The unit sets the same by
environment variables, which count more.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from twisted.internet.defer import Deferred, succeed

from sidecar.lifecycle import PeriodicService

#: mallopt's names (malloc.h) with the environment's: two arenas; blocks from 512 KiB on are the kernel's again at once,
#: and the top of the heap from 8 MiB on: less would have it shrink and grow again with every message of some size.
SETTINGS: Final = (
    ("MALLOC_ARENA_MAX", -8, 2),
    ("MALLOC_TRIM_THRESHOLD_", -1, 8 * 1024 * 1024),
    ("MALLOC_MMAP_THRESHOLD_", -3, 512 * 1024),
)

#: Seconds between two looks at how much memory is resident, and how many bytes more than at the start are worth it.
LOOK: Final = 5.0
WORTH_IT: Final = 48 * 1024 * 1024
#: Seconds from giving up to trimming, and between two trimmings for that.
A_TURN: Final = 0.01
PAUSE: Final = 0.5
#: Looks that are left out, at most, after some that gave nothing back: what is resident is in use then.
LONGEST_WAIT: Final = 5


class Trim:
    """Has the heap trimmed where much is resident: what lies free between what is used goes back.

    Blocks below the size that is given back at once stay otherwise until the top of the heap is free.
    """

    def __init__(self, resident: Callable[[], int], trim: Callable[[], object]) -> None:
        """:param resident: bytes now. :param trim: gives back what is free."""
        self._resident = resident
        self._trim = trim
        self._least = resident()
        self._wait = self._left_out = 0

    def look(self) -> Deferred[None]:
        """Trim, where it may be of use."""
        before = self._resident()
        if before < self._least + WORTH_IT:
            self._wait = self._left_out = 0
        elif self._left_out < self._wait:
            self._left_out += 1
        else:
            self._trim()
            useful = before - self._resident() > before // 8
            self._wait = 0 if useful else min(LONGEST_WAIT, 2 * self._wait + 1)
            self._left_out = 0
        return succeed(None)


class TrimAfterwards:
    """Has the heap trimmed a moment after somebody gave up what it kept, and not again at once.

    What was given up in many small blocks would stay ours else while what comes next is large.
    """

    def __init__(self, reactor: Any, trim: Callable[[], object] | None = None) -> None:
        """:param trim: gives back what is free, None for the C library's own."""
        self._reactor = reactor
        self._trim = trim or _malloc_trim
        self._waits = False
        self._last = float("-inf")

    def __call__(self) -> None:
        """Something was given up."""
        if not self._waits:
            self._waits = True
            passed = self._reactor.seconds() - self._last
            # A turn later what was closed is gone.
            self._reactor.callLater(max(A_TURN, PAUSE - passed), self._now)

    def _now(self) -> None:
        self._waits = False
        self._last = self._reactor.seconds()
        self._trim()


def trimmer(reactor: Any) -> PeriodicService:
    """:returns: a service that gives memory back."""
    trim = Trim(_resident, _malloc_trim)
    return PeriodicService(reactor, LOOK, trim.look, "giving memory back", now=False)


def tune(environ: Mapping[str, str] = os.environ) -> int:
    """Set what the environment leaves open. :returns: how many settings were taken; 0 where it is not glibc."""
    try:
        import ctypes

        library = ctypes.CDLL(None)
        library.gnu_get_libc_version  # noqa: B018  # others have a mallopt that knows less
        return sum(library.mallopt(number, value) for name, number, value in SETTINGS if name not in environ)
    except (ImportError, OSError, AttributeError):
        return 0


def _resident() -> int:
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError, ValueError):
        return 0  # no Linux


def _malloc_trim() -> None:
    try:
        import ctypes

        ctypes.CDLL(None).malloc_trim(0)
    except (ImportError, OSError, AttributeError):
        pass  # not glibc
