"""The NATS broker: the contract over a fake server and over the real one, and what only it can promise."""

from __future__ import annotations

import json
from functools import partial
from typing import Any

from twisted.internet import reactor as installed
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.trial.unittest import SynchronousTestCase, TestCase

from sidecar.broker.nats import MAX_NAME, NatsBroker, build, name_problem
from sidecar.errors import EngineUnavailable, TooLarge
from sidecar.interfaces import IBroker
from sidecar.model import ANONYMOUS, BackendOptions, Message
from sidecar.net.errors import InvalidSetting
from sidecar.test.contracts import broker as contract
from sidecar.test.doubles.programs import process
from sidecar.test.doubles.servers.nats import FakeNats

reactor: Any = installed


async def sleep(seconds: float) -> None:
    await deferLater(reactor, seconds, lambda: None)


async def started(test: TestCase, port: int) -> Any:
    """A broker at the server on ``port``, connected, stopped when the test is over."""
    broker: Any = build(BackendOptions(reactor, (f"127.0.0.1:{port}",)))
    broker.startService()
    test.addCleanup(broker.stopService)
    while not broker.state().connected:
        await sleep(0.001)
    return broker


class OverFake(contract.SharedBrokerContract):
    """The contract, our client over a fake server."""

    def setUp(self) -> None:
        self.server = FakeNats(reactor)
        self.server.start()
        self.addCleanup(self.server.stop)
        self.brokers: list[IBroker] = []

    async def _broker(self) -> IBroker:
        broker: IBroker = await started(self, self.server.port)
        self.brokers.append(broker)
        return broker

    _peer = _broker

    def quiet(self, seconds: float = 0.2) -> Deferred[None]:
        """No time has to pass: whatever the server sent before came before what it sends now."""

        async def fence() -> None:
            for broker in self.brokers:
                sub = contract.Collector()
                place = await broker.subscribe("fence", sub, None, ANONYMOUS)
                await broker.publish("fence", Message({}, b""), ANONYMOUS)
                await self.until(partial(sub.has, 1), "the fence")
                await place.cancel()

        return Deferred.fromCoroutine(fence())


class OverReal(contract.SharedBrokerContract):
    """The contract, our client over the real server."""

    skip = process.missing("nats-server")

    def setUp(self) -> None:
        self.port = process.free_port()
        server = process.start_nats(self.port)
        self.addCleanup(server.stop)

    async def _broker(self) -> IBroker:
        broker: IBroker = await started(self, self.port)
        return broker

    _peer = _broker


class Names(SynchronousTestCase):
    def test_refused(self) -> None:
        """What cannot be a subject, or would be a pattern of many, is refused with the reason."""
        for name in ("", "a b", "a\tb", "a\nb", "a.", ".a", "a..b", "*", "a.*", ">", "a.>", "a*b", "$SYS.x", "\ud800"):
            self.assertIsNotNone(name_problem("topic", name), name)
        self.assertIsNotNone(name_problem("topic", "x" * (MAX_NAME + 1)))

    def test_taken(self) -> None:
        """Go-micro's topics, and everything that NATS carries as it is."""
        for name in ("events", "go.micro.topic.foo", "größe", "topic:x", "a/b?c=d", "x" * MAX_NAME):
            self.assertIsNone(name_problem("topic", name), name)
        self.assertIsNone(name_problem("queue", "go.micro.srv.a>b"))

    def test_build(self) -> None:
        """A bad address fails before anything starts."""
        self.assertRaises(InvalidSetting, build, BackendOptions(reactor, ("127.0.0.1:none",)))


