"""The bounded outbox, and the batches that go into it."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sidecar.pubsub.batches import batched
from sidecar.pubsub.outbox import OVERHEAD, Outbox, OutboxLimits

FRAMES = st.lists(st.binary(min_size=1, max_size=30), max_size=40)


class Waiting(SynchronousTestCase):
    def test_order(self) -> None:
        """What was put first is taken first."""
        outbox = Outbox(OutboxLimits())
        self.assertTrue(outbox.put([b"1", b"2"]))
        self.assertTrue(outbox.put([b"3"]))
        self.assertEqual((len(outbox), outbox.size), (3, 3))
        self.assertEqual(outbox.take(2), b"12")
        self.assertEqual(outbox.take(2), b"3")
        self.assertEqual((len(outbox), outbox.size, outbox.take(1)), (0, 0, b""))

    def test_one_at_least(self) -> None:
        """A frame larger than what is asked for is taken all the same, alone."""
        outbox = Outbox(OutboxLimits())
        outbox.put([b"x" * 10, b"y"])
        self.assertEqual(outbox.take(5), b"x" * 10)

    def test_drops_the_oldest(self) -> None:
        """Beyond either bound the oldest go, counted."""
        for bounds in (OutboxLimits(size=3), OutboxLimits(messages=3)):
            outbox = Outbox(bounds)
            self.assertTrue(outbox.put([b"1", b"2", b"3", b"4", b"5"]))
            self.assertEqual((outbox.dropped, outbox.take(100)), (2, b"345"))

    def test_too_large_alone(self) -> None:
        """A frame that is over the bound by itself is dropped, and nothing else with it that need not be."""
        outbox = Outbox(OutboxLimits(size=3))
        outbox.put([b"xxxx"])
        self.assertEqual((outbox.dropped, outbox.size, len(outbox)), (1, 0, 0))

    def test_says_to_close(self) -> None:
        """Where slow subscribers are to be closed, an overflow says so."""
        outbox = Outbox(OutboxLimits(messages=2, slow="close"))
        self.assertTrue(outbox.put([b"1", b"2"]))
        self.assertFalse(outbox.put([b"3"]))

    @settings(deadline=None)
    @given(FRAMES, st.integers(1, 100), st.integers(1, 20), st.integers(1, 50))
    def test_exact(self, frames: list[bytes], size: int, messages: int, most: int) -> None:
        """The accounts agree: what came out is the end of what went in, and the rest was counted as dropped."""
        outbox = Outbox(OutboxLimits(size, messages))
        for frame in frames:
            outbox.put([frame])
            self.assertLessEqual(outbox.size, size)
            self.assertLessEqual(len(outbox), messages)
        kept = frames[outbox.dropped :]
        self.assertEqual(outbox.size, sum(map(len, kept)))
        taken = []
        while len(outbox):
            taken.append(outbox.take(most))
        self.assertEqual(b"".join(taken), b"".join(kept))
        self.assertEqual(outbox.size, 0)


class Batches(SynchronousTestCase):
    @settings(deadline=None)
    @given(FRAMES, st.integers(1, 60))
    def test_nothing_lost(self, frames: list[bytes], most: int) -> None:
        """Batches hold all frames in order, joined, none larger than it must be."""
        batches = batched(frames, most)
        self.assertEqual([frame for batch in batches for frame in batch.frames], frames)
        for batch in batches:
            self.assertEqual(batch.joined, b"".join(batch.frames))
            self.assertTrue(len(batch.joined) <= most or len(batch.frames) == 1)


class InTheBudget(SynchronousTestCase):
    def test_overhead(self) -> None:
        """What small messages take of memory is counted with what each takes besides its bytes."""
        outbox = Outbox(OutboxLimits())
        outbox.put([b"1234"] * 1000)
        self.assertEqual((outbox.size, outbox.kept), (4000, 4000 + 1000 * OVERHEAD))
        outbox.drop()
        self.assertEqual((outbox.kept, outbox.dropped), (0, 1000))
