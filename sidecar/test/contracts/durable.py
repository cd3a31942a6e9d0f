"""What brokers that keep messages until they are acknowledged promise (``IDurableBroker``), whatever the engine."""

from __future__ import annotations

from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase

from sidecar.interfaces import IDelivery
from sidecar.model import ANONYMOUS, Message, PublishOptions, SubscribeOptions
from sidecar.test.contracts import broker as contract
from sidecar.test.contracts.broker import JSON, run


@define(eq=False)
class Taker:
    """A subscriber that keeps what it is given, and acknowledges it where ``acks`` says so."""

    acks: bool = True
    deliveries: list[IDelivery] = field(factory=list)

    def __call__(self, delivery: IDelivery) -> None:
        self.deliveries.append(delivery)
        if self.acks:
            delivery.ack()

    @property
    def bodies(self) -> list[bytes]:
        return [delivery.message.body for delivery in self.deliveries]


class DurableContract(TestCase):
    """Subclass it and give :meth:`make_broker` and :attr:`options`.

    :cvar kept: options of a subscription whose messages wait while nobody is there.
    :cvar asked: options of the publisher.
    """

    timeout = 120
    kept: SubscribeOptions
    asked = PublishOptions()

    until: Any = contract.BrokerContract.until
    quiet: Any = contract.BrokerContract.quiet

    async def make_broker(self) -> Any:
        """:returns: a broker that is started and connected, alone on its engine."""
        raise NotImplementedError

    async def publish(self, broker: Any, *bodies: bytes, topic: str = "orders") -> None:
        for body in bodies:
            await broker.publish_with(topic, Message(JSON, body), self.asked, ANONYMOUS)

    def test_waits(self) -> Deferred[None]:
        """What is published while nobody listens to a durable subscription is there when somebody does, in order."""

        async def test() -> None:
            broker = await self.make_broker()
            first, second = Taker(), Taker()
            place = await broker.consume("orders", first, self.kept, ANONYMOUS)
            await self.publish(broker, b"1")
            await self.until(lambda: first.deliveries, "the first one comes")
            await self.quiet()
            await place.cancel()
            await self.publish(broker, b"2", b"3")
            await broker.consume("orders", second, self.kept, ANONYMOUS)
            await self.until(lambda: len(second.deliveries) >= 2, "the others come later")
            await self.quiet()
            self.assertEqual((first.bodies, second.bodies), ([b"1"], [b"2", b"3"]))
            self.assertFalse(any(delivery.redelivered for delivery in second.deliveries))

        return run(test())

    def test_not_acknowledged(self) -> Deferred[None]:
        """What was not acknowledged when its subscriber left comes again, marked; what was, does not."""

        async def test() -> None:
            broker = await self.make_broker()
            lazy, next_one = Taker(acks=False), Taker()
            place = await broker.consume("orders", lazy, self.kept, ANONYMOUS)
            await self.publish(broker, b"1", b"2", b"3")
            await self.until(lambda: len(lazy.deliveries) == 3, "all come")
            lazy.deliveries[1].ack()
            await self.quiet()
            await place.cancel()
            await broker.consume("orders", next_one, self.kept, ANONYMOUS)
            await self.until(lambda: len(next_one.deliveries) >= 2, "two come again")
            await self.quiet()
            self.assertEqual(sorted(next_one.bodies), [b"1", b"3"])
            for delivery in next_one.deliveries:
                self.assertTrue(delivery.redelivered)
                self.assertEqual(delivery.message.header["Micro-Redelivered"], "true")

        return run(test())

    def test_given_back(self) -> Deferred[None]:
        """What is given back comes again; to say more about it afterwards is no error."""

        async def test() -> None:
            broker = await self.make_broker()
            taker = Taker(acks=False)
            await broker.consume("orders", taker, self.kept, ANONYMOUS)
            await self.publish(broker, b"1")
            await self.until(lambda: taker.deliveries, "it comes")
            taker.deliveries[0].requeue()
            taker.deliveries[0].ack()
            await self.until(lambda: len(taker.deliveries) == 2, "it comes again")
            self.assertTrue(taker.deliveries[1].redelivered)
            taker.deliveries[1].ack()
            await self.quiet()

        return run(test())

    def test_shared(self) -> Deferred[None]:
        """Two that listen to the same durable subscription share its messages."""

        async def test() -> None:
            broker = await self.make_broker()
            takers = [Taker(), Taker()]
            for taker in takers:
                await broker.consume("orders", taker, self.kept, ANONYMOUS)
            sent = [b"%d" % number for number in range(60)]
            await self.publish(broker, *sent)
            await self.until(lambda: sum(len(taker.deliveries) for taker in takers) >= 60, "all come")
            await self.quiet()
            self.assertEqual(sorted(body for taker in takers for body in taker.bodies), sorted(sent))
            for taker in takers:
                self.assertTrue(taker.deliveries, "one of the two got nothing of 60 messages")

        return run(test())

    def test_cancelled(self) -> Deferred[None]:
        """After ``cancel`` nothing is delivered; cancelling twice is no error."""

        async def test() -> None:
            broker = await self.make_broker()
            taker = Taker()
            place = await broker.consume("orders", taker, self.kept, ANONYMOUS)
            await place.cancel()
            await place.cancel()
            await self.publish(broker, b"1")
            await self.quiet()
            self.assertEqual(taker.bodies, [])

        return run(test())
