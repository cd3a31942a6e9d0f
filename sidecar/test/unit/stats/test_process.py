"""The process looks at itself once a second."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from sidecar.stats.process import ProcessSampler
from sidecar.stats.rates import NOTHING


class Sampling(SynchronousTestCase):
    def test_looks(self) -> None:
        """Each second whoever listens is told; each tenth is a bucket of the last hour; a late look is told of."""
        clock = Clock()
        sampler = ProcessSampler(clock, lambda: NOTHING)
        heard: list[float] = []
        end = sampler.listen(lambda: heard.append(clock.seconds()))
        sampler.startService()
        clock.pump([1.0] * 10)
        self.assertEqual(heard, [float(second) for second in range(1, 11)])
        self.assertEqual(len(sampler.history.told()["at"]), 1)
        self.assertEqual(sampler.delay, 0.0)
        clock.advance(3.5)
        self.assertEqual(sampler.delay, 2.5)
        self.assertEqual(sampler.stats(), {"delay": 2.5, "stalls": 1})
        end()
        end()
        clock.advance(1.0)
        self.assertEqual(len(heard), 11)
        self.assertGreater(sampler.memory, 0)
        sampler.stopService()
        self.assertEqual(clock.getDelayedCalls(), [])
