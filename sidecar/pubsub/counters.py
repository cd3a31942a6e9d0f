"""What passed, counted: in all, and by topic. Pure."""

from __future__ import annotations

from typing import Final

from attrs import define, field

#: Topics that have numbers of their own; the others are counted together.
MAX_TOPICS: Final = 1000
OTHER: Final = "other"


@define(eq=False)
class TopicTraffic:
    """What passed on one topic. :ivar published: messages that callers here published.
    :ivar delivered: messages times subscribers here. :ivar dropped: those that slow subscribers lost."""

    published: int = 0
    delivered: int = 0
    dropped: int = 0


@define(eq=False)
class PubSubCounters:
    """Since the start.

    :ivar published: messages from WebSocket clients that the broker took. :ivar failed: those that it did not.
    :ivar delivered: messages times subscribers, counted when they were sent off.
    :ivar dropped: those of them that slow subscribers lost. :ivar closed: subscribers that were closed as too slow.
    :ivar topics: by topic.
    """

    published: int = 0
    failed: int = 0
    delivered: int = 0
    dropped: int = 0
    closed: int = 0
    topics: dict[str, TopicTraffic] = field(factory=dict)

    def topic(self, name: str) -> TopicTraffic:
        """:returns: the numbers of a topic; beyond ``MAX_TOPICS``, those of all others together."""
        found = self.topics.get(name)
        if found is None:
            if len(self.topics) >= MAX_TOPICS:
                name = OTHER
            found = self.topics.setdefault(name, TopicTraffic())
        return found
