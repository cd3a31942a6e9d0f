"""The RabbitMQ broker: the contracts over a fake server and over the real one, and what only it can promise."""

from __future__ import annotations

import sys
import tempfile
from itertools import count
from pathlib import Path
from typing import Any

from twisted.internet import reactor as installed
from twisted.internet.defer import gatherResults
from twisted.internet.task import Clock, deferLater
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import SynchronousTestCase, TestCase

from sidecar.broker import redis as redis_broker
from sidecar.broker.rabbitmq.broker import build
from sidecar.errors import BadRequest, ConfigError, EngineUnavailable, NoSubscriber, SidecarError, TopicInvalid
from sidecar.model import ANONYMOUS, BackendOptions, Message, PublishOptions, SubscribeOptions
from sidecar.net.amqp.access import AmqpAddress, parse_address
from sidecar.net.errors import InvalidSetting
from sidecar.test.contracts import broker as contract
from sidecar.test.contracts import durable
from sidecar.test.contracts.broker import JSON, Collector
from sidecar.test.contracts.durable import Taker
from sidecar.test.doubles import certificates
from sidecar.test.doubles.programs import process
from sidecar.test.doubles.servers.rabbitmq import FakeRabbit
from sidecar.test.doubles.servers.redis import FakeRedis
from sidecar.wire.broker import rabbitmq

reactor: Any = installed
_numbers = count(1)


async def sleep(seconds: float) -> None:
    await deferLater(reactor, seconds, lambda: None)


async def until(check: Any, patience: float = 40.0) -> None:
    deadline = reactor.seconds() + patience
    while not check():
        assert reactor.seconds() < deadline, f"not within {patience} s"
        await sleep(0.01)


async def started(test: TestCase, *addresses: str) -> Any:
    """A broker at ``addresses``, connected, stopped when the test is over."""
    broker: Any = build(BackendOptions(reactor, addresses))
    broker.startService()
    test.addCleanup(broker.stopService)
    await until(lambda: broker.state().connected)
    return broker


class OnFake:
    """Mix in: each test has a server of its own, in this process."""

    def setUp(self) -> None:
        self.server = FakeRabbit(reactor)
        self.server.start()
        self.addCleanup(self.server.stop)  # type: ignore[attr-defined]

    async def _broker(self) -> Any:
        return await started(self, f"127.0.0.1:{self.server.port}")  # type: ignore[arg-type]

    make_broker: Any = _broker
    _peer: Any = _broker


class OnReal:
    """Mix in: the real server, shared by all tests: what lasts is deleted after each."""

    skip = process.missing("rabbitmq-server", "epmd")

    async def _broker(self) -> Any:
        self.port = await deferToThread(process.shared, "rabbitmq", process.start_rabbitmq)
        return await started(self, f"127.0.0.1:{self.port}")  # type: ignore[arg-type]

    make_broker: Any = _broker
    _peer: Any = _broker


class OverFake(OnFake, contract.SharedBrokerContract):
    """The contract, our client over a fake server."""


class OverReal(OnReal, contract.SharedBrokerContract):
    """The contract, our client over the real server."""


class DurableOverFake(OnFake, durable.DurableContract):
    """The contract of durable subscriptions, over a fake server."""

    kept = SubscribeOptions(durable="kept", ack=True)


class DurableOverReal(OnReal, durable.DurableContract):
    """The contract of durable subscriptions, over the real server."""

    def setUp(self) -> None:
        self.kept = SubscribeOptions(durable=f"kept.{next(_numbers)}", ack=True)


