"""The HTTP broker: the contract over a shared registry, and each dialect of go-micro's on either side."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, urlsplit

from twisted.internet import reactor as installed
from twisted.internet.defer import CancelledError, Deferred, fail, gatherResults
from twisted.internet.task import LoopingCall, deferLater
from twisted.trial.unittest import SynchronousTestCase, TestCase
from twisted.web import server
from twisted.web.resource import Resource

from sidecar.broker.http.broker import HttpBroker, build, name_problem
from sidecar.errors import ConfigError, EngineUnavailable, TooLarge
from sidecar.model import ANONYMOUS, UNSAID, BackendOptions, Caller, Cause, Message, Node, Service
from sidecar.net.client.fetcher import Fetcher
from sidecar.registry.memory import MemoryRegistry
from sidecar.test.contracts import broker as contract
from sidecar.test.doubles.memorynet import MemoryAgent, MemoryNetwork
from sidecar.wire.broker import http as wire

reactor: Any = installed


async def sleep(seconds: float) -> None:
    await deferLater(reactor, seconds, lambda: None)


class OverMemory(contract.SharedBrokerContract):
    """The contract, our client and our server over a registry in memory and a network in memory, in virtual time."""

    def setUp(self) -> None:
        self.network = MemoryNetwork()
        self.registry = MemoryRegistry(self.network)
        self.registry.startService()
        self.addCleanup(self.registry.stopService)
        # A turn of virtual time with each turn of the reactor, however little real time that takes.
        self.turns = LoopingCall(self.network.advance, 0)
        self.turns.start(0)
        self.addCleanup(self.turns.stop)

    def make_broker(self) -> Any:
        agent: Any = MemoryAgent(self.network)
        broker = HttpBroker(self.network, self.registry, agent, "127.0.0.1:0", 4 * 1024 * 1024)
        broker.startService()
        self.addCleanup(broker.stopService)
        return broker

    make_peer = make_broker

    def until(self, reached: Callable[[], object], what: str, patience: float = 30.0) -> Deferred[None]:
        async def turn() -> None:
            for _ in range(10_000):
                if reached():
                    return
                await sleep(0)
            self.fail(f"never: {what}")

        return Deferred.fromCoroutine(turn())

    def quiet(self, seconds: float = 0.2) -> Deferred[None]:
        async def turn() -> None:
            for _ in range(10):
                self.network.advance(seconds / 10)
                await sleep(0)

        return Deferred.fromCoroutine(turn())


class OverSockets(contract.SharedBrokerContract):
    """The same, over real sockets."""

    def setUp(self) -> None:
        self.registry = MemoryRegistry(reactor)
        self.registry.startService()
        self.addCleanup(self.registry.stopService)

    def make_broker(self) -> Any:
        broker: Any = build(BackendOptions(reactor, registry=self.registry))
        broker.startService()
        self.addCleanup(broker.stopService)
        return broker

    make_peer = make_broker


class GoBroker(Resource):
    """A subscriber's side as go-micro has it: keeps what is posted. :ivar posts: path, id, headers' topics, body."""

    isLeaf = True

    def __init__(self, status: int = 200) -> None:
        super().__init__()
        self.posts: list[tuple[str, str, dict[str, Any]]] = []
        self.status = status

    def render_POST(self, request: Any) -> bytes:
        target = urlsplit(request.uri.decode())
        self.posts.append((target.path, parse_qs(target.query)["id"][0], json.loads(request.content.read())))
        request.setResponseCode(self.status)
        return b""


class Dialects(TestCase):
    timeout = 60

    def setUp(self) -> None:
        self.registry = MemoryRegistry(reactor)
        self.registry.startService()
        self.addCleanup(self.registry.stopService)
        broker: Any = build(BackendOptions(reactor, registry=self.registry, max_body=10_000))
        broker.startService()
        self.addCleanup(broker.stopService)
        self.broker = broker
        self.agent = Fetcher(reactor)
        self.addCleanup(self.agent.close)

    def peer(self, status: int = 200) -> tuple[GoBroker, int]:
        resource = GoBroker(status)
        site = server.Site(resource)
        site.noisy = False
        site.log = lambda request: None  # type: ignore[method-assign]  # a line a message is of no use here
        port = reactor.listenTCP(0, site, interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        return resource, port.getHost().port

    async def post(self, path: str, body: bytes, method: str = "POST", **headers: str) -> Any:
        host, port = self.broker.address
        return await self.agent.request(method, f"http://{host}:{port}{path}", headers, body)

    async def test_publish_to_each(self) -> None:
        """A subscriber of each dialect is posted to where and as it expects, once, with the universal header."""
        resource, port = self.peer()
        for name, version, node in (
            ("topic:news", wire.BROADCAST, Node("broker-1.2", "127.0.0.1", port, {"secure": "false"})),
            ("news", wire.BROADCAST, Node("b1x", "127.0.0.1", port, {"broker": "http", "topic": "news"})),
            ("go.micro.http.broker", "latest", Node("news-2", "127.0.0.1", port, {"broker": "http", "topic": "news"})),
            ("micro.http.broker", "q", Node("news-3", "127.0.0.1", port, {"broker": "http", "topic": "news"})),
            ("micro.http.broker", "q", Node("other-4", "127.0.0.1", port, {"broker": "http", "topic": "other"})),
            ("micro.http.broker", "r", Node("news-5", "127.0.0.1", port, {"topic": "news"})),
        ):
            await self.registry.register(Service(name, version, nodes=(node,)), None, ANONYMOUS)
        await self.broker.publish("news", Message({"X-Mine": "1"}, b'{"a":1}'), ANONYMOUS)
        self.assertEqual(
            sorted((path, id) for path, id, _ in resource.posts),
            [("/", "news-3"), ("/_sub", "b1x"), ("/_sub", "broker-1.2"), ("/_sub", "news-2")],
        )
        for _, _, message in resource.posts:
            self.assertEqual(message["Body"], "eyJhIjoxfQ==")
            self.assertEqual(len(message["Header"].pop("Micro-Id")), 36)
            self.assertEqual(
                message["Header"],
                {"X-Mine": "1", "Content-Type": "application/json", "Micro-Topic": "news", ":topic": "news"},
            )

    async def test_registered(self) -> None:
        """A subscriber stands in the registry for publishers of all dialects, with ids of its own, and goes again."""
        place = await self.broker.subscribe("news", contract.Collector(), "q", ANONYMOUS)
        names = ["go.micro.http.broker", "micro.http.broker", "news", "topic:news"]
        self.assertEqual(list(await self.registry.list()), names)
        ids = set()
        for name in names:
            (found,) = await self.registry.get(name)
            (node,) = found.nodes
            ids.add(node.id)
            self.assertEqual((found.version, (node.address, node.port)), ("q", self.broker.address))
            if name != "topic:news":
                self.assertEqual((node.metadata["broker"], node.metadata["topic"]), ("http", "news"))
        self.assertEqual(len(ids), 4)
        await place.cancel()
        self.assertEqual(await self.registry.list(), ())

    async def test_receives_each(self) -> None:
        """A post of each dialect reaches the subscriber that its id names, the old topic taken out of the header."""
        sub, other = contract.Collector(), contract.Collector()
        await self.broker.subscribe("a b/c", sub, None, ANONYMOUS)
        await self.broker.subscribe("a b/c", other, None, ANONYMOUS)
        for dialect in wire.Dialect:
            (service,) = await self.registry.get(wire.service_name(dialect, "a b/c"))
            (target,) = wire.subscribers("a b/c", {dialect: [service]}).everyone
            topic = "Micro-Topic" if dialect is wire.Dialect.V2_5 else ":topic"
            body = json.dumps({"Header": {topic: "a b/c", "X": dialect.value}, "Body": "eA=="}).encode()
            answer = await self.agent.request("POST", target.url, {}, body)
            self.assertEqual((answer.status, answer.body), (200, b""))
        for each in (sub, other):
            self.assertEqual(
                [message.header["X"] for message in each.messages], [dialect.value for dialect in wire.Dialect]
            )
            for message in each.messages:
                self.assertNotIn(":topic", message.header)
                self.assertEqual(message.body, b"x")

    async def test_one_place_a_topic(self) -> None:
        """However many hear a topic here, it is posted once; each member of a queue has a place of its own."""
        plain = [await self.broker.subscribe("t", contract.Collector(), None, ANONYMOUS) for _ in range(3)]
        members = [await self.broker.subscribe("t", contract.Collector(), "q", ANONYMOUS) for _ in range(2)]
        found = {each.version: len(each.nodes) for each in await self.registry.get("micro.http.broker")}
        self.assertEqual(found, {wire.BROADCAST: 1, "q": 2})
        for place in [*plain[1:], *members]:
            await place.cancel()
        self.assertEqual([each.version for each in await self.registry.get("micro.http.broker")], [wire.BROADCAST])
        await plain[0].cancel()
        self.assertEqual(await self.registry.list(), ())

    async def test_come_together(self) -> None:
        """Who comes while the place is being taken shares it, and its failure."""
        subs = [contract.Collector() for _ in range(3)]
        await gatherResults([self.broker.subscribe("t", sub, None, ANONYMOUS) for sub in subs])
        await self.broker.publish("t", Message({}, b"x"), ANONYMOUS)
        self.assertEqual([sub.bodies for sub in subs], [[b"x"]] * 3)

    async def test_gives_up_waiting(self) -> None:
        """Who gives up while the registry is slow leaves no place behind, and disturbs nobody else."""
        slow: Deferred[None] = Deferred()
        register = self.registry.register
        self.patch(self.registry, "register", lambda *asked: slow.addCallback(lambda _: register(*asked)))
        one = self.broker.subscribe("t", contract.Collector(), "q", ANONYMOUS)
        one.cancel()
        slow.callback(None)
        await self.assertFailure(one, CancelledError)
        await sleep(0)
        self.assertEqual(await self.registry.list(), ())

    async def test_never_twice(self) -> None:
        """Though it stands in four records, a subscriber behind another sidecar gets each message once."""
        other: Any = build(BackendOptions(reactor, registry=self.registry))
        other.startService()
        self.addCleanup(other.stopService)
        subs = [contract.Collector() for _ in range(3)]
        await other.subscribe("news", subs[0], None, ANONYMOUS)
        await other.subscribe("news", subs[1], "q", ANONYMOUS)
        await other.subscribe("news", subs[2], "q", ANONYMOUS)
        await self.broker.publish("news", Message({}, b"x"), ANONYMOUS)
        await sleep(0.1)
        self.assertEqual(len(subs[0].messages), 1)
        self.assertEqual(len(subs[1].messages) + len(subs[2].messages), 1)

    async def test_answers(self) -> None:
        """Wrong posts are answered as go-micro does; an id that matches nothing is well."""
        for path, body, method, status, detail in (
            ("/?id=x", b"", "GET", 405, "Method not allowed"),
            ("/?id=x", b"nonsense", "POST", 500, "Error parsing request body"),
            ("/_sub?id=x", b"{}", "POST", 500, "Topic not found"),
            ("/", b"[]", "POST", 500, "Error parsing request body"),
            ("/", b"x" * 100_000, "POST", 413, "more than"),
        ):
            answer = await self.post(path, body, method)
            told = json.loads(answer.body)
            self.assertEqual((answer.status, told["id"]), (status, "go.micro.broker"))
            self.assertEqual(told["code"], 400 if status == 405 else status)
            self.assertIn(detail, told["detail"])
        good = b'{"Header":{"Micro-Topic":"t"},"Body":""}'
        for path in ("/?id=nobody", "/", "/_sub", "/_sub?id=%ff"):
            answer = await self.post(path, good)
            self.assertEqual((answer.status, answer.body), (200, b""))

    async def test_pages(self) -> None:
        """A page in a browser publishes to nobody here; brokers, which send no Origin, do."""
        body = b'{"Header":{"Micro-Topic":"t"},"Body":"eA=="}'
        for more, status in (
            ({"Host": "evil.example"}, 421),
            ({"Origin": "http://evil.example"}, 403),
            ({"Origin": "null"}, 403),
            ({"Sec-Fetch-Site": "cross-site"}, 403),
        ):
            answer = await self.post("/", body, **more)
            self.assertEqual((answer.status, json.loads(answer.body)["code"]), (status, status), more)
        self.assertEqual((await self.post("/", body)).status, 200)

    async def test_form_type(self) -> None:
        """A body is read raw, even where its sender claims that it is a form."""
        sub = contract.Collector()
        await self.broker.subscribe("t", sub, None, ANONYMOUS)
        (found,) = await self.registry.get("micro.http.broker")
        body = b'{"Header":{"Micro-Topic":"t"},"Body":"eA=="}'
        path = f"/?id={found.nodes[0].id}"
        await self.post(path, body, **{"Content-Type": "application/x-www-form-urlencoded"})
        self.assertEqual(sub.bodies, [b"x"])

    async def test_dead_member(self) -> None:
        """Of a queue the next member is tried where one does not answer; where none does, the publisher is told."""
        resource, port = self.peer()
        _, deaf = self.peer(500)
        meta = {"broker": "http", "topic": "t"}
        dead = [Node(f"dead-{number}", "127.0.0.1", 1, meta) for number in range(3)]
        await self.registry.register(Service("micro.http.broker", "q", nodes=tuple(dead)), None, ANONYMOUS)
        await self.registry.register(
            Service("micro.http.broker", "q", nodes=(Node("deaf", "127.0.0.1", deaf, meta),)), None, ANONYMOUS
        )
        failing: Deferred[Any] = self.assertFailure(
            self.broker.publish("t", Message({}, b"x"), ANONYMOUS), EngineUnavailable
        )
        self.assertIn("none of the 1 subscribers", str(await failing))
        await self.registry.register(
            Service("micro.http.broker", "q", nodes=(Node("live", "127.0.0.1", port, meta),)), None, ANONYMOUS
        )
        await sleep(0)
        for _ in range(10):
            await self.broker.publish("t", Message({}, b"x"), ANONYMOUS)
        self.assertEqual(len(resource.posts), 10)

    async def test_dead_among_others(self) -> None:
        """One of all that does not answer keeps nobody else from hearing."""
        resource, port = self.peer()
        meta = {"broker": "http", "topic": "t"}
        nodes = (Node("dead", "127.0.0.1", 1, meta), Node("live", "127.0.0.1", port, meta))
        await self.registry.register(Service("micro.http.broker", wire.BROADCAST, nodes=nodes), None, ANONYMOUS)
        await self.broker.publish("t", Message({}, b"x"), ANONYMOUS)
        self.assertEqual(len(resource.posts), 1)

    async def test_real_service_of_that_name(self) -> None:
        """A service that is called as a topic is keeps its name: no subscriber stands in its place."""
        real = Service("go.micro.srv.foo", "1", nodes=(Node("foo-1", "127.0.0.1", 9, {}),))
        await self.registry.register(real, None, ANONYMOUS)
        await self.broker.subscribe("go.micro.srv.foo", contract.Collector(), None, ANONYMOUS)
        self.assertEqual(await self.registry.get("go.micro.srv.foo"), (real,))
        await self.broker.publish("go.micro.srv.foo", Message({}, b"x"), ANONYMOUS)

    async def test_too_large(self) -> None:
        """A body over the limit is refused."""
        await self.assertFailure(self.broker.publish("t", Message({}, b"x" * 10_001), ANONYMOUS), TooLarge)

    async def test_registry_gone(self) -> None:
        """With the registry out of reach, publishing and subscribing fail and say so."""

        class Gone(MemoryRegistry):
            def get(self, name: str) -> Deferred[Any]:
                return fail(EngineUnavailable("gone"))

            def register(
                self, service: Service, ttl: float | None, caller: Caller, cause: Cause = UNSAID
            ) -> Deferred[Any]:
                return fail(EngineUnavailable("gone"))

        broker: Any = build(BackendOptions(reactor, registry=Gone(reactor)))
        broker.startService()
        self.addCleanup(broker.stopService)
        await self.assertFailure(broker.publish("t", Message({}, b"x"), ANONYMOUS), EngineUnavailable)
        await self.assertFailure(broker.subscribe("t", contract.Collector(), None, ANONYMOUS), EngineUnavailable)


class Small(SynchronousTestCase):
    def test_listen(self) -> None:
        """Where one cannot listen is told before anything starts."""
        for listen in ("nowhere", "127.0.0.1:99999", "192.0.2.1:0"):
            self.assertRaises(ConfigError, build, BackendOptions(reactor, listen=listen))

    def test_names(self) -> None:
        """What a registry cannot hold as a name, and the name that stands for no queue, are refused."""
        for name in ("", " a", "a\n", "\0", ".", "..", "x" * 401):
            self.assertIsNotNone(name_problem("topic", name))
        for name in ("a", "a b", "a*", ">", "größe", "$SYS", "x" * 400):
            self.assertIsNone(name_problem("topic", name))
        self.assertIsNotNone(name_problem("queue", wire.BROADCAST))

    def test_everywhere(self) -> None:
        """A listener on all interfaces is registered under an address, not under none."""
        broker: Any = build(BackendOptions(reactor, listen="0.0.0.0:0"))
        self.assertNotEqual(broker.address[0], "0.0.0.0")
        self.assertIsInstance(broker, HttpBroker)
