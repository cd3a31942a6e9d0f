"""A check that asks nothing: the app says itself how it is, again and again, and is ill where it says nothing."""

from __future__ import annotations

from collections.abc import Callable

from twisted.application import service
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from sidecar.health.checks import Schedule
from sidecar.health.threshold import CheckResult

#: What an app may say of itself, and what that is where it says no more.
_WORDS = {"pass": "passing", "warn": "warning", "fail": "failing"}


class Heartbeats(service.Service):
    """Waits for heartbeats, each within ``ttl`` seconds of the one before."""

    def __init__(self, clock: IReactorTime, ttl: float, found: Callable[[CheckResult], object]) -> None:
        """:param ttl: seconds. :param found: told what each heartbeat says, and that one did not come."""
        self._clock = clock
        self._ttl = ttl
        self._found = found
        self._timer: IDelayedCall | None = None
        self.schedule = Schedule(ttl)

    def startService(self) -> None:
        super().startService()
        self._wait()

    def stopService(self) -> None:
        super().stopService()
        if self._timer is not None and self._timer.active():
            self._timer.cancel()

    def beat(self, word: str, note: str) -> None:
        """Take a heartbeat. :param word: pass, warn or fail. :param note: what the app has to say with it."""
        if not self.running:
            return
        self._wait()
        self._found(CheckResult(word != "fail", note or _WORDS[word], warning=word == "warn"))

    def _wait(self) -> None:
        if self._timer is not None and self._timer.active():
            self._timer.reset(self._ttl)
        else:
            self._timer = self._clock.callLater(self._ttl, self._missed)

    def _missed(self) -> None:
        self._found(CheckResult(False, f"no heartbeat for {self._ttl:g} s"))