class Names(SynchronousTestCase):
    def test_addresses(self) -> None:
        """An address is host:port with or without a scheme; what a URL says more is taken; else it is refused."""
        cases = {
            "127.0.0.1": AmqpAddress("127.0.0.1", 5672),
            "rabbit:5673": AmqpAddress("rabbit", 5673),
            "[::1]:5673": AmqpAddress("::1", 5673),
            "amqp://rabbit": AmqpAddress("rabbit", 5672),
            "amqps://rabbit/": AmqpAddress("rabbit", 5671, True),
            "amqp://u%40x:p%2Fq@rabbit:1/%2Fv": AmqpAddress("rabbit", 1, False, "/v", "u@x", "p/q"),
            "amqp://rabbit/v": AmqpAddress("rabbit", 5672, False, "v"),
        }
        for text, address in cases.items():
            self.assertEqual(parse_address(text), address, text)
        for text in (
            "http://rabbit",
            "rabbit:none",
            "rabbit:0",
            "",
            "amqp://",
            "amqp://h/a/b",
            "amqp://h?x=1",
            "größe",
        ):
            self.assertRaises(InvalidSetting, parse_address, text)
        error = self.assertRaises(InvalidSetting, parse_address, "amqp://me:secret@rabbit:none")
        self.assertNotIn("secret", str(error))

    def test_patterns(self) -> None:
        """``*`` is one word, ``#`` any number of them; within a word they mean nothing."""
        for pattern, topic, wanted in [
            ("w.*", "w.x", True),
            ("w.*", "w.x.y", False),
            ("w.*", "w", False),
            ("w.#", "w", True),
            ("w.#", "w.x.y", True),
            ("#", "", True),
            ("#.y", "w.x.y", True),
            ("#.x.#", "w.x.y", True),
            ("#.z.#", "w.x.y", False),
            ("a*", "ab", False),
            ("a*", "a*", True),
            ("*.#.*", "a", False),
            ("*.#.*", "a.b", True),
        ]:
            self.assertEqual(rabbitmq.matches(pattern, topic), wanted, f"{pattern} {topic}")
        self.assertEqual([rabbitmq.is_pattern(each) for each in ("a.b", "a*", "a.*", "#")], [False, False, True, True])

    def test_headers(self) -> None:
        """What comes in AMQP's types is text afterwards, as in Go, with the topic where nobody said it."""
        read = {"a": "1", "b": "true", "c": "\ufffd", "d": "<nil>", "e": "x"}
        given = {"a": 1, "b": True, "c": b"\xff", "d": None, "e": "x"}
        self.assertEqual(
            rabbitmq.message(given, b"x", "t", "text/plain"),
            Message({**read, "Micro-Topic": "t", "Content-Type": "text/plain"}, b"x"),
        )
        self.assertRaises(BadRequest, rabbitmq.headers, Message({"x" * 256: ""}, b""))
        self.assertRaises(BadRequest, rabbitmq.headers, Message({"x": "\ud800"}, b""))

    def test_build(self) -> None:
        """What cannot work fails before anything starts."""
        for options in (
            BackendOptions(Clock(), ("127.0.0.1:none",)),
            BackendOptions(Clock(), ca_file="/nowhere"),
            BackendOptions(Clock(), token="t"),
        ):
            self.assertRaises(InvalidSetting, build, options)


