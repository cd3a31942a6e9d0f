"""Each fuzz target takes its known inputs and what chance makes of them, the same each time; and the command works."""

from __future__ import annotations

import os
import subprocess
import sys

from twisted.trial.unittest import SynchronousTestCase

from sidecar.test.doubles.programs.daemon import environment
from sidecar.test.fuzz.__main__ import TARGETS
from sidecar.test.fuzz.mutate import mutated

#: Inputs for each; those that are whole connections take longer.
COUNT, FEW = 2000, 150


class Fuzzing(SynchronousTestCase):
    def test_command(self) -> None:
        """It tries what it is told, says how many inputs there were, and ends with 0."""
        words = [sys.executable, "-m", "sidecar.test.fuzz", "duration", "size", "--seconds", "0.1"]
        done = subprocess.run(words, capture_output=True, text=True, timeout=300, env={**os.environ, **environment()})
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertIn("2 targets; findings: none", done.stdout)

    def test_unknown(self) -> None:
        """A target that there is not is refused, with those that there are."""
        words = [sys.executable, "-m", "sidecar.test.fuzz", "durations"]
        done = subprocess.run(words, capture_output=True, text=True, timeout=300, env={**os.environ, **environment()})
        self.assertEqual(done.returncode, 2)
        self.assertIn("there are call-json", done.stderr)

    def test_repeatable(self) -> None:
        """The same seed makes the same inputs."""
        self.assertEqual(list(mutated((b"abc", b"{}"), 7, 50)), list(mutated((b"abc", b"{}"), 7, 50)))
        self.assertNotEqual(list(mutated((b"abc",), 7, 50)), list(mutated((b"abc",), 8, 50)))


def _tests() -> None:
    for name, target in TARGETS.items():

        def test(self: Fuzzing, name: str = name) -> None:
            target = TARGETS[name]
            for data in mutated(target.seeds, 1, FEW if name in ("http2", "http-channel") else COUNT):
                try:
                    target.run(data)
                except Exception as error:  # noqa: PERF203  # the input has to be told
                    raise self.failureException(f"{name}: {data!r} leads to {type(error).__name__}: {error}") from error

        test.__doc__ = target.run.__doc__ or f"{name}: whatever comes is read or refused in words."
        setattr(Fuzzing, f"test_{name.replace('-', '_')}", test)


_tests()
