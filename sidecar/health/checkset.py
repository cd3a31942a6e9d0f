"""Several checks of one app, taken together: it is well while each of them says so."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from attrs import define, field
from twisted.application import service
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from sidecar.health.checks import Schedule
from sidecar.health.threshold import CheckResult, Threshold

#: Told what a check found.
Found = Callable[[CheckResult], object]


class ICheckLoop(Protocol):
    """What has an app checked again and again. It is a service."""

    schedule: Schedule

    def startService(self) -> None: ...

    def stopService(self) -> None: ...


@define(eq=False)
class NamedCheck:
    """One of the checks.

    :ivar critical_after: seconds that it has to fail for before the app is ill.
    :ivar found: what it found last, None before that. :ivar since: when it began to fail, None while it does not.
    """

    name: str
    threshold: Threshold
    critical_after: float = 0.0
    found: CheckResult | None = None
    since: float | None = None
    loop: ICheckLoop | None = field(default=None, init=False)

    def verdict(self, now: float) -> bool | None:
        """:returns: whether it passes, None before there is a verdict."""
        if self.threshold.healthy is False and self.since is not None and now - self.since < self.critical_after:
            return True
        return self.threshold.healthy

    def told(self, passing: bool) -> str:
        """:param passing: its verdict. :returns: what it found, in words."""
        if self.found is None:
            return f"{self.name}: {'not checked yet' if self.threshold.healthy is None else 'as at the start'}"
        warned = self.found.warning or (passing and not self.found.healthy)
        return f"{self.name}: {'warning: ' if warned else ''}{self.found.detail}"


class CheckSet(service.Service):
    """Runs the checks of an app, and tells what they come to whenever one of them has found something."""

    log = Logger()

    def __init__(self, clock: IReactorTime, found: Found) -> None:
        """:param found: told what the checks come to, once each of them has a verdict."""
        self._clock = clock
        self._found = found
        self._checks: list[NamedCheck] = []
        self._later: IDelayedCall | None = None
        #: Each check keeps its own; nobody checks by this one.
        self.schedule = Schedule(1.0)

    def add(self, check: NamedCheck, make: Callable[[Found], ICheckLoop]) -> None:
        """:param make: makes what runs the check, given whom to tell."""
        check.loop = make(lambda result: self._result(check, result))
        self._checks.append(check)

    def startService(self) -> None:
        super().startService()
        for check in self._checks:
            assert check.loop is not None
            check.loop.startService()
        self._tell()

    def stopService(self) -> None:
        super().stopService()
        for check in self._checks:
            assert check.loop is not None
            check.loop.stopService()
        if self._later is not None and self._later.active():
            self._later.cancel()

    def _result(self, check: NamedCheck, result: CheckResult) -> None:
        before = check.threshold.healthy
        check.found, check.threshold = result, check.threshold.found(result.healthy)
        now = self._clock.seconds()
        assert check.loop is not None
        if check.threshold.healthy is False:
            if before is not False:
                check.since = now
                check.loop.schedule.watch(now)
                self._look_again(check.critical_after)
        elif check.threshold.healthy:
            check.since = None
            check.loop.schedule.relax()
        self._tell()

    def _look_again(self, seconds: float) -> None:
        """A check that fails has to be looked at once more when it has failed for long enough."""
        if seconds > 0:
            if self._later is not None and self._later.active():
                self._later.cancel()
            self._later = self._clock.callLater(seconds, self._looked)

    def _looked(self) -> None:
        self._tell()
        now = self._clock.seconds()
        left = [
            check.since + check.critical_after - now
            for check in self._checks
            if check.since is not None and check.since + check.critical_after > now
        ]
        if left:
            self._look_again(min(left))

    def _tell(self) -> None:
        now = self._clock.seconds()
        verdicts = [(check, check.verdict(now)) for check in self._checks]
        failing = [check for check, verdict in verdicts if verdict is False]
        if failing:
            status = next((check.found.status for check in failing if check.found is not None), None)
            self._found(CheckResult(False, "; ".join(check.told(False) for check in failing), status))
        elif all(verdict for _, verdict in verdicts):
            warned = any(check.found is not None and check.found.warning for check, _ in verdicts)
            self._found(CheckResult(True, "; ".join(check.told(True) for check, _ in verdicts), warning=warned))
