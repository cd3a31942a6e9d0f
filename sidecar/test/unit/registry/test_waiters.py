"""Who waits is woken once, by what they wait for, and leaves nothing behind."""

from __future__ import annotations

from twisted.internet.defer import CancelledError, Deferred
from twisted.trial.unittest import SynchronousTestCase

from sidecar.registry.waiters import Waiters


class Waking(SynchronousTestCase):
    def setUp(self) -> None:
        self.waiters = Waiters()

    def test_by_name(self) -> None:
        """By its own service, and no other; who waits for any, by any."""
        foo, bar, anything = (self.waiters.wait(name) for name in ("foo", "bar", None))
        self.waiters.wake("foo")
        self.successResultOf(foo)
        self.successResultOf(anything)
        self.assertNoResult(bar)
        self.assertEqual(len(self.waiters), 1)

    def test_again(self) -> None:
        """Who waits again when woken is not woken again by the same."""
        woken: list[int] = []

        def again(_: object) -> None:
            woken.append(len(woken))
            self.waiters.wait("foo").addCallback(again)

        again(None)
        self.waiters.wake("foo")
        self.waiters.wake("foo")
        self.assertEqual(woken, [0, 1, 2])

    def test_giving_up(self) -> None:
        """Who gives up leaves nothing behind, nor does one whom another has give up while both are woken."""
        for name in ("foo", None):
            waiting = self.waiters.wait(name)
            waiting.cancel()
            self.failureResultOf(waiting, CancelledError)
        second: Deferred[None]
        self.waiters.wait("foo").addCallback(lambda _: second.cancel())
        second = self.waiters.wait("foo")
        self.waiters.wake("foo")
        self.failureResultOf(second, CancelledError)
        self.assertEqual(len(self.waiters), 0)
