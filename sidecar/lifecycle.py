"""Services that start and stop in a fixed order, periodic work that outlives its own failures, and groups of tasks."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable
from typing import Any

from attrs import define, field
from twisted.application import service
from twisted.internet.defer import CancelledError, Deferred, DeferredList, DeferredSemaphore, maybeDeferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
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


class PauseDetector(service.Service):
    """Notices that this process did not run for a while: it was stopped, or the whole machine was.

    It looks twice a second, so whoever finds something overdue asks it first whether there was a pause.

    :ivar paused: told of each pause, with its seconds.
    """

    #: Seconds between looks, and how late one must be to be a pause.
    INTERVAL, LATE = 0.5, 2.0

    def __init__(self, clock: IReactorTime) -> None:
        self.paused: Callable[[float], object] = lambda seconds: None
        self._clock = clock
        self._looked = 0.0
        self._timer: IDelayedCall | None = None

    def startService(self) -> None:
        super().startService()
        self._looked = self._clock.seconds()
        self._timer = self._clock.callLater(self.INTERVAL, self._tick)

    def stopService(self) -> None:
        super().stopService()
        if self._timer is not None and self._timer.active():
            self._timer.cancel()

    def look(self) -> None:
        """Tell of a pause, if there was one since the last look."""
        if not self.running:
            return
        now = self._clock.seconds()
        before, self._looked = self._looked, now
        if now - before > self.INTERVAL + self.LATE:
            self.paused(now - before)

    def _tick(self) -> None:
        self._timer = self._clock.callLater(self.INTERVAL, self._tick)
        self.look()


@define(eq=False)
class TaskGroup:
    """Coroutines that run beside everything else, and end when their owner does.

    A task's failure is logged, not raised: nobody waits for it.
    """

    log = Logger()

    _running: set[Deferred[None]] = field(factory=set)

    def run(self, work: Coroutine[Any, Any, None], what: str) -> Deferred[None]:
        """Start ``work``.

        :param what: it in words, for the log.
        :returns: fires with None; cancelling ends the work.
        """
        task: Deferred[None] = Deferred.fromCoroutine(work)

        def ended(result: Failure | None) -> None:
            self._running.discard(task)
            if isinstance(result, Failure) and not result.check(CancelledError):
                self.log.failure("{what} failed", result, what=what)

        self._running.add(task)
        return task.addBoth(ended)

    async def stop(self) -> None:
        """Cancel all of them and wait for their end."""
        tasks = list(self._running)
        for task in tasks:
            task.cancel()
        await DeferredList(tasks)


async def all_of(works: Iterable[Coroutine[Any, Any, None]], limit: int) -> None:
    """Run all of ``works``, ``limit`` at a time, to their ends. :raises: what the first of the failed ones raised."""
    turn = DeferredSemaphore(limit)

    async def one(work: Coroutine[Any, Any, None]) -> None:
        await turn.acquire()
        try:
            await work
        finally:
            turn.release()

    tasks = [Deferred.fromCoroutine(one(work)) for work in works]
    try:
        outcomes = await DeferredList(tasks, consumeErrors=True)
    except CancelledError:
        for task in tasks:
            task.cancel()
        raise
    for fine, outcome in outcomes:
        if not fine:
            assert isinstance(outcome, Failure)
            outcome.raiseException()
