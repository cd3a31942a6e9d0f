"""The benchmark runs: every load once and short, for its correctness. Nothing here is timed."""

from __future__ import annotations

import os
import subprocess
import sys

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from sidecar.test.doubles.programs.daemon import environment
from sidecar.test.doubles.programs.process import checkout, missing, no_checkout, not_installed


class Bench(SynchronousTestCase):
    def run_module(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run a module of the bench to its end."""
        reason = no_checkout() or not_installed()
        if reason is not None:
            raise SkipTest(reason)
        env = environment()
        # The bench comes from the checkout, the package from wherever this test was found.
        env["PYTHONPATH"] = os.pathsep.join(filter(None, [env.get("PYTHONPATH"), str(checkout())]))
        env["PYTHONSAFEPATH"] = "1"
        return subprocess.run([sys.executable, "-m", *words], capture_output=True, text=True, timeout=300, env=env)

    def test_kills(self) -> None:
        """``python -m bench.soak --kills 2`` kills a sidecar twice and says that nothing is lost."""
        done = self.run_module("bench.soak", "--kills", "2")
        self.assertEqual(done.returncode, 0, done.stdout[-3000:] + done.stderr[-3000:])
        self.assertIn("2 kills: ", done.stdout)
        self.assertIn("0 lost or raised", done.stdout)

    def test_quick(self) -> None:
        """``python -m bench --quick`` measures all that is installed here, and no call fails."""
        reason = missing("nginx", "wrk", "nats-server")
        if reason is not None:
            raise SkipTest(reason)
        done = self.run_module("bench", "--quick")
        self.assertEqual(done.returncode, 0, done.stdout[-3000:] + done.stderr[-3000:])
        self.assertIn("calls that failed: 0", done.stdout)
        self.assertIn("ours / its", done.stdout)
