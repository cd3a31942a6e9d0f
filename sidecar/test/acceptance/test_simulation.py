"""Simulations of whole daemons: seeds are clean, a seed is the same each time, and the command says what came of it.

They run in processes of their own: Autobahn keeps the clock of a process in one place for all.
"""

from __future__ import annotations

import os
import subprocess
import sys

from twisted.trial.unittest import SynchronousTestCase

from sidecar.test.doubles.programs.daemon import environment

#: Runs a seed twice, and prints what became of its calls.
_TWICE = """
from sidecar.simulate.scenario import make
from sidecar.simulate.world import World
for _ in range(2):
    world = World(7)
    world.run(make(7))
    print([(call.status, call.ran, call.answered) for call in world.record.calls.values()])
"""
#: Tells of a seed as of one that fails.
_FAILED = """
from sidecar.simulate.__main__ import tell
from sidecar.simulate.scenario import make
tell(1, make(1, 10), ["call 3 ran twice"])
"""


def python(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *words], capture_output=True, text=True, timeout=900, env={**os.environ, **environment()}
    )


class Simulations(SynchronousTestCase):
    def clean(self, first: int, count: int) -> None:
        """None of the seeds breaks a promise; one that does is named, with the command that shows it."""
        done = python("-m", "sidecar.simulate", f"--seed={first}", f"--runs={count}")
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertIn(f"{count} seeds from {first}: {count} clean, 0 failed", done.stdout)

    def test_first(self) -> None:
        self.clean(1, 100)

    def test_second(self) -> None:
        self.clean(101, 100)

    def test_third(self) -> None:
        self.clean(201, 100)

    def test_same_again(self) -> None:
        """One seed is one course of events."""
        done = python("-c", _TWICE)
        first, second = done.stdout.splitlines()
        self.assertEqual(first, second)
        self.assertIn("(200, 1, ", first)

    def test_usage(self) -> None:
        """What makes no sense is refused in words."""
        done = python("-m", "sidecar.simulate", "--runs=0")
        self.assertEqual(done.returncode, 2)
        self.assertIn("--runs and --actions are 1 at least", done.stderr)

    def test_failing(self) -> None:
        """A seed that fails is told with what it broke and what is enough for it."""
        told = python("-c", _FAILED).stdout
        self.assertIn("seed 1 breaks 1 promises:\n  call 3 ran twice\n", told)
        self.assertIn("--seed 1 --runs 1", told)
