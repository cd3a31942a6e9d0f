"""The HTTP broker: the contract over a shared registry, every flavour on the wire, and real go-micro programs."""

from __future__ import annotations

import json
import socket
from typing import Any

from attrs import frozen
from twisted.internet import reactor as installed
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import SynchronousTestCase, TestCase
from twisted.web import resource, server

from sidecar.broker import httplistener, httpposts
from sidecar.broker.http import HttpBroker, build, name_problem
from sidecar.errors import ConfigError, EngineUnavailable, NotFound, TopicInvalid
from sidecar.interfaces import IBroker
from sidecar.model import BackendOptions, Message, Node, Service
from sidecar.net.agent import Agent
from sidecar.registry import memory as memory_registry
from sidecar.test.contracts import broker as contract
from sidecar.test.doubles import programs, say
from sidecar.wire import httpbroker, messages

reactor: Any = installed

#: By flavour: the registry's name for topic ``t``, the path, and the topic's name in the header.
FLAVOURS = (
    ("topic:t", "/_sub", ":topic"),
    ("t", "/_sub", ":topic"),
    ("go.micro.http.broker", "/_sub", ":topic"),
    ("micro.http.broker", "/", "Micro-Topic"),
)
NAMES = tuple(name for name, _, _ in FLAVOURS)


async def sleep(seconds: float) -> None:
    await deferLater(reactor, seconds, lambda: None)


def a_registry(test: TestCase) -> Any:
    registry = memory_registry.build(BackendOptions(reactor))
    registry.startService()  # type: ignore[attr-defined]
    test.addCleanup(registry.stopService)  # type: ignore[attr-defined]
    return registry


def a_broker(test: TestCase, registry: Any, **options: Any) -> Any:
    broker: Any = build(BackendOptions(reactor, registry=registry, **options))
    broker.startService()
    test.addCleanup(broker.stopService)
    return broker


class Contract(contract.SharedBrokerContract):
    """The contract: two brokers, each with its listener, over one registry."""

    def make_broker(self) -> IBroker:
        self.registry = a_registry(self)
        broker: IBroker = a_broker(self, self.registry)
        return broker

    def make_peer(self) -> IBroker:
        broker: IBroker = a_broker(self, self.registry)
        return broker


class Records(SynchronousTestCase):
    def test_every_flavour(self) -> None:
        """A subscriber is registered under the names of all generations, with what their publishers filter on."""
        found = httpbroker.records("t", None, "t-1", "127.0.0.1", 80)
        self.assertEqual({service.name for service in found}, set(NAMES))
        for service in found:
            self.assertEqual(service.version, "ff.http.broadcast")
            self.assertEqual(
                service.nodes,
                (Node("t-1", "127.0.0.1", 80, {"broker": "http", "topic": "t", "secure": "false"}),),
            )
        self.assertEqual({service.version for service in httpbroker.records("t", "q", "i", "h", 1)}, {"q"})

    def test_found_once(self) -> None:
        """Who is registered under several names is one subscriber, in its newest dialect; groups are told apart."""
        services = [
            *httpbroker.records("t", None, "all", "h", 1),
            *httpbroker.records("t", "q", "one", "h", 2),
            *httpbroker.records("t", "q", "two", "h", 3),
            *httpbroker.records("t", None, "ours", "h", 4),
        ]
        found = httpbroker.subscribers("t", services, without=["ours"])
        self.assertEqual([subscriber.url for subscriber in found.everyone], ["http://h:1/?id=all"])
        self.assertEqual({name: len(group) for name, group in found.queues.items()}, {"q": 2})

    def test_strangers(self) -> None:
        """Under a name of all topics, or of a service, only those count that are subscribers of this very topic."""
        good = {"broker": "http", "topic": "t"}
        nodes = (
            Node("good", "::1", 1, good),
            Node("other", "h", 2, {**good, "topic": "u"}),
            Node("plain", "h", 3),
            Node("nats", "h", 4, {**good, "broker": "nats"}),
            Node("portless", "h", 0, good),
        )
        for name in ("t", "go.micro.http.broker", "micro.http.broker"):
            found = httpbroker.subscribers("t", [Service(name, httpbroker.BROADCAST, nodes=nodes)])
            self.assertEqual([(one.id, one.hostport) for one in found.everyone], [("good", "[::1]:1")])

    def test_urls(self) -> None:
        """Each flavour has its path; ids are quoted; ``secure`` is https."""
        node = Node("a b&c", "h", 1, {"broker": "http", "topic": "t", "secure": "true"})
        for name, path, _ in FLAVOURS:
            (one,) = httpbroker.subscribers("t", [Service(name, httpbroker.BROADCAST, nodes=(node,))]).everyone
            self.assertEqual(one.url, f"https://h:1{path}?id=a%20b%26c")

    def test_names(self) -> None:
        """What cannot be a topic or queue is refused with the reason."""
        for name in ("", "a\nb", "a\0b", "x" * 256):
            self.assertIsInstance(name_problem("topic", name), TopicInvalid)
        for name in ("a b", "größe", "a/b?c=d", "ff.http.broadcast", "x" * 255):
            self.assertIsNone(name_problem("topic", name))
        self.assertIsInstance(name_problem("queue", "ff.http.broadcast"), TopicInvalid)

    def test_listen(self) -> None:
        """Where to listen is ``host:port``; what is not is said before anything starts."""
        for text, place in {"": ("127.0.0.1", 0), ":80": ("", 80), "[::1]:8": ("::1", 8), "h:1": ("h", 1)}.items():
            self.assertEqual(httplistener.parse(text), place)
        for text in ("h", "h:", "h:x", "h:65536", "::1:8", "http://h:1", "a b:1"):
            self.assertRaises(ConfigError, httplistener.parse, text)
        self.assertRaises(ConfigError, build, BackendOptions(reactor))

    def test_port_taken(self) -> None:
        """A port that is in use fails the building."""
        with socket.create_server(("127.0.0.1", 0)) as taken:
            listen = f"127.0.0.1:{taken.getsockname()[1]}"
            options = BackendOptions(reactor, registry=memory_registry.build(BackendOptions(reactor)), listen=listen)
            self.assertIn(listen, str(self.assertRaises(ConfigError, build, options)))


