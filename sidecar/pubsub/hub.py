"""Between the broker and the subscribers here: who hears what, and one write a reactor turn."""

from __future__ import annotations

from attrs import define, field
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from sidecar.interfaces import IBroker, ISubscription
from sidecar.pubsub.counters import PubSubCounters
from sidecar.pubsub.fanout import QueueGroup, TopicFanout
from sidecar.pubsub.subscriber import Subscriber

_log = Logger()


@define(eq=False)
class Topic:
    """One topic that somebody here hears in full, behind one subscription at the broker however many they are.

    :ivar holders: subscribers, those included that still wait for the broker's answer.
    """

    name: str
    everybody: TopicFanout
    holders: int = 0
    _asked: Deferred[None] | None = None
    _answer: ISubscription | Failure | None = None
    _waiting: list[Deferred[None]] = field(factory=list)

    def open(self, broker: IBroker) -> None:
        """Ask the broker for the subscription."""
        self._asked = broker.subscribe(self.name, self.everybody.deliver, None).addBoth(self._answered)

    def opened(self) -> Deferred[None]:
        """:returns: fires when the broker subscribed us. Each caller has one of its own to cancel."""
        if isinstance(self._answer, Failure):
            return fail(self._answer)
        if self._answer is not None:
            return succeed(None)
        one: Deferred[None] = Deferred()
        self._waiting.append(one)
        return one

    def close(self) -> None:
        """Give the subscription back, or no longer ask for it."""
        if self._answer is None and self._asked is not None:
            self._asked.cancel()
        elif not isinstance(self._answer, Failure) and self._answer is not None:
            _give_back(self._answer, self.name)

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
    _tally: PubSubCounters
    _topics: dict[str, Topic] = field(factory=dict)
    _groups: dict[tuple[str, str], QueueGroup] = field(factory=dict)
    # The subscriptions of queue members, one each.
    _seats: dict[Subscriber, ISubscription] = field(factory=dict)
    _awake: list[TopicFanout | QueueGroup] = field(factory=list)

    async def join(self, subscriber: Subscriber) -> None:
        """Have ``subscriber`` hear its topic; done once the broker subscribed us.

        Who joined has to :meth:`leave`, once; who failed to join, or was cancelled, has not.

        :raises EngineUnavailable: the broker did not. :raises TopicInvalid: it cannot carry topic or queue.
        """
        if subscriber.queue is None:
            await self._join_topic(subscriber)
        else:
            await self._join_group(subscriber, subscriber.queue)

    def leave(self, subscriber: Subscriber) -> None:
        """Undo :meth:`join`."""
        if subscriber.queue is None:
            topic = self._topics[subscriber.topic]
            topic.everybody.remove(subscriber)
            self._release(topic)
        else:
            self._groups[subscriber.topic, subscriber.queue].remove(subscriber)
            self._forget_if_empty(subscriber.topic, subscriber.queue)
            _give_back(self._seats.pop(subscriber), subscriber.topic)

    async def _join_topic(self, subscriber: Subscriber) -> None:
        topic = self._topics.get(subscriber.topic)
        if topic is None:
            topic = self._topics[subscriber.topic] = Topic(subscriber.topic, TopicFanout(self._wake))
            topic.open(self._broker)
        topic.holders += 1
        try:
            await topic.opened()
        except BaseException:
            self._release(topic)
            raise
        topic.everybody.add(subscriber)

    def _release(self, topic: Topic) -> None:
        topic.holders -= 1
        if not topic.holders:
            del self._topics[topic.name]
            topic.close()

    async def _join_group(self, subscriber: Subscriber, queue: str) -> None:
        group = self._groups.get((subscriber.topic, queue))
        if group is None:
            group = self._groups[subscriber.topic, queue] = QueueGroup(self._wake)
        # Counted before the broker answers, so that the group is still there then.
        group.add(subscriber)
        try:
            self._seats[subscriber] = await self._broker.subscribe(subscriber.topic, group.deliver, queue)
        except BaseException:
            group.remove(subscriber)
            self._forget_if_empty(subscriber.topic, queue)
            raise

    def _forget_if_empty(self, topic: str, queue: str) -> None:
        if not len(self._groups[topic, queue]):
            del self._groups[topic, queue]

    # --- Turns ------------------------------------------------------------------------------------------------------

    def _wake(self, one: TopicFanout | QueueGroup) -> None:
        """Have ``one`` flushed in the next turn of the reactor."""
        if not self._awake:
            self._clock.callLater(0, self.flush)
        self._awake.append(one)

    def flush(self) -> None:
        """Send what this turn brought."""
        awake, self._awake = self._awake, []
        for one in awake:
            self._tally.delivered += one.flush()


def _give_back(subscription: ISubscription, topic: str) -> None:
    def failed(failure: Failure) -> None:
        _log.failure("Leaving topic {topic} at the broker failed", failure, topic=topic)

    subscription.cancel().addErrback(failed)
