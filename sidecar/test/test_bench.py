"""The benchmark runs: every load once and short, for its correctness. Nothing here is timed."""

from __future__ import annotations

import os
import subprocess
import sys

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from sidecar.test.doubles.programs.daemon import environment
from sidecar.test.doubles.programs.process import checkout, missing, no_checkout


class Bench(SynchronousTestCase):
    def test_quick(self) -> None:
        """``python -m bench --quick`` measures all that is installed here, and no call fails."""
        reason = no_checkout() or missing("nginx", "wrk", "nats-server")
        if reason is not None:
            raise SkipTest(reason)
        env = environment()
        # The bench comes from the checkout, the package from wherever this test was found.
        env["PYTHONPATH"] = os.pathsep.join(filter(None, [env.get("PYTHONPATH"), str(checkout())]))
        env["PYTHONSAFEPATH"] = "1"
        done = subprocess.run(
            [sys.executable, "-m", "bench", "--quick"], capture_output=True, text=True, timeout=300, env=env
        )
        self.assertEqual(done.returncode, 0, done.stdout[-3000:] + done.stderr[-3000:])
        self.assertIn("calls that failed: 0", done.stdout)
        self.assertIn("ours / its", done.stdout)
