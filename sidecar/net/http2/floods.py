"""How much of what costs a server more than its sender one HTTP/2 connection may send: pure, and with an end.

:source: RFC 9113, 10.5 (denial of service); CVE-2019-9512 (pings), -9515 (settings), -9518 (empty frames),
    CVE-2023-44487 (resets)
"""

from __future__ import annotations

from typing import Final, Literal

Kind = Literal["resets", "control frames", "empty frames"]

#: How many at once, how many a second besides, and how many for each request that was answered in full. grpc-go pings
#: for each piece of an answer, to measure the path, so that what is normal grows with the calls.
ALLOWED: Final[dict[Kind, tuple[float, float, float]]] = {
    "resets": (200, 20, 1),
    "control frames": (1000, 100, 16),
    "empty frames": (200, 20, 4),
}


class FloodMeter:
    """Counts for one connection."""

    def __init__(self, now: float) -> None:
        """:param now: seconds, as in all methods."""
        self._left = {kind: burst for kind, (burst, _, _) in ALLOWED.items()}
        self._filled = now

    def answered(self) -> None:
        """A request was answered in full."""
        for kind, (burst, _, each) in ALLOWED.items():
            self._left[kind] = min(burst, self._left[kind] + each)

    def sent(self) -> None:
        """A piece of an answer went out: the peer will widen a window for it, or two, and may ping."""
        burst = ALLOWED["control frames"][0]
        self._left["control frames"] = min(burst, self._left["control frames"] + 3)

    def admits(self, kind: Kind, now: float) -> bool:
        """Whether one more of these is borne."""
        passed, self._filled = now - self._filled, now
        if passed:
            for each, (burst, rate, _) in ALLOWED.items():
                self._left[each] = min(burst, self._left[each] + passed * rate)
        self._left[kind] -= 1
        return self._left[kind] >= 0
