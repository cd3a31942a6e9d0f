"""What waits for a subscriber that does not take its messages: a queue of frames with two limits. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Final, Literal

from attrs import define, field, frozen

#: Bytes that one frame takes besides its own: its object, and its place in the queue.
OVERHEAD: Final = 56


@frozen
class OutboxLimits:
    """How much may wait for one subscriber, and what happens beyond.

    :ivar size: bytes. :ivar messages: how many.
    :ivar slow: ``drop`` the oldest messages and count them, or have the subscriber ``close``d.
    """

    size: int = 8 * 1024 * 1024
    messages: int = 65_536
    slow: Literal["drop", "close"] = "drop"


@define(eq=False)
class Outbox:
    """Frames in the order in which they will go out.

    :ivar size: bytes that wait. :ivar kept: what they take of our memory, about.
    :ivar dropped: messages that were given up, since the beginning.
    """

    limits: OutboxLimits
    size: int = 0
    dropped: int = 0
    _frames: deque[bytes] = field(factory=deque)

    @property
    def kept(self) -> int:
        return self.size + OVERHEAD * len(self._frames)

    def __len__(self) -> int:
        return len(self._frames)

    def put(self, frames: Sequence[bytes], size: int | None = None) -> bool:
        """Append ``frames``; beyond a limit the oldest go.

        :param size: bytes of them together, for whoever knows.
        :returns: False where something went that should not: the subscriber is to be closed.
        """
        waiting, limits = self._frames, self.limits
        before = self.dropped
        waiting.extend(frames)
        self.size += sum(map(len, frames)) if size is None else size
        while self.size > limits.size or len(waiting) > limits.messages:
            self.size -= len(waiting.popleft())
            self.dropped += 1
        return self.dropped == before or limits.slow == "drop"

    def take(self, most: int) -> bytes:
        """Take the oldest frames, joined: as many as fit into ``most`` bytes, and at least one while there is one."""
        waiting = self._frames
        taken: list[bytes] = []
        total = 0
        while waiting and (not taken or total + len(waiting[0]) <= most):
            frame = waiting.popleft()
            taken.append(frame)
            total += len(frame)
        self.size -= total
        return taken[0] if len(taken) == 1 else b"".join(taken)

    def drop(self) -> None:
        """Give up what waits, and count it."""
        self.dropped += len(self._frames)
        self.clear()

    def clear(self) -> None:
        """Forget what waits. It does not count as dropped."""
        self._frames.clear()
        self.size = 0
