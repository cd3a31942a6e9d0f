"""Those here who hear topics without acknowledging: everybody on one queue, each queue group on its own."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable
from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred, ensureDeferred, succeed

from sidecar.broker.local import LocalSubscriber, deliver
from sidecar.broker.rabbitmq.consumer import Arrived, QueueConsumer
from sidecar.broker.rabbitmq.topology import QueueShape
from sidecar.model import Caller, Message
from sidecar.net.amqp.link import AmqpSession
from sidecar.wire.broker import rabbitmq

#: Seconds until a message of a group that nobody here wants goes back to its queue, for another consumer of it.
MISFIT_PAUSE = 0.05
#: How often it may come back here before it is taken for what it is in go-micro: any member's.
MISFIT_ROUNDS = 8
#: Misfits that are known by their number of rounds.
MISFITS_KNOWN = 1024


def read(arrived: Arrived) -> Message:
    """The message of what arrived."""
    return rabbitmq.message(arrived.headers, arrived.body, arrived.topic, arrived.content_type)


@define(eq=False)
class PlainSubscribers:
    """All who hear topics in full: one queue of ours that the server names, bound to every topic that somebody wants.

    :ivar _exact: by topic, a tuple that is replaced on each change, so that a delivery may cause changes.
    :ivar _patterns: the same for topics that are patterns.
    """

    _clock: Any
    _exact: dict[str, tuple[LocalSubscriber, ...]] = field(factory=dict, init=False)
    _patterns: dict[str, tuple[LocalSubscriber, ...]] = field(factory=dict, init=False)
    _consumer: QueueConsumer = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._consumer = QueueConsumer(QueueShape(""), self._arrived, False, self._clock)

    async def open(self, session: AmqpSession) -> None:
        """Begin on a new connection."""
        if self._exact or self._patterns:
            await self._consumer.open(session)
        else:
            self._consumer.connected(session)

    def disconnected(self) -> None:
        """There is no connection."""
        self._consumer.connected(None)

    async def subscribe(self, topic: str, deliver: Callable[[str, Message], None], caller: Caller) -> LocalSubscriber:
        """See :meth:`IBroker.subscribe`."""
        subscriber = LocalSubscriber(topic, None, deliver, self._left, caller)
        places = self._patterns if rabbitmq.is_pattern(topic) else self._exact
        known = topic in places
        if not known:
            places[topic] = ()
            try:
                await self._consumer.want([topic], 1)
            except BaseException:
                if not places.get(topic):
                    places.pop(topic, None)
                raise
        # What was published before is on its way, or here: it is not for the newcomer.
        await self._consumer.caught_up()
        if subscriber.live:
            places[topic] = (*places.get(topic, ()), subscriber)
        return subscriber

    def _left(self, subscriber: LocalSubscriber) -> Deferred[None]:
        topic = subscriber.topic
        places = self._patterns if rabbitmq.is_pattern(topic) else self._exact
        rest = tuple(other for other in places.get(topic, ()) if other is not subscriber)
        if rest or topic not in places:
            places[topic] = rest
            return succeed(None)
        del places[topic]
        return ensureDeferred(self._unbind(topic))

    async def _unbind(self, topic: str) -> None:
        if topic not in self._exact and topic not in self._patterns:
            await self._consumer.unbind([topic])

    def _arrived(self, arrived: Arrived) -> None:
        topic = arrived.topic
        message = read(arrived)
        deliver(self._exact.get(topic, ()), topic, message)
        if self._patterns:
            for pattern, subscribers in list(self._patterns.items()):
                if rabbitmq.matches(pattern, topic):
                    deliver(subscribers, topic, message)


@define(eq=False)
class GroupSubscribers:
    """The members here of one queue group, as many consumers of its queue as they are.

    go-micro names the queue after the group alone, so that one group on two topics is one queue bound twice, and
    either consumer gets both. Here each member gets its own topic; what none of them wants goes back for others.

    :ivar _members: by topic, those whose turn comes from the left.
    """

    name: str
    _clock: Any
    _members: dict[str, deque[LocalSubscriber]] = field(factory=dict, init=False)
    _consumer: QueueConsumer = field(init=False)
    _misfits: OrderedDict[tuple[str, str], int] = field(factory=OrderedDict, init=False)

    def __attrs_post_init__(self) -> None:
        self._consumer = QueueConsumer(QueueShape(self.name), self._arrived, True, self._clock)

    def __len__(self) -> int:
        return sum(map(len, self._members.values()))

    async def open(self, session: AmqpSession) -> None:
        """Begin on a new connection."""
        await self._consumer.open(session)

    def connected(self, session: AmqpSession | None) -> None:
        """There is this connection for what comes, or none."""
        self._consumer.connected(session)

    async def subscribe(self, topic: str, deliver: Callable[[str, Message], None], caller: Caller) -> LocalSubscriber:
        """See :meth:`IBroker.subscribe`."""
        subscriber = LocalSubscriber(topic, self.name, deliver, self._left, caller)
        self._members.setdefault(topic, deque()).append(subscriber)
        try:
            await self._consumer.want([topic], len(self))
        except BaseException:
            subscriber.live = False
            self._remove(subscriber)
            raise
        return subscriber

    def close(self) -> None:
        self._consumer.close()

    def _remove(self, subscriber: LocalSubscriber) -> None:
        members = self._members[subscriber.topic]
        members.remove(subscriber)
        if not members:
            del self._members[subscriber.topic]

    def _left(self, subscriber: LocalSubscriber) -> Deferred[None]:
        self._remove(subscriber)
        if not self._members:
            self._consumer.close()
            return succeed(None)
        return ensureDeferred(self._shrink(subscriber.topic))

    async def _shrink(self, topic: str) -> None:
        await self._consumer.want([], len(self))
        # Nobody else could be there for that topic: then its messages should not come here either.
        if topic not in self._members and await self._consumer.only_ours() and topic not in self._members:
            await self._consumer.unbind([topic])

    def _arrived(self, arrived: Arrived) -> None:
        topic = arrived.topic
        members = self._members.get(topic) or self._by_pattern(topic)
        message = read(arrived)
        if members is None:
            if not self._members:
                return  # we are leaving: the server gives it to others
            if self._rounds(message, topic) < MISFIT_ROUNDS:
                self._clock.callLater(MISFIT_PAUSE, arrived.requeue)
                return
            members = next(iter(self._members.values()))
        member = members[0]
        members.rotate(-1)
        arrived.ack()
        deliver((member,), topic, message)

    def _by_pattern(self, topic: str) -> deque[LocalSubscriber] | None:
        for pattern, members in self._members.items():
            if rabbitmq.is_pattern(pattern) and rabbitmq.matches(pattern, topic):
                return members
        return None

    def _rounds(self, message: Message, topic: str) -> int:
        key = (topic, message.header.get("Micro-Id") or str(hash(message.body)))
        rounds = self._misfits.pop(key, 0) + 1
        self._misfits[key] = rounds
        while len(self._misfits) > MISFITS_KNOWN:
            self._misfits.popitem(last=False)
        return rounds