class Promises:
    """What RabbitMQ alone can do, on both servers. Mix in after ``OnFake`` or ``OnReal``."""

    async def make_broker(self) -> Any:
        raise NotImplementedError

    def _name(self) -> str:
        return f"name.{next(_numbers)}"

    async def test_mandatory(self) -> None:
        """A message that must reach somebody is refused where nobody is, among many others too, and taken else."""
        broker = await self.make_broker()
        topic = self._name()
        mandatory = PublishOptions(mandatory=True)
        lost = broker.publish_with(topic, Message(JSON, b"0"), mandatory, ANONYMOUS)
        others = [broker.publish(topic, Message(JSON, b"1"), ANONYMOUS) for _ in range(50)]
        try:
            await lost
            raise AssertionError("nobody was there, and it was taken")
        except NoSubscriber as error:
            assert topic in error.detail
        await gatherResults(others)
        ear = Collector()
        await broker.subscribe(topic, ear, None, ANONYMOUS)
        await broker.publish_with(topic, Message(JSON, b"2"), mandatory, ANONYMOUS)
        await until(lambda: ear.messages)
        assert ear.bodies == [b"2"]

    async def test_group_exists(self) -> None:
        """A group that is not durable cannot be made so while it lives, nor the other way round: both say so."""
        broker = await self.make_broker()
        topic, group, lasting = self._name(), self._name(), self._name()
        member = Collector()
        await broker.subscribe(topic, member, group, ANONYMOUS)
        for attempt, words in (
            (lambda: broker.consume(topic, Taker(), SubscribeOptions(group, group), ANONYMOUS), "is not durable"),
            (lambda: broker.subscribe(topic, Collector(), lasting, ANONYMOUS), "is durable"),
        ):
            if "not" not in words:
                place = await broker.consume(topic, Taker(), SubscribeOptions(None, lasting), ANONYMOUS)
                await place.cancel()
            try:
                await attempt()
                raise AssertionError("it was taken")
            except TopicInvalid as error:
                assert words in error.detail, error.detail
        await broker.publish(topic, Message(JSON, b"1"), ANONYMOUS)
        await until(lambda: member.messages)

    async def test_names_that_differ(self) -> None:
        """A durable queue of one name and a group of another do not go together."""
        broker = await self.make_broker()
        try:
            await broker.consume("t", Taker(), SubscribeOptions("group", "kept"), ANONYMOUS)
            raise AssertionError("it was taken")
        except BadRequest as error:
            assert "queue=group" in error.detail

    async def test_one_group_on_two_topics(self) -> None:
        """Members of one group on two topics, here and at another sidecar, each get their own topic's messages."""
        here, there = await self.make_broker(), await self.make_broker()
        group, first, second = self._name(), self._name(), self._name()
        ears = {first: Collector(), second: Collector()}
        await here.subscribe(first, ears[first], group, ANONYMOUS)
        await there.subscribe(second, ears[second], group, ANONYMOUS)
        for number in range(20):
            await here.publish(first, Message(JSON, b"f%d" % number), ANONYMOUS)
            await here.publish(second, Message(JSON, b"s%d" % number), ANONYMOUS)
        await until(lambda: all(len(ear.messages) >= 20 for ear in ears.values()))
        for topic, ear in ears.items():
            assert len(ear.messages) == 20 and set(ear.topics) == {topic}, (ear.topics, ear.bodies)

    async def test_patterns_heard(self) -> None:
        """A subscription may be a pattern, as with go-micro's plugin; each subscriber gets a message once."""
        broker = await self.make_broker()
        word = self._name()
        pattern, exact, other = Collector(), Collector(), Collector()
        await broker.subscribe(f"{word}.*", pattern, None, ANONYMOUS)
        await broker.subscribe(f"{word}.x", exact, None, ANONYMOUS)
        await broker.subscribe(f"{word}.*", other, f"{word}.q", ANONYMOUS)
        for topic in (f"{word}.x", f"{word}.x.y", f"{word}.y"):
            await broker.publish(topic, Message(JSON, topic[-1:].encode()), ANONYMOUS)
        await until(lambda: len(pattern.messages) == 2 and len(other.messages) == 2 and exact.messages)
        assert (pattern.bodies, exact.bodies, other.bodies) == ([b"x", b"y"], [b"x"], [b"x", b"y"])
        assert pattern.topics == [f"{word}.x", f"{word}.y"]

    async def test_ack_in_a_group(self) -> None:
        """A member that acknowledges and leaves gives what it did not to those that stay."""
        broker = await self.make_broker()
        topic, group = self._name(), self._name()
        lazy, stays = Taker(acks=False), Taker()
        place = await broker.consume(topic, lazy, SubscribeOptions(group, None, True), ANONYMOUS)
        await broker.publish(topic, Message(JSON, b"1"), ANONYMOUS)
        await until(lambda: lazy.deliveries)
        await broker.consume(topic, stays, SubscribeOptions(group, None, True), ANONYMOUS)
        await place.cancel()
        await until(lambda: stays.deliveries)
        assert stays.bodies == [b"1"] and stays.deliveries[0].redelivered

    async def test_ack_alone(self) -> None:
        """Who acknowledges without a group hears everything, as others do."""
        broker = await self.make_broker()
        topic = self._name()
        alone, plain = Taker(), Collector()
        await broker.consume(topic, alone, SubscribeOptions(ack=True), ANONYMOUS)
        await broker.subscribe(topic, plain, None, ANONYMOUS)
        for number in range(300):  # more than may wait for acknowledgement
            await broker.publish(topic, Message(JSON, b"%d" % number), ANONYMOUS)
        await until(lambda: len(alone.deliveries) == 300 and len(plain.messages) == 300)
        assert alone.bodies == plain.bodies


