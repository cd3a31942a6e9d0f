"""``/broker`` with ``durable``, ``ack``, ``events`` and ``mandatory``, over brokers that can do them or not."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from zope.interface import implementer

from sidecar.broker.memory import MemoryBroker
from sidecar.errors import NoSubscriber
from sidecar.interfaces import IDelivery, IDurableBroker, ISubscription
from sidecar.model import Caller, Message, PublishOptions, SubscribeOptions
from sidecar.pubsub.outbox import OutboxLimits
from sidecar.test.doubles.clients.pubsub import BrokerCase, Client
from sidecar.test.doubles.clients.websocket import BINARY


@implementer(IDelivery)
@define(eq=False)
class Given:
    """:ivar said: what was said of it."""

    topic: str
    message: Message
    redelivered: bool = False
    said: list[str] = field(factory=list)

    def ack(self) -> None:
        self.said.append("ack")

    def requeue(self) -> None:
        self.said.append("requeue")


@implementer(ISubscription)
@define(eq=False)
class Consuming:
    topic: str
    take: Callable[[IDelivery], None]
    options: SubscribeOptions
    cancelled: bool = False

    def cancel(self) -> Deferred[None]:
        self.cancelled = True
        return succeed(None)


@implementer(IDurableBroker)
class DurableMemory(MemoryBroker):
    """A broker that can do everything and keeps nothing. :ivar consuming: who consumes. :ivar published: with what."""

    abilities = frozenset(("durable", "ack", "mandatory", "events"))

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock)
        self.consuming: list[Consuming] = []
        self.published: list[tuple[str, bytes, PublishOptions]] = []

    def consume(
        self, topic: str, take: Callable[[IDelivery], None], options: SubscribeOptions, caller: Caller
    ) -> Deferred[ISubscription]:
        self.consuming.append(Consuming(topic, take, options))
        place: ISubscription = self.consuming[-1]
        return succeed(place)

    def publish(self, topic: str, message: Message, caller: Caller) -> Deferred[None]:
        return self.publish_with(topic, message, PublishOptions(), caller)

    def publish_with(self, topic: str, message: Message, options: PublishOptions, caller: Caller) -> Deferred[None]:
        self.published.append((topic, message.body, options))
        return fail(NoSubscriber("nobody is subscribed")) if options.mandatory else succeed(None)

    def give(self, body: bytes, header: dict[str, str] | None = None) -> Given:
        """Deliver a message to the one who subscribed last."""
        consuming = self.consuming[-1]
        given = Given(consuming.topic, Message(header or {}, body))
        delivery: IDelivery = given
        consuming.take(delivery)
        return given


class Unable(BrokerCase):
    def test_named(self) -> None:
        """A broker that cannot do what is asked of it answers 400, naming those that can."""
        for target, name, who in (
            ("/broker?topic=t&durable=d", "durable", "--broker=rabbitmq"),
            ("/broker?topic=t&ack=1", "ack", "--broker=rabbitmq"),
            ("/broker?topic=t&events=1", "events", "--broker=nats"),
            ("/broker?topic=t&mandatory=1", "mandatory", "--broker=rabbitmq"),
        ):
            self.refused(400, name, "memory", who, client=self.connect(target))
        for target, name in (("/broker?topic=t&mandatory=1", "mandatory"), ("/broker?topic=t&events=1", "events")):
            self.refused(400, name, "memory", client=self.post(target, b"x"))

    def test_plain(self) -> None:
        """What is switched off is not asked for."""
        client = self.joined("/broker?topic=t&ack=0&durable=&events=0&mandatory=0")
        client.say("x")
        self.turn()
        self.assertEqual(len(client.read().messages), 1)


class Able(BrokerCase):
    def setUp(self) -> None:
        super().setUp()
        self.broker = DurableMemory(self.clock)
        self.broker.startService()
        self.serve(self.broker)

    def texts(self, client: Client) -> list[Any]:
        return [json.loads(text) for text in client.read().messages]

    def test_options(self) -> None:
        """The names go to the broker as they were said; 1 takes the queue's."""
        for query, options in {
            "durable=orders": SubscribeOptions(None, "orders"),
            "durable=1&queue=q": SubscribeOptions("q", "q"),
            "durable=orders&ack=1": SubscribeOptions(None, "orders", True),
            "queue=q&ack=1": SubscribeOptions("q", None, True),
            "queue=q&events=1&ack=1": SubscribeOptions("q", None, True, True),
        }.items():
            self.joined(f"/broker?topic=t&{query}")
            self.assertEqual(self.broker.consuming[-1].options, options, query)

    def test_refused(self) -> None:
        """A durable queue needs a name; a bare format has no place for an ID; a switch is 1 or 0."""
        self.refused(400, "durable", "durable=NAME", client=self.connect("/broker?topic=t&durable=1"))
        self.refused(400, "format", "ID", client=self.connect("/broker?topic=t&ack=1&format=text"))
        self.refused(400, "ack", client=self.connect("/broker?topic=t&ack=yes"))
        self.assertEqual(self.broker.consuming, [])

    def test_ack(self) -> None:
        """A message carries an ID; the client's word takes it, once; a wrong one is told, and nothing is published."""
        client = self.joined("/broker?topic=t&durable=d&ack=1")
        first, second = self.broker.give(b"1", {"A": "b"}), self.broker.give(b"2")
        told = self.texts(client)
        self.assertEqual([each["Body"] for each in told], ["MQ==", "Mg=="])
        self.assertEqual(told[0]["Header"], {"A": "b"})
        self.assertNotEqual(told[0]["ID"], told[1]["ID"])
        client.say(json.dumps({"ack": told[1]["ID"]}))
        self.assertEqual((first.said, second.said), ([], ["ack"]))
        client.say(json.dumps({"ack": told[1]["ID"]}))
        client.say('{"ack": 7}')
        client.say(r'{"\u0061ck": "x"}')
        client.say('{"ack":"' + "x" * 900 + '"}')
        said = self.texts(client)[-4:]
        self.assertEqual([each["code"] for each in said], [400] * 4)
        self.assertIn(told[1]["ID"], said[0]["detail"])
        self.assertEqual((second.said, self.broker.published), (["ack"], []))

    def test_published(self) -> None:
        """Whatever is not an acknowledgement is published: other members beside it, binary frames, no JSON at all."""
        client = self.joined("/broker?topic=t&queue=q&ack=1")
        client.say('{"ack":"1","more":1}')
        client.say('{"ack":"1"}', BINARY)
        client.say('"ack"')
        client.say('{"ack"')
        self.assertEqual(
            [body for _, body, _ in self.broker.published],
            [b'{"ack":"1","more":1}', b'{"ack":"1"}', b'"ack"', b'{"ack"'],
        )

    def test_not_asked_for(self) -> None:
        """Without ``ack=1`` a message counts as taken when it was written, and such a frame is published."""
        client = self.joined("/broker?topic=t&durable=d&format=text")
        given = self.broker.give(b"x")
        self.assertEqual(given.said, ["ack"])
        self.assertEqual(client.read().messages, [b"x"])
        client.say('{"ack":"1"}')
        self.assertEqual(len(self.broker.published), 1)

    def test_left(self) -> None:
        """Who leaves has its subscription cancelled, with what it did not acknowledge."""
        client = self.joined("/broker?topic=t&durable=d&ack=1")
        given = self.broker.give(b"x")
        client.leave()
        self.assertTrue(self.broker.consuming[-1].cancelled)
        self.assertEqual(given.said, [])

    def test_slow(self) -> None:
        """What cannot be written waits unacknowledged, never dropped; with too much of it the client is closed."""
        self.serve(self.broker, OutboxLimits(size=100))
        client = self.joined("/broker?topic=t&durable=d&format=text")
        producer: Any = client.transport.producer
        producer.pauseProducing()
        waits = [self.broker.give(b"x" * 30) for _ in range(2)]
        self.assertEqual([given.said for given in waits], [[], []])
        producer.resumeProducing()
        self.assertEqual([given.said for given in waits], [["ack"], ["ack"]])
        producer.pauseProducing()
        lost = [self.broker.give(b"x" * 30) for _ in range(5)]
        self.assertEqual(client.read().closed, 1008)
        self.assertEqual([given.said for given in lost], [[]] * 5)

    def test_mandatory(self) -> None:
        """A message that must reach somebody is refused with 503 where nobody is."""
        self.refused(503, "nobody", client=self.post("/broker?topic=t&mandatory=1", b"x"))
        self.assertEqual(self.post("/broker?topic=t", b"x").read().status, 200)

    def test_events(self) -> None:
        """Events are published as such, by POST and by frame."""
        self.assertEqual(self.post("/broker?topic=t&events=1", b"x").read().status, 200)
        client = self.joined("/broker?topic=t&events=1")
        client.say("y")
        events = PublishOptions(events=True)
        self.assertEqual(self.broker.published, [("t", b"x", events), ("t", b"y", events)])
