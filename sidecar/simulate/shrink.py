"""Makes a scenario that breaks a promise as short as it gets while it still does (delta debugging)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def shrink(items: tuple[T, ...], fails: Callable[[tuple[T, ...]], bool], tries: int = 200) -> tuple[T, ...]:
    """:param fails: whether so many of the items are enough. :param tries: how often that is asked at most.

    :returns: the fewest that were found to be enough, in order.
    """
    size = max(1, len(items) // 2)
    while tries > 0:
        at = 0
        shorter = False
        while at < len(items) and tries > 0:
            left = items[:at] + items[at + size :]
            tries -= 1
            if left and fails(left):
                items, shorter = left, True
            else:
                at += size
        if size == 1 and not shorter:
            break
        size = max(1, size // 2) if not shorter or size > 1 else 1
    return items
