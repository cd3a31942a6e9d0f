"""The border between the reactor and an asyncio loop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

from twisted.internet import reactor as installed
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import deferLater
from twisted.trial.unittest import SynchronousTestCase, TestCase

from sidecar.net.nats.loopthread import SLICE, Handoff, LoopThread

reactor: Any = installed


class HandoffTests(SynchronousTestCase):
    def test_one_wake_up_for_many(self) -> None:
        """However many functions wait, the other side is woken once, and they run in order."""
        woken: list[Callable[[], None]] = []
        ran: list[int] = []
        handoff = Handoff(woken.append)
        for number in range(10):
            handoff.put(ran.append, number)
        self.assertEqual(len(woken), 1)
        woken.pop()()
        self.assertEqual(ran, list(range(10)))
        handoff.put(ran.append, 10)
        self.assertEqual(len(woken), 1)

    def test_slices(self) -> None:
        """A long queue gives the other side its turn between slices."""
        woken: list[Callable[[], None]] = []
        ran: list[int] = []
        handoff = Handoff(woken.append)
        for number in range(SLICE + 1):
            handoff.put(ran.append, number)
        woken.pop()()
        self.assertEqual(len(ran), SLICE)
        woken.pop()()
        self.assertEqual(len(ran), SLICE + 1)
        self.assertEqual(woken, [])

    def test_failure_hurts_nobody_else(self) -> None:
        """A function that raises is logged; the next ones run."""
        woken: list[Callable[[], None]] = []
        ran: list[int] = []
        handoff = Handoff(woken.append)
        handoff.put(lambda: 1 / 0)
        handoff.put(ran.append, 1)
        woken.pop()()
        self.assertEqual(ran, [1])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)


class LoopThreadTests(TestCase):
    def setUp(self) -> None:
        self.thread = LoopThread(reactor, "test loop", cancel_again=0.01)
        self.thread.start()
        self.addCleanup(self.thread.stop)

    async def test_result(self) -> None:
        """A coroutine runs on the other thread and its result comes back on the reactor's."""

        async def work() -> tuple[str, int]:
            await asyncio.sleep(0)
            return threading.current_thread().name, 7

        self.assertEqual(await self.thread.run(work), ("test loop", 7))
        self.assertIs(threading.current_thread(), threading.main_thread())

    async def test_failure(self) -> None:
        """What a coroutine raises comes back as a failure."""

        async def work() -> None:
            raise ValueError("over there")

        await self.assertFailure(self.thread.run(work), ValueError)

    async def test_cancel(self) -> None:
        """Cancelling the Deferred cancels the coroutine."""
        begun: Deferred[None] = Deferred()
        ended: Deferred[str] = Deferred()

        async def work() -> None:
            self.thread.reply(begun.callback, None)
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                self.thread.reply(ended.callback, "cancelled")
                raise

        running = self.thread.run(work)
        await begun
        running.cancel()
        await self.assertFailure(running, asyncio.CancelledError, CancelledError)
        self.assertEqual(await ended, "cancelled")

    async def test_stop_ends_work(self) -> None:
        """Stopping ends what runs there and the thread; stopping twice is no error, and starting again works."""
        asleep = self.thread.run(lambda: asyncio.sleep(60))
        asleep.addErrback(lambda failure: failure.trap(asyncio.CancelledError))
        await deferLater(reactor, 0.01, lambda: None)
        before = {thread.name for thread in threading.enumerate()}
        await self.thread.stop()
        await self.thread.stop()
        self.assertIn("test loop", before)
        self.assertNotIn("test loop", {thread.name for thread in threading.enumerate()})
        await asleep
        await self.assertFailure(self.thread.run(lambda: asyncio.sleep(0)), RuntimeError)
        self.thread.start()
        self.assertIsNone(await self.thread.run(lambda: asyncio.sleep(0)))

    async def test_stop_ends_what_loses_its_cancellation(self) -> None:
        """A task that goes on after its first cancellation, as one in ``wait_for`` may, is cancelled until it ends."""
        begun: Deferred[None] = Deferred()

        async def work() -> None:
            self.thread.reply(begun.callback, None)
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                await asyncio.sleep(60)

        running = self.thread.run(work)
        running.addErrback(lambda failure: failure.trap(asyncio.CancelledError))
        await begun
        await self.thread.stop()
        self.assertTrue(running.called)

    async def test_stop_leaves_no_deferred_behind(self) -> None:
        """What was put out in the very turn of the stop, begun or not, has its result when the stop has."""
        running = [self.thread.run(lambda: asyncio.sleep(60)) for _ in range(SLICE)]
        running += [self.thread.run(lambda: asyncio.sleep(0)) for _ in range(SLICE)]
        for each in running:
            each.addErrback(lambda failure: failure.trap(asyncio.CancelledError))
        await self.thread.stop()
        self.assertEqual([each.called for each in running], [True] * len(running))
