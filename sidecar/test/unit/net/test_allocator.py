"""What the C library is told of keeping freed memory."""

from __future__ import annotations

import platform

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from sidecar.net.allocator import LONGEST_WAIT, PAUSE, SETTINGS, WORTH_IT, Trim, TrimAfterwards, tune

NAMES = [name for name, _, _ in SETTINGS]


class Tuned(SynchronousTestCase):
    skip = None if platform.libc_ver()[0] == "glibc" else "the C library is not glibc"

    def test_taken(self) -> None:
        """glibc takes all of it."""
        self.assertEqual(tune({}), len(SETTINGS))

    def test_environment(self) -> None:
        """What the environment says stays."""
        self.assertEqual(tune({NAMES[0]: "1"}), len(SETTINGS) - 1)
        self.assertEqual(tune(dict.fromkeys(NAMES, "1")), 0)


class Afterwards(SynchronousTestCase):
    def test_soon(self) -> None:
        """The heap is trimmed soon after something was given up, once for all of a moment."""
        clock, times = Clock(), list[float]()
        trim = TrimAfterwards(clock, lambda: times.append(clock.seconds()))
        for _ in range(100):
            trim()
        self.assertEqual(times, [])
        clock.pump([0.01] * 300)
        self.assertEqual(len(times), 1)
        for _ in range(300):
            trim()
            clock.advance(0.01)
        self.assertLessEqual(len(times), 3 / PAUSE + 2)


class Trimmed(SynchronousTestCase):
    def setUp(self) -> None:
        self.resident = self.used = 50_000_000
        self.trims = 0
        self.trim = Trim(lambda: self.resident, self.give_back)

    def give_back(self) -> None:
        self.trims += 1
        self.resident = self.used

    def test_little(self) -> None:
        """Nothing is done about little."""
        self.resident += WORTH_IT - 1
        for _ in range(100):
            self.trim.look()
        self.assertEqual(self.trims, 0)

    def test_in_use(self) -> None:
        """Where nothing is given back it is tried ever less often, and what becomes free is found all the same."""
        self.resident = self.used = 400_000_000
        for _ in range(100):
            self.trim.look()
        self.assertLess(self.trims, 25)
        self.used = 60_000_000
        for _ in range(LONGEST_WAIT + 1):
            self.trim.look()
        self.assertEqual(self.resident, 60_000_000)
