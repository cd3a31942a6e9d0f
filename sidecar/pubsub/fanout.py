"""The subscribers here of a topic, and of a queue group. The messages of one reactor turn are sent in one write."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from attrs import define, field

from sidecar.model import Message
from sidecar.pubsub.batches import batched
from sidecar.pubsub.counters import TopicTraffic
from sidecar.pubsub.subscriber import Subscriber

#: Bytes after which a turn's messages are sent without waiting for its end: a burst is not held twice.
ENOUGH = 1024 * 1024


@define(eq=False)
class TopicFanout:
    """The subscribers of one topic that share nothing. A message is framed once for all who want the same format.

    :ivar _schedule: called when the first message of a turn came, to have :meth:`flush` called in the next turn.
    :ivar traffic: the numbers of the topic.
    """

    _schedule: Callable[[TopicFanout], None]
    traffic: TopicTraffic = field(factory=TopicTraffic)
    _members: dict[Subscriber, None] = field(factory=dict)
    _waiting: list[Message] = field(factory=list)
    _waiting_bytes: int = 0
    _sent: int = 0
    # The members by format, made anew after each change, so that sending may cause members to leave.
    _sorted: list[tuple[Callable[[Message], bytes], tuple[Subscriber, ...]]] | None = None

    def __len__(self) -> int:
        return len(self._members)

    def __iter__(self) -> Iterator[Subscriber]:
        return iter(self._members)

    def add(self, subscriber: Subscriber) -> None:
        self._members[subscriber] = None
        self._sorted = None

    def remove(self, subscriber: Subscriber) -> None:
        del self._members[subscriber]
        self._sorted = None

    def deliver(self, _: str, message: Message) -> None:
        """Called by the broker."""
        if not self._waiting:
            self._schedule(self)
        self._waiting.append(message)
        self._waiting_bytes += len(message.body)
        if self._waiting_bytes >= ENOUGH:
            self._send()

    def flush(self) -> int:
        """Send what came. :returns: messages times subscribers, since the last time."""
        self._send()
        sent, self._sent = self._sent, 0
        return sent

    def _send(self) -> None:
        messages, self._waiting, self._waiting_bytes = self._waiting, [], 0
        for make_frame, subscribers in self._by_format():
            batches = batched(map(make_frame, messages))
            for subscriber in subscribers:
                subscriber.send(batches)
        self._sent += len(messages) * len(self._members)

    def _by_format(self) -> Iterable[tuple[Callable[[Message], bytes], tuple[Subscriber, ...]]]:
        if self._sorted is None:
            formats: dict[Callable[[Message], bytes], list[Subscriber]] = {}
            for subscriber in self._members:
                formats.setdefault(subscriber.asked.make_frame, []).append(subscriber)
            self._sorted = [(make_frame, tuple(subscribers)) for make_frame, subscribers in formats.items()]
        return self._sorted


@define(eq=False)
class QueueGroup:
    """The members here of one queue of one topic.

    Each has a subscription of its own at the broker, so that this process gets the share that is due to its number.
    Which of them a message goes to is decided here, where it is known who keeps up.

    :ivar _schedule: as for :class:`TopicFanout`. :ivar traffic: the numbers of the topic.
    """

    _schedule: Callable[[QueueGroup], None]
    traffic: TopicTraffic = field(factory=TopicTraffic)
    _members: list[Subscriber] = field(factory=list)
    _turn: int = 0
    _waiting: dict[Subscriber, list[Message]] = field(factory=dict)
    _waiting_bytes: int = 0
    _sent: int = 0

    def __len__(self) -> int:
        return len(self._members)

    def __iter__(self) -> Iterator[Subscriber]:
        return iter(self._members)

    def add(self, subscriber: Subscriber) -> None:
        self._members.append(subscriber)

    def remove(self, subscriber: Subscriber) -> None:
        place = self._members.index(subscriber)
        del self._members[place]
        if place < self._turn:
            self._turn -= 1
        for message in self._waiting.pop(subscriber, ()):
            self.deliver("", message)  # what it was to get this turn goes to the others

    def deliver(self, _: str, message: Message) -> None:
        """Called by the broker, through whichever member's subscription."""
        chosen = self._next()
        if chosen is None:
            return
        if not self._waiting:
            self._schedule(self)
        self._waiting.setdefault(chosen, []).append(message)
        self._waiting_bytes += len(message.body)
        if self._waiting_bytes >= ENOUGH:
            self._send()

    def _next(self) -> Subscriber | None:
        """Whose turn it is among those that keep up, or among all when none does."""
        members = self._members
        count = len(members)
        if not count:
            return None
        place = self._turn % count
        for step in range(count):
            other = (self._turn + step) % count
            if members[other].keeps_up:
                place = other
                break
        self._turn = (place + 1) % count
        return members[place]

    def flush(self) -> int:
        """Send each member its share. :returns: how many messages, since the last time."""
        self._send()
        sent, self._sent = self._sent, 0
        return sent

    def _send(self) -> None:
        waiting, self._waiting, self._waiting_bytes = self._waiting, {}, 0
        for subscriber, messages in waiting.items():
            subscriber.send(batched(map(subscriber.asked.make_frame, messages)))
            self._sent += len(messages)
