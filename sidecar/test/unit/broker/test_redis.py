"""The Redis broker: the contract over a fake server and over the real one, and what only it can promise."""

from __future__ import annotations

import json
from typing import Any

from twisted.internet import reactor as installed
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock, deferLater
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import SynchronousTestCase, TestCase

from sidecar.broker.redis import build
from sidecar.errors import EngineUnavailable
from sidecar.model import ANONYMOUS, BackendOptions, Message
from sidecar.net.errors import InvalidSetting
from sidecar.net.redis.access import RedisAddress, parse_address
from sidecar.test.contracts import broker as contract
from sidecar.test.contracts.broker import JSON, Collector
from sidecar.test.doubles.programs import process
from sidecar.test.doubles.servers.redis import FakeRedis

reactor: Any = installed


async def sleep(seconds: float) -> None:
    await deferLater(reactor, seconds, lambda: None)


async def until(check: Any, patience: float = 30.0) -> None:
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


class RedisContract(contract.SharedBrokerContract):
    """The contract, but for queues that span sidecars, which go-micro's plugin has none of."""

    def test_peers_share_queues(self) -> Deferred[None]:
        """A queue's members share within one sidecar; each sidecar with members gets every message."""

        async def test() -> None:
            here, there = await self._broker(), await self._peer()
            members = [Collector(), Collector(), Collector()]
            await here.subscribe("t", members[0], "q", ANONYMOUS)
            await here.subscribe("t", members[1], "q", ANONYMOUS)
            await there.subscribe("t", members[2], "q", ANONYMOUS)
            sent = [b"%d" % number for number in range(20)]
            for body in sent:
                await here.publish("t", Message(JSON, body), ANONYMOUS)
            await self.until(lambda: sum(len(member.messages) for member in members) >= 40, "all arrive")
            await self.quiet()
            self.assertEqual(sorted(members[0].bodies + members[1].bodies), sorted(sent))
            self.assertEqual((len(members[0].bodies), members[2].bodies), (10, sent))

        return contract.run(test())


class OverFake(RedisContract):
    """The contract, our client over a fake server."""

    def setUp(self) -> None:
        self.server = FakeRedis(reactor)
        self.server.start()
        self.addCleanup(self.server.stop)

    async def _broker(self) -> Any:
        return await started(self, f"127.0.0.1:{self.server.port}")

    _peer = _broker


class OverReal(RedisContract):
    """The contract, our client over the real server."""

    skip = process.missing("redis-server")

    def setUp(self) -> None:
        self.port = process.shared("redis", process.start_redis)

    async def _broker(self) -> Any:
        return await started(self, f"127.0.0.1:{self.port}")

    _peer = _broker


del RedisContract  # trial runs every TestCase that it finds


class Names(SynchronousTestCase):
    def test_addresses(self) -> None:
        """Host and port with or without a scheme; what a URL says more is taken; anything else is refused."""
        cases = {
            "127.0.0.1": RedisAddress("127.0.0.1"),
            "redis:6380": RedisAddress("redis", 6380),
            "me:p%40ss@[::1]:1": RedisAddress("::1", 1, False, "me", "p@ss"),
            "redis://:pass@redis/0": RedisAddress("redis", 6379, False, "", "pass"),
            "rediss://redis": RedisAddress("redis", 6379, True),
        }
        for text, address in cases.items():
            self.assertEqual(parse_address(text), address, text)
        for text in ("http://redis", "redis:none", "redis:0", "", "redis://h/x", "redis://h?x=1"):
            self.assertRaises(InvalidSetting, parse_address, text)
        error = self.assertRaises(InvalidSetting, parse_address, "me:secret@redis:none")
        self.assertNotIn("secret", str(error))

    def test_build(self) -> None:
        """What cannot work fails before anything starts."""
        for options in (
            BackendOptions(Clock(), ("127.0.0.1:none",)),
            BackendOptions(Clock(), ca_file="/nowhere"),
            BackendOptions(Clock(), token="t"),
        ):
            self.assertRaises(InvalidSetting, build, options)


