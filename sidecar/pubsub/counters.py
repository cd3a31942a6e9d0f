"""What passed, counted. Pure."""

from __future__ import annotations

from attrs import define


@define(eq=False)
class PubSubCounters:
    """Since the start.

    :ivar published: messages from WebSocket clients that the broker took. :ivar failed: those that it did not.
    :ivar delivered: messages times subscribers, counted when they were sent off.
    :ivar dropped: those of them that slow subscribers lost. :ivar closed: subscribers that were closed as too slow.
    """

    published: int = 0
    failed: int = 0
    delivered: int = 0
    dropped: int = 0
    closed: int = 0