class Receiving(TestCase):
    """What a go-micro publisher of each generation, or somebody ruder, may post."""

    timeout = 60

    def setUp(self) -> None:
        self.registry = a_registry(self)
        self.broker = a_broker(self, self.registry, max_body=10_000)
        self.agent = Agent(reactor)
        self.addCleanup(self.agent.close)

    async def node(self, name: str = "micro.http.broker") -> Node:
        (service,) = await self.registry.get(name)
        (node,) = service.nodes
        assert isinstance(node, Node)
        return node

    async def post(self, node: Node, path: str, body: bytes, **headers: str) -> tuple[int, bytes]:
        answer = await self.agent.request("POST", f"http://{node.hostport}{path}", headers, body)
        return answer.status, answer.body

    async def test_every_flavour(self) -> None:
        """Whatever record a publisher goes by, its message arrives, once, the topic's old name removed."""
        ear = contract.Ear()
        await self.broker.subscribe("t", ear, None)
        for name, path, topic in FLAVOURS:
            node = await self.node(name)
            body = messages.encode(Message({"X-By": name, topic: "t"}, b"1"))
            self.assertEqual(await self.post(node, f"{path}?id={node.id}", body), (200, b""))
        while len(ear.heard) < 4:
            await sleep(0.01)
        expected = [{"X-By": name, **({topic: "t"} if topic != ":topic" else {})} for name, _, topic in FLAVOURS]
        self.assertEqual([dict(message.header) for message in ear.heard], expected)

    async def test_answers(self) -> None:
        """Errors are go-micro's: JSON with its id, code and words; an id that matches nothing is a success."""
        ear = contract.Ear()
        await self.broker.subscribe("t", ear, None)
        node = await self.node()
        good = messages.encode(Message({"Micro-Topic": "t"}, b"1"))
        self.assertEqual(await self.post(node, "/?id=nobody", good), (200, b""))
        self.assertEqual(await self.post(node, "/", good), (200, b""))
        self.assertEqual(await self.post(node, f"/?id={node.id}", good.replace(b'"t"', b'"u"')), (200, b""))
        for body, detail in {
            b"": "Error parsing request body: ",
            b"[]": "Error parsing request body: ",
            b'{"Header":{"Micro-Topic":"t"},"Body":"!"}': "Error parsing request body: ",
            b'{"Header":{},"Body":""}': "Topic not found",
            b"\xff" * 100: "Error parsing request body: ",
            b"[" * 5000: "Error parsing request body: ",
        }.items():
            status, said = await self.post(node, f"/?id={node.id}", body)
            fault = json.loads(said)
            self.assertEqual((status, fault["id"], fault["code"]), (500, "go.micro.broker", 500))
            self.assertTrue(fault["detail"].startswith(detail), fault)
        answer = await self.agent.request("GET", f"http://{node.hostport}/_sub?id={node.id}")
        self.assertEqual((answer.status, answer.header("Allow")), (405, "POST"))
        self.assertEqual(
            json.loads(answer.body),
            {"id": "go.micro.broker", "code": 400, "detail": "Method not allowed", "status": "Bad Request"},
        )
        self.assertEqual((await self.post(node, f"/?id={node.id}", b"x" * 20_000))[0], 413)
        self.assertEqual(ear.heard, [])
        self.assertEqual(await self.post(node, f"/?id={node.id}", good), (200, b""))

    async def test_form(self) -> None:
        """A content type that claims a form costs nobody the message."""
        ear = contract.Ear()
        await self.broker.subscribe("t", ear, None)
        node = await self.node()
        body = messages.encode(Message({"Micro-Topic": "t"}, b"1"))
        kind = {"Content-Type": "application/x-www-form-urlencoded"}
        self.assertEqual(await self.post(node, f"/?id={node.id}", body, **kind), (200, b""))
        await sleep(0.01)
        self.assertEqual(ear.bodies, [b"1"])


