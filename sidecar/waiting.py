"""Ask once for many, tell an answer from before a change, pause ever longer, wake up at a far time, keep two clocks."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable
from random import Random
from typing import Any, Generic, Protocol, TypeVar, runtime_checkable

from attrs import define, field
from twisted.internet.defer import Deferred, DeferredList, FirstError
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.python.failure import Failure
from zope.interface import implementer

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

#: Seconds of the longest timer that is set: epoll takes no more than 24 days.
LONGEST_TIMER = 86400.0


# --- Clocks ---------------------------------------------------------------------------------------------------------


@implementer(IReactorTime)
@define(eq=False)
class Clocks:
    """The two clocks as one value: a monotonic one for every wait, lease, deadline and rate, and the wall clock for
    dates alone.

    :ivar wall: gives seconds since the epoch. It may be set back or forward at any time.
    """

    _timer: IReactorTime
    wall: Callable[[], float] = time.time

    def seconds(self) -> float:
        """Monotonic seconds since some moment."""
        return self._timer.seconds()

    def callLater(self, delay: float, callable: Callable[..., Any], *args: object, **kwargs: object) -> IDelayedCall:
        return self._timer.callLater(delay, callable, *args, **kwargs)

    def getDelayedCalls(self) -> Any:
        return self._timer.getDelayedCalls()


@runtime_checkable
class _HasWall(Protocol):
    def wall(self) -> float: ...


def wall(clock: IReactorTime) -> float:
    """The date, in seconds since the epoch: by ``clock`` where it keeps one (:class:`Clocks`), else by the machine."""
    return clock.wall() if isinstance(clock, _HasWall) else time.time()


# --- Asking once ----------------------------------------------------------------------------------------------------


@define(eq=False)
class _Question(Generic[V]):
    """One that is being asked. :ivar asking: None until it is known. :ivar waiting: who waits, in order."""

    asking: Deferred[V] | None = None
    waiting: list[Deferred[V]] = field(factory=list)


@define(eq=False)
class AskOnce(Generic[K, V]):
    """Joins equal questions: whoever asks while the same is being asked already waits for that answer.

    One who cancels disturbs nobody else. When all have cancelled, the question itself is cancelled.
    """

    _questions: dict[K, _Question[V]] = field(factory=dict)

    def __contains__(self, key: object) -> bool:
        """Whether it is being asked."""
        return key in self._questions

    def ask(self, key: K, question: Callable[[], Deferred[V]]) -> Deferred[V]:
        """Ask, or join those who wait for the answer.

        :param question: called where nobody is asking yet. What it gives must not be used otherwise.
        :returns: fires as the question does; at once where that was answered at once.
        """
        asked = self._questions.get(key)
        if asked is None:
            asked = self._questions[key] = _Question()
            waiting = self._join(key, asked)
            try:
                asked.asking = question()
            except BaseException:
                self._drop(key, asked)
                raise
            asked.asking.addBoth(self._answered, key, asked)
            return waiting
        return self._join(key, asked)

    def fail(self, error: Exception) -> None:
        """Have everybody who waits fail with ``error``, and cancel all questions."""
        for key, asked in list(self._questions.items()):
            self._drop(key, asked)
            waiting, asked.waiting = asked.waiting, []
            if asked.asking is not None:
                asked.asking.cancel()
            for each in waiting:
                each.errback(error)

    def _join(self, key: K, asked: _Question[V]) -> Deferred[V]:
        def leave(gone: Deferred[V]) -> None:
            if gone not in asked.waiting:
                return  # it is being answered right now
            asked.waiting.remove(gone)
            if not asked.waiting and asked.asking is not None:
                # Nobody wants to know any more; who asks from now on asks anew.
                self._drop(key, asked)
                asked.asking.cancel()

        waiting: Deferred[V] = Deferred(leave)
        asked.waiting.append(waiting)
        return waiting

    def _answered(self, outcome: V | Failure, key: K, asked: _Question[V]) -> None:
        self._drop(key, asked)
        waiting, asked.waiting = asked.waiting, []
        for each in waiting:
            if not each.called:  # one before may have cancelled it
                each.callback(outcome)  # where it is a Failure, an errback

    def _drop(self, key: K, asked: _Question[V]) -> None:
        if self._questions.get(key) is asked:
            del self._questions[key]


@define(eq=False)
class Freshness:
    """Counts changes, so that an answer can be told from one that was asked for before the last of them."""

    _changes: int = 0

    def asked(self) -> int:
        """To be noted when a question is asked."""
        return self._changes

    def changed(self) -> None:
        """Something changed: answers to what was asked before may not show it."""
        self._changes += 1

    def holds(self, asked: int) -> bool:
        """Whether nothing changed since the question was asked."""
        return asked == self._changes


# --- Pauses and wake-ups --------------------------------------------------------------------------------------------


@define(eq=False)
class Backoff:
    """Pauses between attempts, each twice as long as the one before, and shortened by chance so that many who wait for
    the same do not come all at once.

    :ivar first: seconds of the first pause. :ivar most: seconds of the longest.
    """

    first: float
    most: float
    _random: Random
    _next: float = field(default=0.0, init=False)

    def pause(self) -> float:
        """:returns: seconds to wait now: half to all of what this pause may be."""
        pause = self._next or self.first
        self._next = min(pause * 2, self.most)
        return pause * self._random.uniform(0.5, 1.0)

    def reset(self) -> None:
        """It went well: begin with the first pause again."""
        self._next = 0.0


@define(eq=False)
class Alarm:
    """Calls ``ring`` at a time that may be years away, with one timer.

    :ivar ring: called without arguments; the alarm is not set then, and may be set anew.
    """

    _clock: IReactorTime
    ring: Callable[[], object]
    _deadline: float | None = field(default=None, init=False)
    _timer: IDelayedCall | None = field(default=None, init=False)

    def set(self, deadline: float | None) -> None:
        """Ring at ``deadline``, in seconds of the clock, and at no other time. None is never."""
        self._deadline = deadline
        if deadline is None:
            self._stop()
            return
        wait = min(max(0.0, deadline - self._clock.seconds()), LONGEST_TIMER)
        if self._timer is not None and self._timer.active():
            self._timer.reset(wait)
        else:
            self._timer = self._clock.callLater(wait, self._came)

    def cancel(self) -> None:
        """Do not ring."""
        self.set(None)

    def _stop(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None and timer.active():
            timer.cancel()

    def _came(self) -> None:
        self._timer = None
        deadline = self._deadline
        if deadline is None:
            return
        if deadline > self._clock.seconds():
            self.set(deadline)  # it is farther away than one timer reaches
            return
        self._deadline = None
        self.ring()


# --- Several at once ------------------------------------------------------------------------------------------------


async def first_of(*works: Deferred[None]) -> None:
    """Wait for the first of ``works`` to end, and cancel the others. What it failed with is raised."""
    try:
        await DeferredList(works, fireOnOneCallback=True, fireOnOneErrback=True, consumeErrors=True)
    except FirstError as error:
        error.subFailure.raiseException()
    finally:
        for work in works:
            work.cancel()
