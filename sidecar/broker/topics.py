"""Who gets a message: topics, their subscribers, and the queue groups that share one. Pure."""

from __future__ import annotations

from collections import deque
from typing import Generic, TypeVar

from attrs import define, field

M = TypeVar("M")


@define(eq=False)
class _Topic(Generic[M]):
    """The subscribers of one topic.

    :ivar everyone: a tuple, replaced on each change, so that a delivery may cause changes while it runs.
    :ivar queues: by name, the members whose turn comes from the left.
    """

    everyone: tuple[M, ...] = ()
    queues: dict[str, deque[M]] = field(factory=dict)


@define(eq=False)
class Topics(Generic[M]):
    """Every topic that has a subscriber, and nothing of those that have none."""

    _topics: dict[str, _Topic[M]] = field(factory=dict)

    def __len__(self) -> int:
        return len(self._topics)

    def __contains__(self, topic: str) -> bool:
        return topic in self._topics

    def add(self, topic: str, queue: str | None, member: M) -> None:
        """Let ``member`` hear ``topic``: all of it, or, with ``queue``, its share."""
        entry = self._topics.get(topic)
        if entry is None:
            entry = self._topics[topic] = _Topic()
        if queue is None:
            entry.everyone = (*entry.everyone, member)
            return
        entry.queues.setdefault(queue, deque()).append(member)

    def remove(self, topic: str, queue: str | None, member: M) -> None:
        """Undo :meth:`add`; one that is not there is no error."""
        entry = self._topics.get(topic)
        if entry is None:
            return
        if queue is None:
            entry.everyone = tuple(other for other in entry.everyone if other is not member)
        elif queue in entry.queues:
            members = entry.queues[queue]
            if member in members:
                members.remove(member)
            if not members:
                del entry.queues[queue]
        if not entry.everyone and not entry.queues:
            del self._topics[topic]

    def recipients(self, topic: str) -> tuple[M, ...]:
        """:returns: who gets the next message of ``topic``: each plain subscriber, and one member of each queue."""
        entry = self._topics.get(topic)
        if entry is None:
            return ()
        if not entry.queues:
            return entry.everyone
        chosen = []
        for members in entry.queues.values():
            chosen.append(members[0])
            members.rotate(-1)
        return (*entry.everyone, *chosen)
