"""The model of messages: hub, broker and outboxes, with subscribers that come and go and do not keep up."""

from __future__ import annotations

from typing import Any

from attrs import define, field
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from sidecar.broker.memory import MemoryBroker
from sidecar.model import ANONYMOUS, Message
from sidecar.net.memory import WORTH_COUNTING, MemoryBudget
from sidecar.pubsub.counters import PubSubCounters
from sidecar.pubsub.hub import Hub
from sidecar.pubsub.outbox import OutboxLimits
from sidecar.pubsub.subscriber import Subscriber, SubscribeRequest

TOPICS, QUEUES = ("news", "sport"), (None, None, "q", "r")
#: Messages, and bytes, that wait for one subscriber at most, and bytes for all of them together.
MESSAGES, SIZE, BUDGET = 8, 6000, 2500


def framed(message: Message) -> bytes:
    """A frame is its message and a mark."""
    return message.body + b";"


@define(eq=False)
class Listener:
    """A subscriber and what came to it. :ivar published: what was since it subscribed, and before it left."""

    subscriber: Subscriber
    written: list[bytes] = field(factory=list)
    published: list[bytes] = field(factory=list)
    closed: bool = False

    @property
    def got(self) -> list[bytes]:
        return b"".join(self.written).split(b";")[:-1]


class Messages(RuleBasedStateMachine):
    """Rules and promises of messages."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.counters = PubSubCounters()
        self.broker = MemoryBroker(self.clock)
        self.broker.startService()
        self.hub = Hub(self.broker, self.clock, self.counters)
        self.budget = MemoryBudget(BUDGET, self.clock.seconds)
        self.listeners: list[Listener] = []
        self.left: list[Listener] = []
        #: Of each queue group: what was published while it had members, in order.
        self.shared: dict[tuple[str, str], list[bytes]] = {}
        self.number = 0

    # --- What happens -----------------------------------------------------------------------------------------------

    @rule(topic=st.sampled_from(TOPICS), queue=st.sampled_from(QUEUES), slow=st.sampled_from(("drop", "drop", "close")))
    def subscribe(self, topic: str, queue: str | None, slow: Any) -> None:
        """Somebody subscribes, alone or as a member of a queue group."""
        self.turn()
        asked = SubscribeRequest(topic, queue, framed, None)
        closed: list[Listener] = []
        limits = OutboxLimits(SIZE, MESSAGES, slow)
        subscriber = Subscriber(
            asked, limits, self.counters, lambda close: self.too_slow(closed[0]) if close else None, self.budget
        )
        closed.append(listener := Listener(subscriber))
        done: list[Any] = []
        Deferred.fromCoroutine(self.hub.subscribe(subscriber)).addBoth(done.append)
        assert done == [None], done
        subscriber.open(listener.written.append)
        self.listeners.append(listener)

    def too_slow(self, listener: Listener) -> None:
        """It is closed since it did not keep up."""
        listener.closed = True
        self.listeners.remove(listener)
        self.left.append(listener)
        self.hub.unsubscribe(listener.subscriber)

    @precondition(lambda self: self.listeners)
    @rule(data=st.data())
    def unsubscribe(self, data: Any) -> None:
        """A subscriber leaves."""
        self.turn()
        listener = data.draw(st.sampled_from(self.listeners))
        listener.closed = True
        self.listeners.remove(listener)
        self.left.append(listener)
        self.hub.unsubscribe(listener.subscriber)
        listener.subscriber.close()

    @rule(topic=st.sampled_from(TOPICS), count=st.integers(1, 12), size=st.sampled_from((0, 600)))
    def publish(self, topic: str, count: int, size: int) -> None:
        """Messages are published, maybe more than fit into an outbox."""
        for _ in range(count):
            self.number += 1
            body = b"%d:" % self.number + b"x" * size
            for listener in self.listeners:
                if listener.subscriber.topic == topic:
                    listener.published.append(body)
            queues = {each.subscriber.queue for each in self.listeners if each.subscriber.topic == topic}
            for queue in queues - {None}:
                self.shared.setdefault((topic, str(queue)), []).append(body)
            done: list[Any] = []
            self.broker.publish(topic, Message({}, body), ANONYMOUS).addBoth(done.append)
            assert done == [None], done

    @precondition(lambda self: self.listeners)
    @rule(which=st.sets(st.integers(0, 7), min_size=1))
    def stall(self, which: set[int]) -> None:
        """Connections of subscribers take nothing more for now."""
        for number, listener in enumerate(self.listeners):
            if number % 8 in which:
                listener.subscriber.pauseProducing()

    @precondition(lambda self: self.listeners)
    @rule(data=st.data())
    def go_on(self, data: Any) -> None:
        """It takes more."""
        data.draw(st.sampled_from(self.listeners)).subscriber.resumeProducing()

    @rule()
    def turn(self) -> None:
        """The reactor goes on until all is delivered."""
        self.clock.pump([0, 0, 0, 0])

    # --- What has to hold -------------------------------------------------------------------------------------------

    @invariant()
    def each_in_order(self) -> None:
        """Whoever subscribes alone gets each message once, in order, but for those that it was told are dropped."""
        self.turn()
        for listener in (*self.listeners, *self.left):
            subscriber, got = listener.subscriber, listener.got
            places = [listener.published.index(body) for body in got]
            assert places == sorted(set(places)), f"out of order, or twice: {got}"
            if subscriber.queue is None and not listener.closed:
                missing = len(listener.published) - len(got) - subscriber.lag
                assert missing == subscriber.dropped, (missing, subscriber.dropped, listener)

    @invariant()
    def one_member_each(self) -> None:
        """A queue message reaches one member of its group at most, and one at least where all of them keep up."""
        self.turn()
        for (topic, queue), published in self.shared.items():
            members = [
                each
                for each in (*self.listeners, *self.left)
                if (each.subscriber.topic, each.subscriber.queue) == (topic, queue)
            ]
            got = [body for each in members for body in each.got]
            assert len(got) == len(set(got)), f"a queue message reached two members: {got}"
            waiting = sum(each.subscriber.lag for each in members)
            lost = len(published) - len(got) - waiting - sum(each.subscriber.dropped for each in members)
            # What waited for one who left is gone with it.
            assert lost == 0 or any(each.closed for each in members), (lost, published, got)

    @invariant()
    def bounded(self) -> None:
        """No outbox is larger than it may be, nor all of them together; the hub knows of those who are there."""
        for listener in self.listeners:
            assert listener.subscriber.lag <= MESSAGES
            assert listener.subscriber.waiting <= SIZE
        uncounted = WORTH_COUNTING * len(self.listeners)
        assert sum(each.subscriber.waiting for each in self.listeners) <= BUDGET + uncounted
        topics = {(name, queue) for name, queue, _ in self.hub.members()}
        assert topics == {(each.subscriber.topic, each.subscriber.queue) for each in self.listeners}