class PromisesOnFake(OnFake, Promises, TestCase):
    timeout = 60


class PromisesOnReal(OnReal, Promises, TestCase):
    timeout = 120


class OnTheWire(OnFake, TestCase):
    """What goes over the wire, and what becomes of it when the server does what it should not."""

    timeout = 60

    async def test_message(self) -> None:
        """A message is its body, persistent, with the universal header as AMQP headers and nothing else."""
        broker: Any = await self.make_broker()
        await broker.publish("a.b", Message({"X-Mine": "1"}, b'{"a":1}'), ANONYMOUS)
        (sent,) = self.server.published
        headers = dict(sent.properties.headers)
        self.assertEqual(len(headers.pop("Micro-Id")), 36)
        self.assertEqual(headers, {"X-Mine": "1", "Content-Type": "application/json", "Micro-Topic": "a.b"})
        self.assertEqual((sent.key, sent.body, sent.properties.delivery_mode), ("a.b", b'{"a":1}', 2))
        self.assertIsNone(sent.properties.content_type)

    async def test_exchanges(self) -> None:
        """go-micro's exchange is not durable, ours is, and what we publish goes on to go-micro's."""
        await self.make_broker()
        self.assertEqual(self.server.exchanges, {"micro": False, "microsidecar": True})
        self.assertIn(("exchange", "micro", "microsidecar", "#"), self.server.bindings)

    async def test_a_durable_exchange(self) -> None:
        """Where somebody made go-micro's exchange durable, it is used as it is."""
        self.server.exchanges["micro"] = True
        broker: Any = await self.make_broker()
        ear = Collector()
        await broker.subscribe("t", ear, None, ANONYMOUS)
        await broker.publish("t", Message(JSON, b"1"), ANONYMOUS)
        await until(lambda: ear.messages)

    async def test_declared_before_published(self) -> None:
        """After a reconnect everything that stood is there before the first message is published."""
        broker: Any = await self.make_broker()
        kept = Taker()
        place = await broker.consume("t", kept, SubscribeOptions(durable="kept"), ANONYMOUS)
        await place.cancel()
        await broker.consume("t", Taker(), SubscribeOptions(durable="held"), ANONYMOUS)
        ears = [Collector(), Collector()]
        await broker.subscribe("t", ears[0], None, ANONYMOUS)
        await broker.subscribe("t", ears[1], "group", ANONYMOUS)
        await self.server.stop()
        await until(lambda: not broker.state().connected)
        self.server.log.clear()
        await self.assertFailure(broker.publish("t", Message(JSON, b"lost"), ANONYMOUS), EngineUnavailable)
        self.server.start()
        await until(lambda: broker.state().connected)
        await broker.publish("t", Message(JSON, b"found"), ANONYMOUS)
        await until(lambda: all(ear.messages for ear in ears))
        first = self.server.log.index("publish microsidecar t")
        for wanted in (
            "exchange micro",
            "exchange microsidecar",
            "bind kept micro t",
            "bind held micro t",
            "queue group",
        ):
            self.assertLess(self.server.log.index(wanted), first, wanted)
        self.assertEqual([ear.bodies for ear in ears], [[b"found"], [b"found"]])
        self.assertEqual([stored.body for stored in self.server.queues["kept"].messages], [b"found"])

    async def test_subscribed_while_away(self) -> None:
        """With no server in reach a plain subscription is taken and is live later; a durable one is refused."""
        broker: Any = await self.make_broker()
        await self.server.stop()
        await until(lambda: not broker.state().connected)
        self.assertTrue(broker.state().detail)
        ear, member = Collector(), Collector()
        await broker.subscribe("t", ear, None, ANONYMOUS)
        await broker.subscribe("t", member, "q", ANONYMOUS)
        failing = broker.consume("t", Taker(), SubscribeOptions(durable="d"), ANONYMOUS)
        await self.assertFailure(failing, EngineUnavailable)
        self.server.start()
        await until(lambda: broker.state().connected)
        await broker.publish("t", Message(JSON, b"1"), ANONYMOUS)
        await until(lambda: ear.messages and member.messages)

    async def test_nobody_confirms(self) -> None:
        """A message that the server does not confirm fails within the time for that."""
        clock = Clock()
        broker: Any = await self.make_broker()
        broker._publisher._clock = clock
        self.server.silent = True
        publishing = broker.publish("t", Message(JSON, b"1"), ANONYMOUS)
        clock.advance(10.1)
        await self.assertFailure(publishing, EngineUnavailable)
        broker._publisher._clock = reactor

    async def test_wrong_password(self) -> None:
        """Who is not let in is told so in words, without the password."""
        broker: Any = build(BackendOptions(reactor, (f"amqp://me:secret@127.0.0.1:{self.server.port}",)))
        broker.startService()
        self.addCleanup(broker.stopService)
        await until(lambda: "user name" in broker.state().detail)
        self.assertNotIn("secret", broker.state().detail)

    async def test_several_addresses(self) -> None:
        """The next address is tried where one does not answer."""
        broker = await started(self, f"127.0.0.1:{process.free_port()}", f"127.0.0.1:{self.server.port}")
        await broker.publish("t", Message(JSON, b"1"), ANONYMOUS)

    async def test_queue_deleted(self) -> None:
        """A queue that somebody deletes is declared again, and its subscribers hear on."""
        broker: Any = await self.make_broker()
        ear, member = Collector(), Collector()
        await broker.subscribe("t", ear, None, ANONYMOUS)
        await broker.subscribe("t", member, "q", ANONYMOUS)
        for queue in list(self.server.queues.values()):
            self.server.delete(queue)
        await until(lambda: sum(len(queue.consumers) for queue in self.server.queues.values()) == 2)
        await broker.publish("t", Message(JSON, b"1"), ANONYMOUS)
        await until(lambda: ear.messages and member.messages)

    async def test_exchange_deleted(self) -> None:
        """An exchange that somebody deletes costs the messages of the moment, which fail, and is declared again."""
        broker: Any = await self.make_broker()
        del self.server.exchanges["microsidecar"]
        await self.assertFailure(broker.publish("t", Message(JSON, b"1"), ANONYMOUS), EngineUnavailable)
        await until(lambda: "microsidecar" in self.server.exchanges and broker.state().connected)
        await broker.publish("t", Message(JSON, b"2"), ANONYMOUS)

    async def test_gone_before_it_answers(self) -> None:
        """Who no longer wants a subscription before it is there leaves nothing behind."""
        broker: Any = await self.make_broker()
        for asking in (
            broker.subscribe("t", Collector(), "q", ANONYMOUS),
            broker.consume("t", Taker(), SubscribeOptions(durable="d"), ANONYMOUS),
        ):
            asking.addErrback(lambda _: None)
            asking.cancel()
        await until(lambda: "d" in self.server.queues and not self.server.queues["d"].consumers)
        await until(lambda: "q" not in self.server.queues)


