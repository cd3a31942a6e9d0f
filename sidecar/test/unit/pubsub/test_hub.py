"""The hub between broker and subscribers, in virtual time."""

from __future__ import annotations

from collections.abc import Callable

from attrs import define, field
from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from sidecar.broker.memory import MemoryBroker
from sidecar.errors import EngineUnavailable
from sidecar.model import ANONYMOUS, Caller, Message
from sidecar.pubsub import fanout
from sidecar.pubsub.counters import PubSubCounters
from sidecar.pubsub.hub import Hub
from sidecar.pubsub.outbox import OutboxLimits
from sidecar.pubsub.publisher import MAX_PENDING, Publisher
from sidecar.pubsub.subscriber import Subscriber, SubscribeRequest


def shout(message: Message) -> bytes:
    return b"<" + message.body.upper() + b">"


def plain(message: Message) -> bytes:
    return b"<" + message.body + b">"


@define(eq=False)
class Connection:
    """A subscriber's connection. :ivar writes: what was written, a write each."""

    subscriber: Subscriber
    writes: list[bytes] = field(factory=list)

    @property
    def text(self) -> bytes:
        return b"".join(self.writes)


@define(eq=False)
class Subscription:
    cancelled: int = 0

    def cancel(self) -> Deferred[None]:
        self.cancelled += 1
        return succeed(None)


@define(eq=False)
class SlowBroker:
    """Answers when the test says so."""

    asked: list[Deferred[Subscription]] = field(factory=list)
    delivers: list[Callable[[str, Message], None]] = field(factory=list)
    published: list[Deferred[None]] = field(factory=list)

    def subscribe(
        self, topic: str, deliver: Callable[[str, Message], None], queue: str | None, caller: Caller
    ) -> Deferred[Subscription]:
        self.delivers.append(deliver)
        self.asked.append(Deferred())
        return self.asked[-1]

    def publish(self, topic: str, message: Message, caller: Caller) -> Deferred[None]:
        self.published.append(Deferred())
        return self.published[-1]


class HubCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.counters = PubSubCounters()
        self.broker = MemoryBroker(self.clock)
        self.broker.startService()
        self.hub = Hub(self.broker, self.clock, self.counters)
        self.told_slow: list[bool] = []

    def subscriber(
        self,
        topic: str = "t",
        queue: str | None = None,
        make_frame: Callable[[Message], bytes] = plain,
        limits: OutboxLimits | None = None,
    ) -> Subscriber:
        asked = SubscribeRequest(topic, queue, make_frame, None)
        return Subscriber(asked, limits or OutboxLimits(), self.counters, self.told_slow.append)

    def subscribed(self, subscriber: Subscriber) -> Connection:
        self.successResultOf(Deferred.fromCoroutine(self.hub.subscribe(subscriber)))
        connection = Connection(subscriber)
        subscriber.open(connection.writes.append)
        return connection

    def publish(self, *bodies: bytes, topic: str = "t") -> None:
        for body in bodies:
            self.successResultOf(self.broker.publish(topic, Message({}, body), ANONYMOUS))

    def turn(self) -> None:
        self.clock.pump([0, 0, 0])


class FanOut(HubCase):
    def test_one_write_a_turn(self) -> None:
        """What a turn brings is one write to each, in order, in the format that each asked for."""
        connections = [
            self.subscribed(self.subscriber()),
            self.subscribed(self.subscriber()),
            self.subscribed(self.subscriber(make_frame=shout)),
        ]
        self.publish(b"a", b"b", b"c")
        self.turn()
        self.assertEqual(
            [connection.writes for connection in connections], [[b"<a><b><c>"], [b"<a><b><c>"], [b"<A><B><C>"]]
        )
        self.assertEqual(self.counters.delivered, 9)

    def test_framed_once(self) -> None:
        """A message is framed once, however many hear it."""
        framed = []

        def make_frame(message: Message) -> bytes:
            framed.append(message)
            return plain(message)

        for _ in range(5):
            self.subscribed(self.subscriber(make_frame=make_frame))
        self.publish(b"a")
        self.turn()
        self.assertEqual(len(framed), 1)

    def test_one_subscription_a_topic(self) -> None:
        """The broker knows of one subscriber a topic, until the last one left."""
        first, second = self.subscriber(), self.subscriber()
        self.subscribed(first)
        connection = self.subscribed(second)
        self.hub.unsubscribe(first)
        self.publish(b"a")
        self.turn()
        self.assertEqual(connection.writes, [b"<a>"])
        self.hub.unsubscribe(second)
        self.publish(b"b")
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.subscribed(self.subscriber())

    def test_leave_within(self) -> None:
        """One who leaves while a turn is sent off hurts nobody."""
        first, second = self.subscriber(), self.subscriber()
        self.subscribed(first)
        last = self.subscribed(second)

        def write(data: bytes) -> None:
            self.hub.unsubscribe(first)

        first.open(write)
        self.publish(b"a")
        self.turn()
        self.publish(b"b")
        self.turn()
        self.assertEqual(last.writes, [b"<a>", b"<b>"])

    def test_burst(self) -> None:
        """More than enough bytes are not held until the turn ends."""
        self.patch(fanout, "ENOUGH", 4)
        connection = self.subscribed(self.subscriber())
        group = self.subscribed(self.subscriber(queue="q"))
        self.publish(b"ab", b"cd", b"e")
        self.turn()
        for one in (connection, group):
            self.assertEqual(one.writes, [b"<ab><cd>", b"<e>"])
        self.assertEqual(self.counters.delivered, 6)


