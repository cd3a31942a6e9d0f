"""go-micro's events over JetStream: the contracts over a fake server and the real one, and what is theirs alone."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

from twisted.internet import reactor as installed
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import SynchronousTestCase, TestCase

from sidecar.broker.nats import build
from sidecar.errors import BadRequest, EngineUnavailable, NotFound, SidecarError, TopicInvalid
from sidecar.interfaces import IDelivery
from sidecar.model import ANONYMOUS, BackendOptions, Caller, Message, PublishOptions, SubscribeOptions
from sidecar.test.contracts import broker as contract
from sidecar.test.contracts import durable
from sidecar.test.contracts.broker import JSON
from sidecar.test.contracts.durable import Taker
from sidecar.test.doubles.programs import process
from sidecar.test.doubles.servers.jetstream import FakeJetStream
from sidecar.wire.broker import natsjs

reactor: Any = installed
_numbers = count(1)

EVENTS = PublishOptions(events=True)


async def sleep(seconds: float) -> None:
    await deferLater(reactor, seconds, lambda: None)


async def until(check: Any, patience: float = 30.0) -> None:
    deadline = reactor.seconds() + patience
    while not check():
        assert reactor.seconds() < deadline, f"not within {patience} s"
        await sleep(0.01)


async def started(test: TestCase, port: int, create: bool = True) -> Any:
    """A broker at the server on ``port``, connected, stopped when the test is over."""
    broker: Any = build(BackendOptions(reactor, (f"127.0.0.1:{port}",), events_create=create))
    broker.startService()
    test.addCleanup(broker.stopService)
    await until(lambda: broker.state().connected)
    return broker


class EventsAsMessages:
    """A broker whose messages are events, for the contract of all brokers."""

    def __init__(self, broker: Any) -> None:
        self._broker = broker
        self.state, self.stopService = broker.state, broker.stopService

    def publish(self, topic: str, message: Message, caller: Caller) -> Deferred[None]:
        publishing: Deferred[None] = self._broker.publish_with(topic, message, EVENTS, caller)
        return publishing

    def subscribe(
        self, topic: str, deliver: Callable[[str, Message], None], queue: str | None, caller: Caller
    ) -> Deferred[Any]:
        def take(delivery: IDelivery) -> None:
            delivery.ack()
            deliver(delivery.topic, delivery.message)

        consuming: Deferred[Any] = self._broker.consume(topic, take, SubscribeOptions(queue, events=True), caller)
        return consuming


class OnFake:
    """Mix in: each test has a server of its own, in this process."""

    def setUp(self) -> None:
        self.server = FakeJetStream(reactor)
        self.server.start()
        self.port = self.server.port
        self.addCleanup(self.server.stop)  # type: ignore[attr-defined]


class OnReal:
    """Mix in: each test has a real server of its own."""

    skip = process.missing("nats-server")

    def setUp(self) -> None:
        self.port = process.free_port()
        server = process.start_nats(self.port, ["-js", "-sd", "data"])
        self.addCleanup(server.stop)  # type: ignore[attr-defined]


class MessagesContract(contract.SharedBrokerContract):
    port: int
    bystander = "azz"

    async def _broker(self) -> Any:
        return EventsAsMessages(await started(self, self.port))

    _peer = _broker


class OverFake(OnFake, MessagesContract):
    """The contract of all brokers, over a fake server."""


class OverReal(OnReal, MessagesContract):
    """The contract of all brokers, over the real server."""


del MessagesContract  # trial runs every TestCase that it finds


class Lasting(durable.DurableContract):
    port: int
    kept = SubscribeOptions("kept", ack=True, events=True)
    asked = EVENTS

    async def make_broker(self) -> Any:
        return await started(self, self.port)


class DurableOverFake(OnFake, Lasting):
    """The contract of what lasts, over a fake server."""


class DurableOverReal(OnReal, Lasting):
    """The contract of what lasts, over the real server."""


del Lasting


class Codec(SynchronousTestCase):
    def test_round_trip(self) -> None:
        """An event is go-micro's JSON, its time in RFC 3339 with nanoseconds; read back it is the message."""
        payload = natsjs.encode(Message({"A": "b"}, b'{"a":1}'), "t", "id", 1700000000.25)
        event = json.loads(payload)
        self.assertEqual(event["Timestamp"], "2023-11-14T22:13:20.250000000Z")
        self.assertEqual((event["ID"], event["Topic"], event["Payload"]), ("id", "t", "eyJhIjoxfQ=="))
        header = {
            "A": "b",
            "Content-Type": "application/json",
            "Micro-Topic": "t",
            "Micro-Id": "id",
            "Micro-Timestamp": "2023-11-14T22:13:20.250000000Z",
        }
        self.assertEqual(natsjs.decode(payload, "t"), Message(header, b'{"a":1}'))

    def test_gos(self) -> None:
        """What go-micro writes without metadata is understood."""
        read = natsjs.decode(b'{"ID":"1","Topic":"t","Timestamp":"","Metadata":null,"Payload":"eA=="}', "t")
        self.assertEqual((read.body, read.header["Micro-Id"]), (b"x", "1"))

    def test_malformed(self) -> None:
        """What is no event is refused."""
        for payload in (
            b"",
            b"[]",
            b"{}",
            b'{"Payload":"!"}',
            b'{"Payload":3}',
            b'{"Payload":"","Metadata":[1]}',
            b"\xff",
        ):
            self.assertRaises(BadRequest, natsjs.decode, payload, "t")

    def test_deliveries(self) -> None:
        """The count of deliveries is read from old and new servers' subjects."""
        self.assertEqual(natsjs.deliveries("$JS.ACK.s.c.2.7.8.9.0"), 2)
        self.assertEqual(natsjs.deliveries("$JS.ACK._.hash.s.c.3.7.8.9.0.x"), 3)
        self.assertEqual(natsjs.deliveries("_INBOX.x"), 1)