class _Recording(resource.Resource):
    """A subscriber elsewhere. :ivar status: what it answers, 0 for never."""

    isLeaf = True

    def __init__(self) -> None:
        super().__init__()
        self.posted: list[tuple[str, dict[str, str], bytes]] = []
        self.status = 200

    def render(self, request: Any) -> Any:
        body = json.loads(request.content.read())
        self.posted.append((request.uri.decode(), body["Header"], body["Body"].encode()))
        if not self.status:
            return server.NOT_DONE_YET
        request.setResponseCode(self.status)
        return b""


class Publishing(TestCase):
    """What goes out, to subscribers as other generations register them."""

    timeout = 120

    def setUp(self) -> None:
        self.registry = a_registry(self)
        self.broker = a_broker(self, self.registry)

    def elsewhere(self) -> tuple[_Recording, int]:
        found = _Recording()
        port = reactor.listenTCP(0, server.Site(found), interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        return found, port.getHost().port

    async def subscribe(self, name: str, id: str, port: int, version: str = httpbroker.BROADCAST) -> None:
        metadata = {"secure": "false"} if name == "topic:t" else {"broker": "http", "topic": "t"}
        node = Node(id, "127.0.0.1", port, metadata)
        await self.registry.register(Service(name, version, nodes=(node,)), None)
        await sleep(0.01)

    async def test_every_flavour(self) -> None:
        """Whoever is registered in any flavour gets it at that flavour's path, with the universal header."""
        there, port = self.elsewhere()
        for number, name in enumerate(NAMES):
            await self.subscribe(name, f"n{number}", port)
        await self.broker.publish("t", Message({"X-Mine": "1"}, b'{"a":1}'))
        self.assertEqual(
            sorted(uri for uri, _, _ in there.posted), ["/?id=n3", "/_sub?id=n0", "/_sub?id=n1", "/_sub?id=n2"]
        )
        for _, header, body in there.posted:
            self.assertEqual(len(header.pop("Micro-Id")), 36)
            self.assertEqual(
                header, {":topic": "t", "Micro-Topic": "t", "Content-Type": "application/json", "X-Mine": "1"}
            )
            self.assertEqual(body, b"eyJhIjoxfQ==")

    async def test_service_of_that_name(self) -> None:
        """A service whose name is the topic's is no subscriber, and gets no company that its callers would meet."""
        there, port = self.elsewhere()
        await self.registry.register(Service("t", "1", nodes=(Node("srv", "127.0.0.1", port),)), None)
        await self.broker.subscribe("t", contract.Ear(), None)
        await self.broker.publish("t", Message({}, b"x"))
        self.assertEqual(there.posted, [])
        (only,) = await self.registry.get("t")
        self.assertEqual([node.id for node in only.nodes], ["srv"])

    async def test_queue_tries_another(self) -> None:
        """Where one member of a queue refuses or is gone, another gets the message."""
        good, well = self.elsewhere()
        bad, ill = self.elsewhere()
        bad.status = 500
        await self.subscribe("micro.http.broker", "good", well, "q")
        await self.subscribe("topic:t", "bad", ill, "q")
        await self.subscribe("micro.http.broker", "gone", programs.free_port(), "q")
        for _ in range(20):
            await self.broker.publish("t", Message({}, b"x"))
        self.assertEqual(len(good.posted), 20)

    async def test_one_dead_hides_nobody(self) -> None:
        """A subscriber that is gone costs the others nothing; where all are gone the publisher is told."""
        await self.subscribe("micro.http.broker", "gone", programs.free_port())
        refused = await self.assertFailure(self.broker.publish("t", Message({}, b"x")), EngineUnavailable)
        self.assertIn("none of those who subscribe", str(refused))
        there, port = self.elsewhere()
        await self.subscribe("micro.http.broker", "well", port)
        await self.broker.publish("t", Message({}, b"x"))
        self.assertEqual(len(there.posted), 1)

    async def test_one_that_hangs(self) -> None:
        """A subscriber that never answers costs its patience once, and then is left alone for a while."""
        self.patch(httpposts, "PATIENCE", 0.3)
        self.patch(httpposts, "REST", 60.0)
        hung, port = self.elsewhere()
        hung.status = 0
        await self.subscribe("micro.http.broker", "hung", port)
        ear = contract.Ear()
        await self.broker.subscribe("t", ear, None)
        await sleep(0.01)
        await gatherResults([self.broker.publish("t", Message({}, b"%d" % number)) for number in range(10)])
        await self.broker.publish("t", Message({}, b"10"))
        await sleep(0.01)
        self.assertEqual(ear.bodies, [b"%d" % number for number in range(11)])
        self.assertEqual(len(hung.posted), 1)

    async def test_bounded(self) -> None:
        """What waits for a slow subscriber is bounded; beyond it the publisher is told."""
        self.patch(httpposts, "MAX_WAITING", 3)
        self.patch(httpposts, "PATIENCE", 1.0)
        hung, port = self.elsewhere()
        hung.status = 0
        await self.subscribe("micro.http.broker", "hung", port)
        publishing = [self.broker.publish("t", Message({}, b"x")) for _ in range(6)]
        said = [str(await self.assertFailure(one, EngineUnavailable)) for one in publishing]
        self.assertEqual(sum("too many messages wait" in text for text in said), 2)

    async def test_no_lookup_a_publish(self) -> None:
        """The registry is asked again only when it told of a change."""
        asked: list[str] = []
        ask = self.registry.get
        self.patch(self.registry, "get", lambda name: asked.append(name) or ask(name))
        for _ in range(50):
            await self.broker.publish("t", Message({}, b"x"))
        self.assertEqual(len(asked), 4)
        there, port = self.elsewhere()
        await self.subscribe("micro.http.broker", "n", port)
        await self.broker.publish("t", Message({}, b"x"))
        self.assertEqual(len(there.posted), 1)


@frozen
class _Away:
    """A registry whose engine comes and goes. :ivar away: by being not empty."""

    registry: Any
    away: list[None]

    def __getattr__(self, name: str) -> Any:
        return getattr(self.registry, name)

    def _or_fail(self, do: Any, *arguments: Any) -> Deferred[Any]:
        async def doing() -> Any:
            if self.away:
                raise EngineUnavailable("the engine is away")
            return await do(*arguments)

        return Deferred.fromCoroutine(doing())

    def register(self, service: Service, ttl: float | None) -> Deferred[None]:
        return self._or_fail(self.registry.register, service, ttl)

    def deregister(self, service: Service) -> Deferred[None]:
        return self._or_fail(self.registry.deregister, service)

    def get(self, name: str) -> Deferred[tuple[Service, ...]]:
        return self._or_fail(self.registry.get, name)


class Registered(TestCase):
    """Our places in the registry."""

    timeout = 60

    def setUp(self) -> None:
        self.memory = a_registry(self)
        self.registry = _Away(self.memory, [])
        self.broker = a_broker(self, self.registry)

    async def ids(self, name: str) -> set[str]:
        try:
            return {node.id for service in await self.memory.get(name) for node in service.nodes}
        except NotFound:
            return set()

    async def test_comes_and_goes(self) -> None:
        """One node a topic and queue, however many listen; gone with the last of them."""
        places = [await self.broker.subscribe("t", contract.Ear(), queue) for queue in (None, None, "q", "q")]
        for name in NAMES:
            self.assertEqual(len(await self.ids(name)), 2)
        for place in places:
            await place.cancel()
        for name in NAMES:
            self.assertEqual(await self.ids(name), set())

    async def test_stop(self) -> None:
        """Stopping deregisters everything and closes the listener."""
        await self.broker.subscribe("t", contract.Ear(), None)
        (service,) = await self.memory.get("micro.http.broker")
        port = service.nodes[0].port
        self.assertTrue(programs.accepts(port))
        await self.broker.stopService()
        self.assertEqual(await self.memory.list(), ())
        self.assertFalse(programs.accepts(port))
        self.assertFalse(self.broker.state().connected)

    async def test_renewed(self) -> None:
        """A record that the engine lost is there again after the next renewal, and has a TTL."""
        await self.broker.subscribe("t", contract.Ear(), None)
        (service,) = await self.memory.get("micro.http.broker")
        await self.memory.deregister(service)
        for place in self.broker._by_id.values():
            self.assertGreater(place.due, reactor.seconds() + 20)
            place.due = 1.0
        while not await self.ids("micro.http.broker"):
            await sleep(0.05)

    async def test_engine_away(self) -> None:
        """With the registry away a subscription is taken and heard here; the others find it when that is back."""
        self.registry.away.append(None)
        ear = contract.Ear()
        await self.broker.subscribe("t", ear, None)
        await self.broker.publish("t", Message({}, b"x"))
        await sleep(0.01)
        self.assertEqual(ear.bodies, [b"x"])
        self.assertFalse(self.broker.state().connected)
        self.assertIn("away", self.broker.state().detail)
        await self.assertFailure(self.broker.publish("nobody.here", Message({}, b"x")), EngineUnavailable)
        self.registry.away.clear()
        while not await self.ids("micro.http.broker"):
            await sleep(0.05)
        await self.broker.publish("t", Message({}, b"y"))
        self.assertTrue(self.broker.state().connected)


#: Each with its own flavour: B2, and B3 in its first and its last form.
GENERATIONS = ("v1.18.0", "v2.9.1", "v5.30.0")


class RealPeers(TestCase):
    """Go-micro's own publishers and subscribers, found through etcd."""

    skip = programs.missing("etcd") or say.missing(*GENERATIONS)
    timeout = 240

    def setUp(self) -> None:
        from sidecar.registry import etcd

        port = programs.shared("etcd", programs.start_etcd)
        self.flags = ("--broker", "http", "--registry", "etcd", "--registry-address", f"127.0.0.1:{port}")
        self.registry: Any = etcd.build(BackendOptions(reactor, (f"127.0.0.1:{port}",)))
        self.registry.startService()
        self.addCleanup(self.registry.stopService)
        self.broker: HttpBroker = a_broker(self, self.registry)

    async def test_they_publish(self) -> None:
        """What each generation publishes is heard here, once, as a client publishes it and below that."""
        for generation in GENERATIONS:
            topic = f"to.us.{generation}"
            ear = contract.Ear()
            await self.broker.subscribe(topic, ear, None)
            for raw in ((), ("--raw",)):
                said = await deferToThread(say.run, generation, "publish", *self.flags, *raw, topic, '{"a":1}')
                self.assertEqual(said[0]["event"], "published")
            await sleep(0.2)
            self.assertEqual([json.loads(body) for body in ear.bodies], [{"a": 1}] * 2, generation)
            for message in ear.heard:
                self.assertEqual(message.header["Content-Type"], "application/json")
                self.assertNotIn(":topic", message.header)

    async def test_they_subscribe(self) -> None:
        """A subscriber of each generation gets what we publish, by its client's handler and below that."""
        for generation in GENERATIONS:
            for raw in ((), ("--raw",)):
                topic = f"to.them.{generation}.{len(raw)}"
                there = await deferToThread(say.running, generation, "subscribe", *self.flags, *raw, topic)
                self.addCleanup(there.stop)
                while not there.messages:
                    await self.broker.publish(topic, Message({"X-Foo": "bar"}, b'{"a":1}'))
                    await sleep(0.2)
                (heard, *_) = there.messages
                self.assertEqual(json.loads(heard["body"]), {"a": 1})
                self.assertEqual(heard["header"]["X-Foo"], "bar")

    async def test_shared_queue(self) -> None:
        """One queue of a Go subscriber and one of ours: each message reaches exactly one of them, and both get some."""
        there = await deferToThread(say.running, "v5.30.0", "subscribe", *self.flags, "--raw", "shared.queue", "q")
        self.addCleanup(there.stop)
        ear = contract.Ear()
        await self.broker.subscribe("shared.queue", ear, "q")
        await sleep(1.0)
        for number in range(60):
            await self.broker.publish("shared.queue", Message({}, b"%d" % number))
        await deferToThread(there.heard, 60 - len(ear.heard))
        got = [*(body.decode() for body in ear.bodies), *(event["body"] for event in there.messages)]
        self.assertEqual(sorted(got, key=int), [str(number) for number in range(60)])
        self.assertTrue(ear.heard and there.messages)
