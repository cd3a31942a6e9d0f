"""An asyncio event loop on a thread of its own, for a library that wants one, with Deferreds at the border.

Crossing from thread to thread costs a wake-up (a system call and a turn of the other loop). Under load most crossings
find that one is under way already, so functions are handed over in batches: many of them, one wake-up.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from attrs import define, field
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IReactorFromThreads
from twisted.logger import Logger
from twisted.python.failure import Failure

from sidecar.net.nats.eventloop import LookupLoop

T = TypeVar("T")

#: How many handed-over functions run before the loop on that side gets its turn.
SLICE = 256

#: Seconds between two cancellations of a task that goes on in spite of the first, and until the loop ends without it.
#: ``asyncio.wait_for`` of Python before 3.12 loses a cancellation that comes in the turn in which it has its result.
CANCEL_AGAIN, LAST_PATIENCE = 0.5, 5.0

#: Who logs with the standard library on such a thread.
LOGGERS = ("asyncio", "nats")


@define(eq=False)
class Handoff:
    """Functions put on one thread and run, in order, on another.

    :ivar wake: has a function called on the other thread soon; may be called from any thread.
    """

    log = Logger()
    _wake: Callable[[Callable[[], None]], object]
    _waiting: deque[tuple[Callable[..., object], tuple[Any, ...]]] = field(factory=deque, init=False)
    _lock: threading.Lock = field(factory=threading.Lock, init=False)
    _awake: bool = field(default=False, init=False)

    def put(self, function: Callable[..., object], *args: Any) -> None:
        """Have ``function(*args)`` called on the other thread."""
        self._waiting.append((function, args))
        with self._lock:
            if self._awake:
                return
            self._awake = True
        self._wake(self._run)

    def _run(self) -> None:
        for _ in range(SLICE):
            try:
                function, args = self._waiting.popleft()
            except IndexError:
                break
            try:
                function(*args)
            except Exception:
                self.log.failure("{function} failed between threads", function=function)
        with self._lock:
            if not self._waiting:
                self._awake = False
                return
        self._wake(self._run)


class _Forward(logging.Handler):
    """What asyncio and its libraries log with the standard library goes to Twisted's log, from the reactor's thread.

    Without it, their warnings about connections that end would stand bare on standard error.
    """

    log = Logger()

    def __init__(self, name: str, reply: Callable[..., None]) -> None:
        super().__init__()
        self._name = name
        self._reply = reply

    def emit(self, record: logging.LogRecord) -> None:
        self._reply(self._tell, record.levelno, record.getMessage())

    def _tell(self, level: int, message: str) -> None:
        # Whatever they make of a lost connection, its user decides what it means; only errors are news here.
        tell = self.log.warn if level >= logging.ERROR else self.log.debug
        tell("{name}: {message}", name=self._name, message=message)


@define(eq=False)
class LoopThread:
    """One asyncio loop on one daemon thread. All is called on the reactor's thread unless it says otherwise.

    :ivar reactor: where answers come back to.
    :ivar name: the thread's name, seen in ``ps`` and debuggers.
    :ivar cancel_again: seconds until a task that still runs at :meth:`stop` is cancelled once more.
    """

    log = Logger()
    _reactor: IReactorFromThreads
    name: str
    cancel_again: float = CANCEL_AGAIN
    _loop: asyncio.AbstractEventLoop | None = field(default=None, init=False)
    _thread: threading.Thread | None = field(default=None, init=False)
    _ending: asyncio.Task[None] | None = field(default=None, init=False)
    _unfinished: set[Deferred[Any]] = field(factory=set, init=False)
    _forward: _Forward | None = field(default=None, init=False)
    _out: Handoff = field(init=False)
    _home: Handoff = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._out = Handoff(self._wake_loop)
        self._home = Handoff(self._reactor.callFromThread)

    @property
    def running(self) -> bool:
        return self._loop is not None

    def start(self) -> None:
        """Start the thread; work may be given at once."""
        if self._loop is None:
            self._out = Handoff(self._wake_loop)  # a new one: the last loop may have ended with work put out for it
            self._forward = _Forward(self.name, self.reply)
            for logger in LOGGERS:
                logging.getLogger(logger).addHandler(self._forward)
            self._loop = LookupLoop()
            self._loop.set_exception_handler(self._complain)
            self._thread = threading.Thread(target=self._live, args=(self._loop,), name=self.name, daemon=True)
            self._thread.start()

    def stop(self) -> Deferred[None]:
        """Cancel what still runs there, end the loop and the thread.

        :returns: fires when the thread is at its end, and every Deferred of :meth:`run` has its result.
        """
        loop, self._loop = self._loop, None
        if loop is None:
            return succeed(None)
        stopped: Deferred[None] = Deferred()
        loop.call_soon_threadsafe(self._wind_down, loop, stopped)
        return stopped

    def post(self, function: Callable[..., object], *args: Any) -> None:
        """Call ``function(*args)`` on the loop's thread soon; after :meth:`stop` it is dropped."""
        if self._loop is not None:
            self._out.put(function, *args)

    def reply(self, function: Callable[..., object], *args: Any) -> None:
        """Call ``function(*args)`` on the reactor's thread soon. This one is for the loop's thread."""
        self._home.put(function, *args)

    def run(self, work: Callable[[], Coroutine[Any, Any, T]]) -> Deferred[T]:
        """Run a coroutine over there.

        :param work: makes the coroutine; called on the loop's thread.
        :returns: fires with its result or failure; cancelling it cancels the coroutine.
        """
        task: asyncio.Task[T] | None = None
        unwanted = False

        def begin() -> None:
            nonlocal task
            if not unwanted:
                task = asyncio.get_running_loop().create_task(work())
                task.add_done_callback(end)

        def end(task: asyncio.Task[T]) -> None:
            if task.cancelled():
                self.reply(finish, Failure(asyncio.CancelledError()))
            else:
                error = task.exception()
                self.reply(finish, task.result() if error is None else Failure(error))

        def finish(result: T | Failure) -> None:
            self._unfinished.discard(done)
            if not done.called:
                done.callback(result)

        def give_up(_: Deferred[T]) -> None:
            nonlocal unwanted
            unwanted = True
            self.post(lambda: task.cancel() if task is not None else None)

        done: Deferred[T] = Deferred(give_up)
        if self._loop is None:
            done.errback(Failure(RuntimeError(f"{self.name} is not running")))
        else:
            self._unfinished.add(done)
            self.post(begin)
        return done

    # --- on the loop's thread ---------------------------------------------------------------------------------------

    def _live(self, loop: asyncio.AbstractEventLoop) -> None:
        asyncio.set_event_loop(loop)
        try:
            loop.run_forever()
        finally:
            loop.close()

    def _wake_loop(self, run: Callable[[], None]) -> None:
        loop = self._loop
        if loop is not None:
            loop.call_soon_threadsafe(run)

    def _wind_down(self, loop: asyncio.AbstractEventLoop, stopped: Deferred[None]) -> None:
        async def end() -> None:
            late = loop.time() + LAST_PATIENCE
            # Their exceptions are reported by the tasks themselves; here only the end of them counts.
            while (tasks := asyncio.all_tasks(loop) - {self._ending}) and loop.time() < late:
                for task in tasks:
                    task.cancel()
                await asyncio.wait(tasks, timeout=self.cancel_again)
            if tasks:
                self.reply(self._tell_of_the_rest, sorted(task.get_name() for task in tasks))
            await loop.shutdown_asyncgens()
            loop.stop()
            self.reply(self._join, stopped)

        self._ending = loop.create_task(end())

    def _complain(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        message, error = context.get("message"), context.get("exception")
        self.reply(lambda: self.log.warn("{name}: {message}: {error}", name=self.name, message=message, error=error))

    # --- back on the reactor's thread -------------------------------------------------------------------------------

    def _join(self, stopped: Deferred[None]) -> None:
        if self._thread is not None:
            self._thread.join()  # it has nothing left to do but to close its loop: microseconds
            self._thread = None
        if self._forward is not None:
            for logger in LOGGERS:
                logging.getLogger(logger).removeHandler(self._forward)
            self._forward = None
        # Whatever ended in the loop's last turn, or was never begun, had no turn left to say so.
        unfinished, self._unfinished = self._unfinished, set()
        for done in unfinished:
            if not done.called:
                done.errback(Failure(asyncio.CancelledError()))
        stopped.callback(None)

    def _tell_of_the_rest(self, names: list[str]) -> None:
        self.log.warn("{name}: {tasks} did not end when cancelled", name=self.name, tasks=", ".join(names))
