"""What a SIGHUP means."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from sidecar.daemon.signals import Signals


class Reactor(Clock):
    """A clock that can be told to stop."""

    stopped = 0

    def stop(self) -> None:
        self.stopped += 1


class HangupTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.reactor = Reactor()
        self.reloads = 0
        self.terminal = False

    def signals(self) -> Signals:
        signals = Signals(self.reactor, self.reload, lambda: self.terminal)
        signals.look_for_terminal()
        return signals

    def reload(self) -> None:
        self.reloads += 1

    def test_without_a_terminal(self) -> None:
        """It reloads, each time, and never ends."""
        signals = self.signals()
        for _ in range(3):
            signals.hung_up()
        self.reactor.advance(10)
        self.assertEqual((self.reloads, self.reactor.stopped), (3, 0))

    def test_in_an_open_terminal(self) -> None:
        """Somebody sent the signal: it reloads."""
        self.terminal = True
        self.signals().hung_up()
        self.reactor.advance(10)
        self.assertEqual((self.reloads, self.reactor.stopped), (1, 0))

    def test_the_terminal_closed(self) -> None:
        """It ends, once."""
        self.terminal = True
        signals = self.signals()
        self.terminal = False
        signals.hung_up()
        signals.hung_up()
        self.assertEqual((self.reloads, self.reactor.stopped), (0, 1))

    def test_the_terminal_closes_after_the_signal(self) -> None:
        """A shell that leaves tells its jobs first, and its terminal goes then: that ends it too."""
        self.terminal = True
        self.signals().hung_up()
        self.terminal = False
        self.reactor.advance(1)
        self.assertEqual(self.reactor.stopped, 1)
