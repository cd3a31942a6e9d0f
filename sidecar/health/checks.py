"""Checks the app again and again: often while it is new or ill, so that it is found well at once, else at leisure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from attrs import define, field
from twisted.application import service
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from sidecar.health.threshold import CheckResult

#: Seconds between checks of an app that is new or ill, for so many seconds; each pause after them is so much longer.
SOON, FIRST, GROWTH = 0.25, 10.0, 1.5


class IProbe(Protocol):
    """Anything that can check the app."""

    def check(self) -> Deferred[CheckResult]:
        """:returns: fires with what was found; never fails but by being cancelled."""


@define
class Schedule:
    """When the next check is due. Pure.

    :ivar interval: seconds between checks of an app that is well.
    """

    interval: float
    _since: float | None = field(default=None, init=False)
    _pause: float = field(default=SOON, init=False)

    def watch(self, now: float) -> None:
        """The app is new, or has fallen ill: check it soon, and ever less often."""
        self._since, self._pause = now, SOON

    def relax(self) -> None:
        """The app is well."""
        self._since = None

    def pause(self, now: float) -> float:
        """:returns: seconds from one check to the next."""
        if self._since is None:
            return self.interval
        if now - self._since >= FIRST:
            self._pause *= GROWTH
        return min(self._pause, self.interval)


class Checks(service.Service):
    """Has the app checked for as long as it runs, one check at a time."""

    log = Logger()

    def __init__(
        self, clock: IReactorTime, probe: IProbe, interval: float, found: Callable[[CheckResult], object]
    ) -> None:
        """:param interval: seconds between checks of an app that is well. :param found: told what each check found."""
        self._clock = clock
        self._probe = probe
        self._found = found
        self.schedule = Schedule(interval)
        self._timer: IDelayedCall | None = None
        self._checking: Deferred[None] | None = None

    def startService(self) -> None:
        super().startService()
        self.schedule.watch(self._clock.seconds())
        self._check()

    def stopService(self) -> None:
        super().stopService()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._checking is not None:
            self._checking.cancel()

    def _check(self) -> None:
        self._timer = None
        began = self._clock.seconds()
        checking = self._checking = self._probe.check().addCallback(self._tell).addErrback(self._failed)
        checking.addCallback(self._checked, began)

    def _tell(self, result: CheckResult) -> None:
        if self.running:
            self._found(result)

    def _failed(self, failure: Failure) -> None:
        if failure.check(CancelledError) is None or self.running:
            self.log.failure("a healthcheck failed; the next one comes", failure)

    def _checked(self, _: None, began: float) -> None:
        self._checking = None
        if not self.running:
            return
        now = self._clock.seconds()
        pause = self.schedule.pause(now)
        # An app that takes its time to answer is not asked again in the same breath.
        self._timer = self._clock.callLater(max(pause - (now - began), min(pause, SOON)), self._check)