class Promises:
    """What holds of events alone, on both servers. Mix in after ``OnFake`` or ``OnReal``."""

    port: int

    async def test_missing_stream(self) -> None:
        """Without a stream and the leave to make one, both sides say what is missing and what makes it."""
        broker = await started(self, self.port, create=False)  # type: ignore[arg-type]
        for attempt in (
            lambda: broker.publish_with("orders", Message(JSON, b"1"), EVENTS, ANONYMOUS),
            lambda: broker.consume("orders", Taker(), SubscribeOptions(events=True), ANONYMOUS),
        ):
            try:
                await attempt()
                raise AssertionError("it was taken")
            except NotFound as error:  # noqa: PERF203
                assert "--broker_events_create" in error.detail and "orders" in error.detail

    async def test_made_by_another(self) -> None:
        """A stream that somebody else made serves those who may make none."""
        maker = await started(self, self.port)  # type: ignore[arg-type]
        broker = await started(self, self.port, create=False)  # type: ignore[arg-type]
        taker = Taker()
        await maker.consume("orders", Taker(), SubscribeOptions(events=True), ANONYMOUS)
        await broker.consume("orders", taker, SubscribeOptions("g", events=True), ANONYMOUS)
        await broker.publish_with("orders", Message(JSON, b"1"), EVENTS, ANONYMOUS)
        await until(lambda: taker.deliveries)

    async def test_names(self) -> None:
        """What JetStream cannot name is refused in words."""
        broker = await started(self, self.port)  # type: ignore[arg-type]
        for topic, queue in (("a.b", None), ("orders", "a.b")):
            try:
                await broker.consume(topic, Taker(), SubscribeOptions(queue, events=True), ANONYMOUS)
                raise AssertionError("it was taken")
            except TopicInvalid as error:  # noqa: PERF203
                assert "a.b" in error.detail

    async def test_no_acknowledging_messages(self) -> None:
        """Messages that are no events cannot be acknowledged on NATS: it says what can."""
        broker = await started(self, self.port)  # type: ignore[arg-type]
        try:
            await broker.consume("t", Taker(), SubscribeOptions(ack=True), ANONYMOUS)
            raise AssertionError("it was taken")
        except BadRequest as error:
            assert "events=1" in error.detail and "rabbitmq" in error.detail

    async def test_not_enabled(self) -> None:
        """A server without JetStream is told of in words."""
        port = process.free_port()
        server = FakeJetStream(reactor, port=port, enabled=False)
        server.start()
        self.addCleanup(server.stop)  # type: ignore[attr-defined]
        broker = await started(self, port)  # type: ignore[arg-type]
        try:
            await broker.publish_with("t", Message(JSON, b"1"), EVENTS, ANONYMOUS)
            raise AssertionError("it was taken")
        except EngineUnavailable as error:
            assert "-js" in error.detail


