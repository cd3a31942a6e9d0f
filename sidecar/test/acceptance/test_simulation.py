"""Simulations of whole daemons: seeds are clean, a seed is the same each time, and the command says what came of it."""

from __future__ import annotations

import contextlib
import io
import os
import subprocess
import sys

from twisted.trial.unittest import SynchronousTestCase

from sidecar.simulate import __main__ as command
from sidecar.simulate.scenario import make
from sidecar.simulate.world import World, simulate
from sidecar.test.doubles.programs.daemon import environment


class Simulations(SynchronousTestCase):
    def clean(self, seeds: range) -> None:
        """None of the seeds breaks a promise; one that does is named, with the command that shows it."""
        for seed in seeds:
            broken = simulate(seed, make(seed))
            self.assertEqual(broken, [], f"python -m sidecar.simulate --seed {seed} --runs 1")

    def test_first(self) -> None:
        self.clean(range(1, 101))

    def test_second(self) -> None:
        self.clean(range(101, 201))

    def test_third(self) -> None:
        self.clean(range(201, 301))

    def test_same_again(self) -> None:
        """One seed is one course of events."""
        seen = []
        for _ in range(2):
            world = World(7)
            world.run(make(7))
            calls = world.record.calls.values()
            seen.append([(call.status, call.ran, call.answered) for call in calls])
        self.assertEqual(seen[0], seen[1])
        self.assertIn(200, [status for status, _, _ in seen[0]])

    def test_command(self) -> None:
        """It says how many seeds were clean, and ends with 0."""
        words = [sys.executable, "-m", "sidecar.simulate", "--seed", "3", "--runs", "2", "--actions", "20"]
        done = subprocess.run(words, capture_output=True, text=True, timeout=120, env={**os.environ, **environment()})
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("2 seeds from 3: 2 clean, 0 failed", done.stdout)

    def test_failing(self) -> None:
        """A seed that fails is told with what it broke and what is enough for it."""
        said = io.StringIO()
        actions = make(1, 10)
        with contextlib.redirect_stdout(said):
            command.tell(1, actions, ["call 3 ran twice"])
        self.assertIn("seed 1 breaks 1 promises:\n  call 3 ran twice\n", said.getvalue())
        self.assertIn("--seed 1 --runs 1", said.getvalue())
