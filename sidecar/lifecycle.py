"""Services that start and stop in a fixed order, and periodic work that outlives its own failures."""

from __future__ import annotations

from collections.abc import Callable

from twisted.application import service
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure


class OrderedService(service.MultiService):
    """A MultiService whose children start in order and stop in reverse, each awaited with patience.

    Twisted's own stops all children at once, which would close the port while the app is still in the registry.
    """

    log = Logger()

    def __init__(self, clock: IReactorTime, patience: float) -> None:
        """:param patience: seconds that one child may take to stop before the next one is stopped regardless."""
        super().__init__()
        self._clock = clock
        self._patience = patience

    def stopService(self) -> Deferred[None]:
        service.Service.stopService(self)
        return Deferred.fromCoroutine(self._stop_in_reverse())

    async def _stop_in_reverse(self) -> None:
        for child in reversed(list(self)):
            stopping: Deferred[object] = maybeDeferred(child.stopService)
            stopping.addTimeout(self._patience, self._clock)
            try:
                await stopping
            except Exception:
                # A child that fails to stop must not keep the rest from leaving in order.
                self.log.failure("{child} did not stop cleanly; going on", child=child.name or type(child).__name__)


class PeriodicService(service.Service):
    """Calls ``work`` every ``interval`` seconds, one call at a time; a failed call is logged and the next one comes."""

    log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        interval: float,
        work: Callable[[], Deferred[None]],
        what: str,
        now: bool = True,
    ) -> None:
        """:param interval: seconds between starts. :param what: the work in words, for the log.
        :param now: whether the first call comes at start or one interval later."""
        super().__init__()
        self._work = work
        self._what = what
        self._now = now
        self._interval = interval
        self._pending: Deferred[None] | None = None
        self._loop = LoopingCall(self._tick)
        self._loop.clock = clock

    def startService(self) -> None:
        super().startService()
        ended: Deferred[LoopingCall] = self._loop.start(self._interval, now=self._now)
        ended.addErrback(self._report)

    def stopService(self) -> Deferred[None] | None:
        super().stopService()
        if self._loop.running:
            self._loop.stop()
        if self._pending is not None:
            self._pending.cancel()
        return None

    def _tick(self) -> Deferred[None]:
        self._pending = maybeDeferred(self._work)
        return self._pending.addErrback(self._report).addBoth(self._done)

    def _report(self, failure: Failure) -> None:
        if self.running:
            self.log.failure(
                "{what} failed; it is tried again in {interval} s", failure, what=self._what, interval=self._interval
            )

    def _done(self, _: object) -> None:
        self._pending = None
