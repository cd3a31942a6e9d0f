"""Between the broker and the subscribers here: who gets what, and one write a reactor turn."""

from __future__ import annotations

from collections.abc import Iterator

from attrs import define, field
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from sidecar.interfaces import IBroker, ISubscription
from sidecar.model import Caller
from sidecar.pubsub.counters import PubSubCounters
from sidecar.pubsub.fanout import QueueGroup, TopicFanout
from sidecar.pubsub.subscriber import Subscriber

_log = Logger()


@define(eq=False)
class Topic:
    """One topic whose messages somebody here gets in full, behind one subscription at the broker however many they are.

    :ivar caller: for whom the broker was asked first.
    :ivar subscribers: how many there are, those included that still wait for the broker's answer.
    """

    name: str
    fanout: TopicFanout
    caller: Caller
    subscribers: int = 0
    _asked: Deferred[None] | None = None
    _answer: ISubscription | Failure | None = None
    _waiting: list[Deferred[None]] = field(factory=list)

    def open(self, broker: IBroker) -> None:
        """Ask the broker for the subscription."""
        self._asked = broker.subscribe(self.name, self.fanout.deliver, None, self.caller).addBoth(self._answered)

    def subscribed(self) -> Deferred[None]:
        """:returns: fires when the broker subscribed us. Each caller has one of its own to cancel."""
        if isinstance(self._answer, Failure):
            return fail(self._answer)
        if self._answer is not None:
            return succeed(None)
        one: Deferred[None] = Deferred()
        self._waiting.append(one)
        return one

    def close(self) -> None:
        """Cancel the subscription, or no longer ask for it."""
        if self._answer is None and self._asked is not None:
            self._asked.cancel()
        elif not isinstance(self._answer, Failure) and self._answer is not None:
            _cancel(self._answer, self.name)

    def _answered(self, answer: ISubscription | Failure) -> None:
        self._answer = answer
        waiting, self._waiting = self._waiting, []
        for one in waiting:
            if one.called:
                continue  # cancelled meanwhile
            if isinstance(answer, Failure):
                one.errback(answer)
            else:
                one.callback(None)


@define(eq=False)
class Hub:
    """Brings subscribers and broker together."""

    _broker: IBroker
    _clock: IReactorTime
    _counters: PubSubCounters
    _topics: dict[str, Topic] = field(factory=dict)
    _groups: dict[tuple[str, str], QueueGroup] = field(factory=dict)
    # Of queue members, one each.
    _subscriptions: dict[Subscriber, ISubscription] = field(factory=dict)
    _unflushed: list[TopicFanout | QueueGroup] = field(factory=list)

    async def subscribe(self, subscriber: Subscriber) -> None:
        """Have ``subscriber`` get the messages of its topic; done once the broker subscribed us.

        What succeeded has to be undone by :meth:`unsubscribe`, once; what failed, or was cancelled, has not.

        :raises EngineUnavailable: the broker did not. :raises TopicInvalid: it cannot carry topic or queue.
        """
        if subscriber.queue is None:
            await self._subscribe_topic(subscriber)
        else:
            await self._subscribe_group(subscriber, subscriber.queue)

    def unsubscribe(self, subscriber: Subscriber) -> None:
        """Undo :meth:`subscribe`."""
        if subscriber.queue is None:
            topic = self._topics[subscriber.topic]
            topic.fanout.remove(subscriber)
            self._unsubscribe_topic(topic)
        else:
            self._groups[subscriber.topic, subscriber.queue].remove(subscriber)
            self._forget_if_empty(subscriber.topic, subscriber.queue)
            _cancel(self._subscriptions.pop(subscriber), subscriber.topic)

    async def _subscribe_topic(self, subscriber: Subscriber) -> None:
        topic = self._topics.get(subscriber.topic)
        if topic is None:
            topic = self._topics[subscriber.topic] = Topic(
                subscriber.topic,
                TopicFanout(self._schedule, self._counters.topic(subscriber.topic)),
                subscriber.asked.caller,
            )
            topic.open(self._broker)
        topic.subscribers += 1
        try:
            await topic.subscribed()
        except BaseException:
            self._unsubscribe_topic(topic)
            raise
        topic.fanout.add(subscriber)

    def _unsubscribe_topic(self, topic: Topic) -> None:
        topic.subscribers -= 1
        if not topic.subscribers:
            del self._topics[topic.name]
            topic.close()

    async def _subscribe_group(self, subscriber: Subscriber, queue: str) -> None:
        group = self._groups.get((subscriber.topic, queue))
        if group is None:
            group = self._groups[subscriber.topic, queue] = QueueGroup(
                self._schedule, self._counters.topic(subscriber.topic)
            )
        # Counted before the broker answers, so that the group is still there then.
        group.add(subscriber)
        try:
            self._subscriptions[subscriber] = await self._broker.subscribe(
                subscriber.topic, group.deliver, queue, subscriber.asked.caller
            )
        except BaseException:
            group.remove(subscriber)
            self._forget_if_empty(subscriber.topic, queue)
            raise

    def _forget_if_empty(self, topic: str, queue: str) -> None:
        if not len(self._groups[topic, queue]):
            del self._groups[topic, queue]

    def members(self) -> Iterator[tuple[str, str | None, Subscriber]]:
        """:returns: who hears what: topic, queue group or None, subscriber."""
        for name, topic in self._topics.items():
            for subscriber in topic.fanout:
                yield name, None, subscriber
        for (name, queue), group in self._groups.items():
            for subscriber in group:
                yield name, queue, subscriber

    # --- Turns ------------------------------------------------------------------------------------------------------

    def _schedule(self, one: TopicFanout | QueueGroup) -> None:
        """Have ``one`` flushed in the next turn of the reactor."""
        if not self._unflushed:
            self._clock.callLater(0, self.flush)
        self._unflushed.append(one)

    def flush(self) -> None:
        """Send what this turn brought."""
        unflushed, self._unflushed = self._unflushed, []
        for one in unflushed:
            sent = one.flush()
            self._counters.delivered += sent
            one.traffic.delivered += sent


def _cancel(subscription: ISubscription, topic: str) -> None:
    def failed(failure: Failure) -> None:
        _log.failure("Unsubscribing from topic {topic} at the broker failed", failure, topic=topic)

    subscription.cancel().addErrback(failed)
