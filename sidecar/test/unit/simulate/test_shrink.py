"""A failing scenario is made as short as it gets."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sidecar.simulate.shrink import shrink


class Shrinking(SynchronousTestCase):
    def test_to_what_is_needed(self) -> None:
        """Of a hundred items the three that matter are left, in order."""
        left = shrink(tuple(range(100)), lambda some: {3, 50, 97} <= set(some), 1000)
        self.assertEqual(left, (3, 50, 97))

    def test_bounded(self) -> None:
        """It asks no more often than it may."""
        asked: list[tuple[int, ...]] = []

        def fails(some: tuple[int, ...]) -> bool:
            asked.append(some)
            return False

        shrink(tuple(range(1000)), fails, 5)
        self.assertEqual(len(asked), 5)

    def test_nothing_to_leave_out(self) -> None:
        """Where everything is needed everything is left."""
        items = (1, 2, 3)
        self.assertEqual(shrink(items, lambda some: some == items), items)
