"""The budget of what is kept for peers: who is counted, who has to go, and how much there may be by default."""

from __future__ import annotations

from pathlib import Path

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from sidecar.net.memory import LEAST, MOST, MemoryBudget, copies, usual_limit

MIB = 1024 * 1024


class Buffer:
    """Keeps bytes, and notes when it has to give them up."""

    def __init__(self) -> None:
        self.gone = 0

    def shed(self) -> None:
        self.gone += 1


class Budget(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.budget = MemoryBudget(1000, self.clock.seconds)

    def test_edge(self) -> None:
        """What fits to the byte is kept; one byte more, and the largest goes, which makes room for a tenth more."""
        small, large, more = Buffer(), Buffer(), Buffer()
        self.assertTrue(self.budget.changed(small, 300, "frames"))
        self.assertTrue(self.budget.changed(large, 700, "answers"))
        self.assertEqual((self.budget.total, small.gone, large.gone), (1000, 0, 0))
        self.assertTrue(self.budget.changed(more, 1, "requests"))
        self.assertEqual((self.budget.total, small.gone, large.gone, more.gone), (301, 0, 1, 0))
        self.assertEqual(self.budget.stats(), {"limit": 1000, "buffered": 301, "shed": {"answers": 1}})

    def test_age(self) -> None:
        """Of equal ones that which waits for longest goes; a small old one before a large new one."""
        old, new = Buffer(), Buffer()
        self.budget.changed(old, 400, "frames")
        self.clock.advance(10)
        self.budget.changed(new, 600, "frames")
        self.budget.changed(new, 601, "frames")
        self.assertEqual((old.gone, new.gone, self.budget.total), (1, 0, 601))

    def test_progress(self) -> None:
        """Who takes what it gets is not old."""
        stuck, taking = Buffer(), Buffer()
        for one in (stuck, taking):
            self.budget.changed(one, 500, "answers")
        self.clock.advance(10)
        self.budget.changed(taking, 450, "answers")
        self.budget.changed(taking, 550, "answers")
        self.assertEqual((stuck.gone, taking.gone), (1, 0))

    def test_itself(self) -> None:
        """Who asks and has to go itself is told by the answer, and only so."""
        one = Buffer()
        self.assertFalse(self.budget.changed(one, 1001, "requests"))
        self.assertEqual((one.gone, self.budget.total, self.budget.shed), (0, 0, {"requests": 1}))

    def test_ends_another(self) -> None:
        """Where giving one up ends another that was to go too, that one is not told to go any more."""
        first, second, third = Buffer(), Buffer(), Buffer()
        shed = first.shed

        def end_both() -> None:
            shed()
            self.budget.changed(second, 0, "requests")

        first.shed = end_both  # type: ignore[method-assign]
        self.budget.changed(first, 500, "replies")
        self.clock.advance(10)
        self.budget.changed(second, 450, "requests")
        self.assertTrue(self.budget.changed(third, 5000, "frames") is False)
        self.assertEqual((first.gone, second.gone, self.budget.total), (1, 0, 0))

    def test_told_afterwards(self) -> None:
        """Somebody may be told after something was given up, to give it back to the machine."""
        told: list[int] = []
        budget = MemoryBudget(1000, self.clock.seconds, lambda: told.append(budget.total))
        budget.changed(Buffer(), 900, "frames")
        self.assertEqual(told, [])
        budget.changed(Buffer(), 200, "frames")
        self.assertEqual(told, [200])

    def test_copies(self) -> None:
        """A request that is being answered counts as what it takes then, but is never alone more than there may be."""
        self.assertEqual([copies(size, 1000) for size in (10, 80, 100, 600, 1000)], [30, 240, 250, 600, 1000])

    def test_let_go(self) -> None:
        """What is not kept any more is not counted; to say so twice is no error."""
        one = Buffer()
        for size in (500, 10, 0, 0):
            self.assertTrue(self.budget.changed(one, size, "messages"))
            self.assertEqual(self.budget.total, size)

    def test_who_looks_for_the_largest(self) -> None:
        """All are looked at once for many that come, not for each of them."""
        looks = 0

        def seconds() -> float:
            nonlocal looks
            looks += 1
            return 0.0

        work = []
        for count in (1000, 2000):
            budget = MemoryBudget(count * 10, seconds)
            for _ in range(count):
                budget.changed(Buffer(), 10, "frames")
            looks = 0
            for _ in range(count):
                budget.changed(Buffer(), 10, "frames")
            work.append((looks - count) * count)  # the clock is asked for each that comes, and for each look at all
        self.assertLessEqual(work[1], 3 * work[0])


class Usual(SynchronousTestCase):
    def machine(self, **files: str) -> str:
        root = self.mktemp()
        for name, text in {"proc/meminfo": "MemTotal: 2097152 kB\n", **files}.items():
            path = Path(root, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return root

    def test_machine(self) -> None:
        """An eighth of the machine's memory, within bounds."""
        self.assertEqual(usual_limit(self.machine()), 256 * MIB)
        self.assertEqual(usual_limit(self.machine(**{"proc/meminfo": "MemTotal: 99999999 kB\n"})), MOST)
        self.assertEqual(usual_limit(self.machine(**{"proc/meminfo": "MemTotal: 1000 kB\n"})), LEAST)
        self.assertEqual(usual_limit(self.mktemp()), MOST)

    def test_cgroup(self) -> None:
        """A limit of the control group counts, of version 2 and 1, of a group above us too."""
        for files in (
            {"proc/self/cgroup": "0::/a/b\n", "sys/fs/cgroup/a/memory.max": f"{1024 * MIB}\n"},
            {
                "proc/self/cgroup": "0::/a\n",
                "sys/fs/cgroup/memory.max": f"{1024 * MIB}",
                "sys/fs/cgroup/a/memory.max": "max",
            },
            {
                "proc/self/cgroup": "3:cpu:/x\n5:memory:/docker/1\n",
                "sys/fs/cgroup/memory/memory.limit_in_bytes": f"{1024 * MIB}\n",
            },
        ):
            self.assertEqual(usual_limit(self.machine(**files)), 128 * MIB)

    def test_no_limit(self) -> None:
        """Version 1 writes "no limit" as a number larger than any machine."""
        files = {
            "proc/self/cgroup": "5:memory:/\n",
            "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
        }
        self.assertEqual(usual_limit(self.machine(**files)), 256 * MIB)
