"""The original sidecar's ``/stats`` JSON. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any


def window(timestamp: int, classes: Mapping[int, int], total: int) -> dict[str, Any]:
    """One window of counts. :param classes: answers by the first digit of their status.

    :source: micro/micro@a45687f7:internal/stats/stats.go
    """
    return {
        "timestamp": timestamp,
        "status_codes": {f"{digit}0x": count for digit, count in sorted(classes.items())},
        "total_reqs": total,
    }


def document(
    started: int, memory: int, threads: int, gc_pause: float, counters: Iterable[Mapping[str, Any]]
) -> dict[str, Any]:
    """The whole. :param started: seconds since the epoch. :param memory: bytes. :param gc_pause: seconds.

    :source: micro/micro@a45687f7:internal/stats/stats.go
    """
    return {
        "started": started,
        "memory": f"{memory / (1024 * 1024):.2f}mb",
        "threads": threads,
        "gc_pause": f"{gc_pause * 1000:.3f}ms",
        "counters": list(counters),
    }