class Outage(TestCase):
    """The real server is killed and started again under traffic."""

    timeout = 170
    skip = process.missing("rabbitmq-server", "epmd")

    async def test_nothing_is_lost(self) -> None:
        """Whatever was confirmed reaches the durable subscription, over kills of the server; plain ones hear again."""
        port = process.free_port()
        home = Path(tempfile.mkdtemp(prefix="rabbitmq-"))
        program = await deferToThread(process.start_rabbitmq, port, home)
        running = [program]
        self.addCleanup(lambda: running[0].stop())
        broker = await started(self, f"127.0.0.1:{port}")
        kept, ear = Taker(), Collector()
        place = await broker.consume("t", kept, SubscribeOptions(durable="kept", ack=True), ANONYMOUS)
        await broker.subscribe("t", ear, None, ANONYMOUS)
        taken: list[bytes] = []
        numbers = count()
        stop = False

        async def traffic() -> None:
            while not stop:
                body = b"%d" % next(numbers)
                try:
                    await broker.publish("t", Message(JSON, body), ANONYMOUS)
                    taken.append(body)
                except SidecarError:
                    await sleep(0.05)

        going = [contract.run(traffic()) for _ in range(8)]
        for away in (False, True):
            await sleep(0.5)
            if away:
                await place.cancel()  # nobody listens while it happens
            before = len(taken)
            running[0].kill()
            await until(lambda: not broker.state().connected)
            running[0] = await deferToThread(process.start_rabbitmq, port, home)
            await until(lambda: broker.state().connected)
            await until(lambda before=before: len(taken) > before + 50)
        stop = True
        await gatherResults(going)
        heard_before = len(ear.messages)
        await broker.publish("t", Message(JSON, b"last"), ANONYMOUS)
        await broker.consume("t", kept, SubscribeOptions(durable="kept", ack=True), ANONYMOUS)
        await until(lambda: b"last" in kept.bodies and len(ear.messages) > heard_before)
        missing = set(taken) - set(kept.bodies)
        self.assertEqual(missing, set(), f"{len(missing)} of {len(taken)} confirmed messages are lost")