class PromisesOnFake(OnFake, Promises, TestCase):
    timeout = 60

    async def test_what_is_no_event(self) -> None:
        """What is no event is skipped and acknowledged; the next one comes."""
        broker = await started(self, self.port)
        taker = Taker()
        await broker.consume("t", taker, SubscribeOptions("g", events=True), ANONYMOUS)
        self.server.route("t", "", b"nonsense")
        await broker.publish_with("t", Message(JSON, b"1"), EVENTS, ANONYMOUS)
        await until(lambda: taker.deliveries)
        self.assertEqual(taker.bodies, [b"1"])

    async def test_consumer_lost(self) -> None:
        """A consumer that the server lost with a restart is made anew."""
        broker = await started(self, self.port)
        taker = Taker()
        await broker.consume("t", taker, SubscribeOptions("g", events=True), ANONYMOUS)
        await self.server.stop()
        self.server.consumers.clear()
        await until(lambda: not broker.state().connected)
        failing = broker.publish_with("t", Message(JSON, b"lost"), EVENTS, ANONYMOUS)
        await self.assertFailure(failing, EngineUnavailable)
        self.server.start()
        await until(lambda: self.server.consumers)
        await until(lambda: any("g" in each for c in self.server.connections for each in c.subscriptions.values()))
        await broker.publish_with("t", Message(JSON, b"found"), EVENTS, ANONYMOUS)
        await until(lambda: taker.deliveries)
        self.assertEqual(taker.bodies, [b"found"])


class PromisesOnReal(OnReal, Promises, TestCase):
    timeout = 60


class Outage(TestCase):
    """The real server is killed and started again under traffic."""

    timeout = 120
    skip = process.missing("nats-server")

    async def test_nothing_is_lost(self) -> None:
        """Every event that was confirmed reaches the group, over kills of the server, whoever listens meanwhile."""
        port = process.free_port()
        home = Path(tempfile.mkdtemp(prefix="nats-"))
        self.addCleanup(shutil.rmtree, home)
        arguments = ["-js", "-sd", "data"]
        running = [process.start_nats(port, arguments, home)]
        self.addCleanup(lambda: running[0].stop())
        broker = await started(self, port)
        kept = Taker()
        place = await broker.consume("t", kept, SubscribeOptions("kept", ack=True, events=True), ANONYMOUS)
        taken: list[bytes] = []
        numbers = count()
        stop = False

        async def traffic() -> None:
            while not stop:
                body = b"%d" % next(numbers)
                try:
                    await broker.publish_with("t", Message(JSON, body), EVENTS, ANONYMOUS)
                    taken.append(body)
                except SidecarError:
                    await sleep(0.05)

        going = [contract.run(traffic()) for _ in range(4)]
        for away in (False, True):
            before = len(taken)
            await until(lambda before=before: len(taken) > before + 50)
            if away:
                await place.cancel()  # nobody listens while it happens
            before = len(taken)
            running[0].kill()
            await until(lambda: not broker.state().connected)
            running[0] = await deferToThread(process.start_nats, port, arguments, home)
            await until(lambda before=before: len(taken) > before + 50)
        stop = True
        await gatherResults(going)
        await broker.consume("t", kept, SubscribeOptions("kept", ack=True, events=True), ANONYMOUS)
        await broker.publish_with("t", Message(JSON, b"last"), EVENTS, ANONYMOUS)
        await until(lambda: set(taken) | {b"last"} <= set(kept.bodies), 45.0)