class Broker(TestCase):
    timeout = 60

    def setUp(self) -> None:
        self.server = FakeNats(reactor)
        self.server.start()
        self.addCleanup(self.server.stop)

    async def broker(self) -> NatsBroker:
        broker: NatsBroker = await started(self, self.server.port)
        return broker

    async def until(self, check: Any) -> None:
        while not check():
            await sleep(0.01)

    async def test_payload(self) -> None:
        """What goes over the wire is go-micro's message JSON under the topic, with the universal header."""
        broker = await self.broker()
        await broker.publish("a.b", Message({"X-Mine": "1"}, b'{"a":1}'), ANONYMOUS)
        ((subject, payload),) = self.server.published
        sent = json.loads(payload)
        self.assertEqual(subject, "a.b")
        self.assertEqual(sent["Body"], "eyJhIjoxfQ==")
        self.assertEqual(len(sent["Header"].pop("Micro-Id")), 36)
        self.assertEqual(sent["Header"], {"X-Mine": "1", "Content-Type": "application/json", "Micro-Topic": "a.b"})

    async def test_go_message(self) -> None:
        """A message as go-micro publishes it is understood."""
        broker = await self.broker()
        sub = contract.Collector()
        await broker.subscribe("t", sub, None, ANONYMOUS)
        self.server.route("t", "", b'{"Header":{"Content-Type":"application/json"},"Body":"eyJhIjoxfQ=="}')
        await self.until(lambda: sub.messages)
        self.assertEqual(sub.messages, [Message({"Content-Type": "application/json"}, b'{"a":1}')])

    async def test_foreign(self) -> None:
        """A payload that is not go-micro's envelope reaches subscribers as its own bytes."""
        broker = await self.broker()
        sub = contract.Collector()
        await broker.subscribe("t", sub, None, ANONYMOUS)
        event = b'{"ID":"1","Topic":"t","Timestamp":"2026-11-25T10:00:00Z","Metadata":null,"Payload":"eyJhIjoxfQ=="}'
        foreign = [b'{"orderId":42}', event, b"", b"nonsense", b"[]", b'{"Body":"!"}', b'{"Header":3}', b"\xff" * 100]
        for payload in foreign:
            self.server.route("t", "", payload)
        self.server.route("t", "", b'{"Header":null,"Body":"eA=="}')
        await self.until(lambda: sub.has(len(foreign) + 1))
        self.assertEqual(sub.bodies, [*foreign, b"x"])
        header = {"Content-Type": "application/json", "Micro-Topic": "t"}
        self.assertEqual(sub.messages[0], Message(header, b'{"orderId":42}'))

    async def test_one_subscription_a_topic(self) -> None:
        """However many hear a topic here, the server sends each message once; the last to leave ends it."""
        broker = await self.broker()
        places = [await broker.subscribe("t", contract.Collector(), None, ANONYMOUS) for _ in range(5)]
        (connection,) = self.server.connections
        self.assertEqual(len(connection.subscriptions), 1)
        for place in places:
            await place.cancel()
        await broker.publish("t", Message({}, b""), ANONYMOUS)
        self.assertEqual(len(connection.subscriptions), 0)

    async def test_outage(self) -> None:
        """While the server is away publishes fail and subscriptions are taken; all is well when it is back."""
        broker = await self.broker()
        before, during = contract.Collector(), contract.Collector()
        await broker.subscribe("t", before, "q", ANONYMOUS)
        await self.server.stop()
        await self.until(lambda: not broker.state().connected)
        self.assertTrue(broker.state().detail)
        await self.assertFailure(broker.publish("t", Message({}, b"lost"), ANONYMOUS), EngineUnavailable)
        await broker.subscribe("t", during, None, ANONYMOUS)
        self.server.start()
        await self.until(lambda: broker.state().connected)
        await broker.publish("t", Message({}, b"found"), ANONYMOUS)
        await self.until(lambda: before.messages and during.messages)
        self.assertEqual((before.bodies, during.bodies), ([b"found"], [b"found"]))

    async def test_too_large(self) -> None:
        """A message over the server's limit is refused, with the limit, and costs nobody the connection."""
        self.server.max_payload = 1000
        broker = await self.broker()
        await self.assertFailure(broker.publish("t", Message({}, b"x" * 1000), ANONYMOUS), TooLarge)
        await broker.publish("t", Message({}, b"x" * 100), ANONYMOUS)