class Missing(SynchronousTestCase):
    """A broker whose library is not installed says which one to install, and by which extra."""

    def test_libraries(self) -> None:
        """The line that installs the library itself stands in the error, with the extra's name."""
        for library, factory, line, extra in (
            ("pika", build, "pip install 'pika>=1.3'", "microsidecar[rabbitmq]"),
            ("redis", redis_broker.build, "pip install 'redis>=5.1'", "microsidecar[redis]"),
        ):
            self.patch(sys, "modules", {**sys.modules, library: None})
            error = self.assertRaises((ConfigError, InvalidSetting), factory, BackendOptions(Clock()))
            self.assertIn(line, str(error))
            self.assertIn(extra, str(error))


class OverTls(TestCase):
    """TLS is verified by the authority that was named, or there is no connection."""

    timeout = 60

    def setUp(self) -> None:
        self.home = Path(self.mktemp())
        self.home.mkdir()

    async def _try(self, server: Any, factory: Any, scheme: str) -> None:
        authority = certificates.authority(self.home)
        server.certificate = authority.issue("127.0.0.1")
        server.start()
        self.addCleanup(server.stop)
        address = f"{scheme}://127.0.0.1:{server.port}"
        trusting: Any = factory(BackendOptions(reactor, (address,), ca_file=authority.ca_file))
        wary: Any = factory(BackendOptions(reactor, (address,)))
        for broker in (trusting, wary):
            broker.startService()
            self.addCleanup(broker.stopService)
        await until(lambda: trusting.state().connected)
        await trusting.publish("t", Message(JSON, b"1"), ANONYMOUS)
        await until(lambda: "certificate" in wary.state().detail.lower())
        self.assertFalse(wary.state().connected)

    async def test_rabbitmq(self) -> None:
        """RabbitMQ: a server that the named authority vouches for is spoken to, any other is not."""
        await self._try(FakeRabbit(reactor), build, "amqps")

    async def test_redis(self) -> None:
        """Redis likewise."""
        await self._try(FakeRedis(reactor), redis_broker.build, "rediss")
