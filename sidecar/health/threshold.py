"""What a check finds, and when results make up a verdict: so many passes, or failures, in a row. Pure."""

from __future__ import annotations

from attrs import evolve, frozen


@frozen
class CheckResult:
    """What a check found.

    :ivar detail: in words, for the log and for people. :ivar status: what the app answered, None where it did not.
    :ivar warning: it passes, and something is amiss.
    """

    healthy: bool
    detail: str
    status: int | None = None
    warning: bool = False


@frozen
class Threshold:
    """What the checks so far say.

    :ivar rise: passes in a row that make the app healthy. :ivar fall: failures in a row that make it unhealthy.
    :ivar healthy: the verdict, None before there is one.
    :ivar run: results in a row that speak against the verdict (with no verdict: that agree with one another).
    :ivar leaning: what those results say.
    """

    rise: int = 1
    fall: int = 1
    healthy: bool | None = None
    run: int = 0
    leaning: bool = True

    def found(self, healthy: bool) -> Threshold:
        """:returns: the threshold after one more result."""
        if healthy == self.healthy:
            return evolve(self, run=0)
        run = self.run + 1 if healthy == self.leaning else 1
        if run >= (self.rise if healthy else self.fall):
            return evolve(self, healthy=healthy, run=0, leaning=healthy)
        return evolve(self, run=run, leaning=healthy)