class Queues(HubCase):
    def test_spread(self) -> None:
        """Members get their messages in turn, each exactly one of them."""
        connections = [self.subscribed(self.subscriber(queue="q")) for _ in range(3)]
        self.publish(*[b"%d" % number for number in range(9)])
        self.turn()
        self.assertEqual([len(connection.text) for connection in connections], [9, 9, 9])
        self.assertEqual(
            sorted(b"".join(connection.text for connection in connections)),
            sorted(b"".join(b"<%d>" % n for n in range(9))),
        )

    def test_past_those_that_do_not_keep_up(self) -> None:
        """A member whose transport is full is passed over while another can."""
        connections = [self.subscribed(self.subscriber(queue="q")) for _ in range(3)]
        connections[1].subscriber.pauseProducing()
        self.publish(*[b"x"] * 10)
        self.turn()
        self.assertEqual(
            [len(connection.writes) and len(connection.text) // 3 for connection in connections], [5, 0, 5]
        )
        for connection in connections:
            connection.subscriber.pauseProducing()
        self.publish(b"y")
        self.turn()
        for connection in connections:
            connection.subscriber.resumeProducing()
        self.assertEqual(b"".join(connection.text for connection in connections).count(b"y"), 1)

    def test_share_of_one_that_leaves(self) -> None:
        """What a member was to get in the turn in which it leaves goes to the others."""
        group = fanout.QueueGroup(lambda _: None)
        stays, leaves = self.subscriber(queue="q"), self.subscriber(queue="q")
        connection = Connection(stays)
        stays.open(connection.writes.append)
        group.add(stays)
        group.add(leaves)
        for body in (b"a", b"b", b"c", b"d"):
            group.deliver("t", Message({}, body))
        group.remove(leaves)
        group.flush()
        self.assertEqual(sorted(connection.text), sorted(b"<a><b><c><d>"))

    def test_leaves_nothing_behind(self) -> None:
        """Empty queues are forgotten, and the broker's places given back."""
        members = [self.subscriber(queue="q") for _ in range(3)]
        for member in members:
            self.subscribed(member)
        for member in members:
            self.hub.unsubscribe(member)
        self.publish(b"x")
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(self.hub._groups, {})
        self.assertEqual(self.hub._subscriptions, {})


class Slow(HubCase):
    def test_waits(self) -> None:
        """What a full transport cannot take waits, and goes out in order when it can; others do not wait."""
        slow, quick = self.subscribed(self.subscriber()), self.subscribed(self.subscriber())
        slow.subscriber.pauseProducing()
        for body in (b"a", b"b"):
            self.publish(body)
            self.turn()
        self.assertEqual((slow.writes, quick.writes), ([], [b"<a>", b"<b>"]))
        self.assertEqual(slow.subscriber.waiting, 6)
        slow.subscriber.resumeProducing()
        self.publish(b"c")
        self.turn()
        self.assertEqual(slow.writes, [b"<a><b>", b"<c>"])

    def test_pause_while_writing(self) -> None:
        """A transport that fills while it is written to gets no more until it has room."""
        subscriber = self.subscriber()
        connection = self.subscribed(subscriber)

        def write(data: bytes) -> None:
            connection.writes.append(data)
            subscriber.pauseProducing()

        subscriber.open(write)
        large = b"x" * 100_000
        self.publish(large, large, large)
        self.turn()
        self.assertEqual(len(connection.text), len(large) + 2)
        subscriber.resumeProducing()
        subscriber.resumeProducing()
        self.assertEqual(len(connection.text), 3 * (len(large) + 2))

    def test_drops_the_oldest(self) -> None:
        """Beyond its limits a subscriber loses its oldest messages, counted, and is told of once."""
        connection = self.subscribed(self.subscriber(limits=OutboxLimits(messages=3)))
        connection.subscriber.pauseProducing()
        for number in range(10):
            self.publish(b"%d" % number)
            self.turn()
        self.assertEqual((self.counters.dropped, connection.subscriber.dropped, self.told_slow), (7, 7, [False]))
        connection.subscriber.resumeProducing()
        self.assertEqual(connection.text, b"<7><8><9>")

    def test_is_closed(self) -> None:
        """With ``close`` it is to be closed, once, and gets nothing more."""
        connection = self.subscribed(self.subscriber(limits=OutboxLimits(messages=3, slow="close")))
        connection.subscriber.pauseProducing()
        for number in range(10):
            self.publish(b"%d" % number)
            self.turn()
        self.assertEqual((self.told_slow, self.counters.closed, connection.subscriber.waiting), ([True], 1, 0))
        connection.subscriber.resumeProducing()
        self.assertEqual(connection.writes, [])

    def test_before_it_is_open(self) -> None:
        """What comes between joining and the end of the handshake is not lost."""
        subscriber = self.subscriber()
        self.successResultOf(Deferred.fromCoroutine(self.hub.subscribe(subscriber)))
        self.publish(b"early")
        self.turn()
        connection = Connection(subscriber)
        subscriber.open(connection.writes.append)
        self.assertEqual(connection.writes, [b"<early>"])


class Joining(HubCase):
    """While the broker takes its time."""

    def setUp(self) -> None:
        super().setUp()
        self.slow = SlowBroker()
        self.hub = Hub(self.slow, self.clock, self.counters)  # type: ignore[arg-type]  # the two methods that it uses

    def joining(self, queue: str | None = None) -> Deferred[None]:
        return Deferred.fromCoroutine(self.hub.subscribe(self.subscriber(queue=queue)))

    def test_asked_once(self) -> None:
        """Those who come while the broker is asked wait for the same answer."""
        waiting = [self.joining() for _ in range(3)]
        self.assertEqual(len(self.slow.asked), 1)
        for one in waiting:
            self.assertNoResult(one)
        self.slow.asked[0].callback(Subscription())
        for one in waiting:
            self.successResultOf(one)
        self.successResultOf(self.joining())
        self.assertEqual(len(self.slow.asked), 1)

    def test_refused(self) -> None:
        """A refusal is told to each of them, and forgotten: who comes later asks anew."""
        for queue in (None, "q"):
            self.slow.asked.clear()
            waiting = [self.joining(queue) for _ in range(2)]
            for one in self.slow.asked:
                one.errback(EngineUnavailable("gone"))
            for one_waiting in waiting:
                self.failureResultOf(one_waiting, EngineUnavailable)
            self.assertNoResult(late := self.joining(queue))
            self.slow.asked[-1].callback(Subscription())
            self.successResultOf(late)

    def test_one_gives_up(self) -> None:
        """One of them who leaves does not take the subscription along; the last one does."""
        first, second = self.joining(), self.joining()
        first.cancel()
        self.failureResultOf(first, CancelledError)
        self.assertFalse(self.slow.asked[0].called)
        second.cancel()
        self.failureResultOf(second, CancelledError)
        self.assertTrue(self.slow.asked[0].called, "the broker is still asked for nobody")

    def test_given_back(self) -> None:
        """The subscription is cancelled when the last one left; trouble with that is logged."""
        subscriber = self.subscriber()
        joining = Deferred.fromCoroutine(self.hub.subscribe(subscriber))
        subscription = Subscription()
        self.slow.asked[0].callback(subscription)
        self.successResultOf(joining)
        self.hub.unsubscribe(subscriber)
        self.assertEqual(subscription.cancelled, 1)


class Publishing(HubCase):
    def setUp(self) -> None:
        super().setUp()
        self.slow = SlowBroker()
        self.refused: list[BaseException] = []
        self.held: list[bool] = []
        self.publisher = Publisher(
            self.slow,  # type: ignore[arg-type]  # the one method that it uses
            SubscribeRequest("t", None, plain, None),
            lambda: "id",
            self.refused.append,
            self.held.append,
            self.counters,
        )

    def test_told(self) -> None:
        """What the broker did not take is told, and counted."""
        self.publisher.publish(b"1")
        self.publisher.publish(b"2")
        self.slow.published[0].errback(Failure(EngineUnavailable("no")))
        self.slow.published[1].callback(None)
        self.assertEqual([str(error) for error in self.refused], ["no"])
        self.assertEqual((self.counters.published, self.counters.failed), (1, 1))

    def test_held(self) -> None:
        """A publisher that is far ahead of the broker is not listened to until the broker has caught up by half."""
        for _ in range(MAX_PENDING + 10):
            self.publisher.publish(b"x")
        self.assertEqual(self.held, [True])
        for one in self.slow.published[: MAX_PENDING // 2]:
            one.callback(None)
        self.assertEqual(self.held, [True])
        for one in self.slow.published[MAX_PENDING // 2 :]:
            one.callback(None)
        self.assertEqual(self.held, [True, False])