class OnTheWire(TestCase):
    """What goes over the wire, and what becomes of it in trouble."""

    timeout = 60

    def setUp(self) -> None:
        self.server = FakeRedis(reactor)
        self.server.start()
        self.addCleanup(self.server.stop)

    async def broker(self) -> Any:
        return await started(self, f"127.0.0.1:{self.server.port}")

    async def test_message(self) -> None:
        """A message is go-micro's JSON on the topic's channel, with the universal header; Go's own is understood."""
        broker = await self.broker()
        heard = Collector()
        await broker.subscribe("t", heard, None, ANONYMOUS)
        await broker.publish("a.b", Message({"X-Mine": "1"}, b'{"a":1}'), ANONYMOUS)
        ((channel, payload),) = self.server.published
        sent = json.loads(payload)
        self.assertEqual((channel, sent["Body"]), (b"a.b", "eyJhIjoxfQ=="))
        self.assertEqual(sent["Header"]["Micro-Topic"], "a.b")
        self.server.publish(b"t", b'{"Header":{"Content-Type":"application/json"},"Body":"eyJhIjoxfQ=="}')
        await until(lambda: heard.messages)
        self.assertEqual(heard.messages, [Message({"Content-Type": "application/json"}, b'{"a":1}')])

    async def test_one_subscription_a_topic(self) -> None:
        """However many subscribe to a topic here, Redis sends each message once; the last to leave ends it."""
        broker = await self.broker()
        places = [await broker.subscribe("t", Collector(), None, ANONYMOUS) for _ in range(5)]
        self.assertEqual(self.server.publish(b"t", b"x"), 1)
        for place in places:
            await place.cancel()
        self.assertEqual(self.server.publish(b"t", b"x"), 0)

    async def test_outage(self) -> None:
        """While the server is away publishes fail and subscriptions are taken; all is well when it is back."""
        broker = await self.broker()
        before, during = Collector(), Collector()
        await broker.subscribe("t", before, None, ANONYMOUS)
        await self.server.stop()
        await until(lambda: not broker.state().connected)
        self.assertTrue(broker.state().detail)
        await self.assertFailure(broker.publish("t", Message({}, b"lost"), ANONYMOUS), EngineUnavailable)
        await broker.subscribe("u", during, None, ANONYMOUS)
        self.server.start()
        await until(lambda: broker.state().connected)
        for topic in ("t", "u"):
            await broker.publish(topic, Message({}, b"found"), ANONYMOUS)
        await until(lambda: before.messages and during.messages)
        self.assertEqual((before.bodies, during.bodies), ([b"found"], [b"found"]))

    async def test_frozen(self) -> None:
        """A server that hangs is noticed though nothing is published, and its subscribers are not deaf afterwards."""
        broker = await self.broker()
        heard = Collector()
        await broker.subscribe("t", heard, None, ANONYMOUS)
        self.server.frozen = True
        await until(lambda: not broker.state().connected)
        self.server.frozen = False
        await until(lambda: broker.state().connected)
        await broker.publish("t", Message({}, b"x"), ANONYMOUS)
        await until(lambda: heard.messages)

    async def test_password(self) -> None:
        """The password of the address is shown; a wrong one is told of in words, without it."""
        self.server.password = "open"
        right = await started(self, f":open@127.0.0.1:{self.server.port}")
        await right.publish("t", Message({}, b"x"), ANONYMOUS)
        wrong: Any = build(BackendOptions(reactor, (f":secret@127.0.0.1:{self.server.port}",)))
        wrong.startService()
        self.addCleanup(wrong.stopService)
        await until(lambda: "password" in wrong.state().detail)
        self.assertNotIn("secret", wrong.state().detail)

    async def test_several_addresses(self) -> None:
        """The next address is tried where one does not answer."""
        broker = await started(self, f"127.0.0.1:{process.free_port()}", f"127.0.0.1:{self.server.port}")
        await broker.publish("t", Message({}, b"x"), ANONYMOUS)


class Outage(TestCase):
    """The real server is killed and started again under traffic."""

    timeout = 120
    skip = process.missing("redis-server")

    async def test_killed(self) -> None:
        """Nobody hangs, and whoever was subscribed hears what is published after it came back; silence deafens none."""
        port = process.free_port()
        running = [process.start_redis(port)]
        self.addCleanup(lambda: running[0].stop())
        broker = await started(self, f"127.0.0.1:{port}")
        heard = Collector()
        await broker.subscribe("t", heard, None, ANONYMOUS)
        for round in range(2):
            await sleep(7.0)  # Go's own subscriber is deaf after five
            await broker.publish("t", Message(JSON, b"quiet %d" % round), ANONYMOUS)
            await until(lambda round=round: b"quiet %d" % round in heard.bodies)
            sent = [broker.publish("t", Message(JSON, b"x"), ANONYMOUS) for _ in range(100)]
            for one in sent:
                one.addErrback(lambda failure: failure.trap(EngineUnavailable) and None)
            running[0].kill()
            for one in sent:
                await one
            await until(lambda: not broker.state().connected)
            running[0].stop()
            running[0] = await deferToThread(process.start_redis, port)
            await until(lambda: broker.state().connected)
            await broker.publish("t", Message(JSON, b"back %d" % round), ANONYMOUS)
            await until(lambda round=round: b"back %d" % round in heard.bodies)
