"""Coroutines that run beside everything else, and end when their owner does."""

from __future__ import annotations

from collections.abc import Coroutine, Iterable
from typing import Any

from attrs import define, field
from twisted.internet.defer import CancelledError, Deferred, DeferredList, DeferredSemaphore
from twisted.logger import Logger
from twisted.python.failure import Failure


@define(eq=False)
class TaskGroup:
    """What runs. A task's failure is logged, not raised: nobody waits for it."""

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
