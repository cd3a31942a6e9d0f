"""The NATS registry: the contract in memory and over the real server, both dialects, outages."""

from __future__ import annotations

import json
from typing import Any

from twisted.internet import reactor as installed
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from sidecar.errors import EngineUnavailable, NotFound
from sidecar.model import ANONYMOUS, BackendOptions, Cause, Change
from sidecar.net.nats.access import NatsAddress, NatsServers
from sidecar.net.nats.client import Interest, NatsClient
from sidecar.registry.peers.nats import NatsTransport, build
from sidecar.registry.peers.registry import PeerRegistry
from sidecar.test.contracts.natslink import NatsLinkContract
from sidecar.test.contracts.registry import RegistryContract, a_service
from sidecar.test.doubles.memorynats import MemoryNats, MemoryNatsClient
from sidecar.test.doubles.programs import process
from sidecar.test.doubles.servers.nats import FakeNats
from sidecar.test.doubles.virtualtime import OnVirtualTime
from sidecar.test.doubles.watcher import RecordingWatcher
from sidecar.wire import services

reactor: Any = installed
#: What is told of peers.
TOLD = Cause(by="engine nats")


async def sleep(seconds: float) -> None:
    await deferLater(reactor, seconds, lambda: None)


async def started(port: int) -> Any:
    registry: Any = build(BackendOptions(reactor, (f"127.0.0.1:{port}",)))
    registry.startService()
    while not registry.state().connected:
        await sleep(0.01)
    return registry


class OverMemory(OnVirtualTime, RegistryContract, TestCase):
    """The contract, over NATS in memory, in time that passes by itself."""

    timeout = 120
    shared = True

    def setUp(self) -> None:
        super().setUp()
        self.server = MemoryNats(self.clock)

    async def make_registry(self) -> Any:
        link: Any = MemoryNatsClient(self.server)
        registry = PeerRegistry(self.clock, NatsTransport(link))
        registry.startService()
        return registry


class LinkInMemory(OnVirtualTime, NatsLinkContract, TestCase):
    """The connection in memory is what the real one is, as far as registries use it."""

    def setUp(self) -> None:
        super().setUp()
        self.server = MemoryNats(self.clock)

    def make_link(self) -> Any:
        return MemoryNatsClient(self.server)

    async def until(self, check: Any) -> None:
        while not check():
            await self.pass_time(0.01)


class Link(NatsLinkContract, TestCase):
    """Our client, over a fake server."""

    timeout = 60

    def setUp(self) -> None:
        self.server = FakeNats(reactor)
        self.server.start()
        self.addCleanup(self.server.stop)

    def make_link(self) -> Any:
        servers = NatsServers.from_options(BackendOptions(reactor, (f"127.0.0.1:{self.server.port}",)))
        return NatsClient(reactor, servers, "test", echo=False)

    async def until(self, check: Any) -> None:
        while not check():
            await sleep(0.01)


class OverReal(RegistryContract, TestCase):
    """The contract, our client over the real server."""

    timeout = 120
    shared = True
    ttl = 1.0
    skip = process.missing("nats-server")

    def setUp(self) -> None:
        self.port = process.free_port()
        server = process.start_nats(self.port)
        self.addCleanup(server.stop)

    async def make_registry(self) -> Any:
        return await started(self.port)


class Dialects(TestCase):
    """What a go-micro process on the same NATS sees and says."""

    timeout = 60

    def setUp(self) -> None:
        self.server = FakeNats(reactor)
        self.server.start()
        self.addCleanup(self.server.stop)

    async def registry(self) -> Any:
        registry = await started(self.server.port)
        self.addCleanup(registry.stopService)
        return registry

    async def peer(self) -> NatsClient:
        """Another process on the server."""
        link = NatsClient(reactor, NatsServers(BackendOptions(), (NatsAddress("127.0.0.1", self.server.port),)), "peer")
        link.startService()
        self.addCleanup(link.stopService)
        while not link.connected:
            await sleep(0.01)
        return link

    async def until(self, check: Any) -> None:
        while not check():
            await sleep(0.01)

    async def until_gone(self, registry: Any, name: str) -> None:
        gone = False

        def not_found(failure: Any) -> None:
            nonlocal gone
            gone = bool(failure.trap(NotFound))

        while not gone:
            await registry.get(name).addErrback(not_found)
            await sleep(0.01)

    async def test_answers(self) -> None:
        """A question on either subject is answered on the inbox, one message a version, keys as Go writes them."""
        registry, peer = await self.registry(), await self.peer()
        one = a_service("say", version="1")
        await registry.register(one, 60.0, ANONYMOUS)
        await registry.register(a_service("say", version="2"), 60.0, ANONYMOUS)
        await registry.register(a_service("other"), None, ANONYMOUS)
        for prefix in ("micro.registry.nats", "micro.nats"):
            for question, expected in (
                ({"Action": "get", "Service": {"name": "say"}}, ["say", "say"]),
                ({"action": "get", "service": {"Name": "nobody"}}, []),
                ({"Action": "list", "Service": None}, ["other", "say", "say"]),
                ({"Action": "get", "Service": None}, []),
                ({"Action": "dance"}, []),
            ):
                answers: list[Any] = []

                def answered(subject: str, reply: str, body: bytes, into: list[Any] = answers) -> None:
                    into.append(json.loads(body))

                interest = Interest("_INBOX.peer", answered)
                await peer.subscribe(interest)
                await peer.publish(f"{prefix}.query", json.dumps(question).encode(), "_INBOX.peer")
                if expected:
                    await self.until(lambda: len(answers) >= len(expected))  # noqa: B023
                else:
                    await sleep(0.1)
                self.assertEqual(sorted(answer["name"] for answer in answers), expected)
                await peer.unsubscribe(interest)
        (sent,) = [body for subject, body in self.server.published if b'"1"' in body and subject == "_INBOX.peer"][:1]
        self.assertEqual(json.loads(sent)["nodes"][0]["address"], one.nodes[0].hostport)

    async def test_asks(self) -> None:
        """A service of a peer of either dialect is found, and gone when it says so; a get never lacks a Service."""
        registry, peer = await self.registry(), await self.peer()
        for prefix in ("micro.registry.nats", "micro.nats"):
            service = a_service(f"via.{prefix}")
            asked: list[Any] = []

            def answer(subject: str, reply: str, body: bytes, service: Any = service, asked: Any = asked) -> None:
                asked.append(json.loads(body))
                if (asked[-1]["Service"] or {"name": service.name})["name"] == service.name:
                    peer.publish(reply, json.dumps(services.to_go_json(service)).encode())

            interest = Interest(f"{prefix}.query", answer)
            await peer.subscribe(interest)
            found = await registry.get(service.name)
            self.assertEqual(found, (service,))
            self.assertIn(service.name, await registry.list())
            for question in asked:
                self.assertTrue(question["Action"] == "list" or question["Service"]["name"])
            await peer.unsubscribe(interest)
            gone = {"Action": "delete", "Service": services.to_go_json(service)}
            await peer.publish(f"{prefix}.watch", json.dumps(gone).encode())
            await self.until_gone(registry, service.name)

    async def test_broadcasts(self) -> None:
        """Registering and deregistering is told on both subjects; what others tell reaches watchers."""
        registry, peer = await self.registry(), await self.peer()
        told: list[tuple[str, Any]] = []
        for prefix in ("micro.registry.nats", "micro.nats"):
            await peer.subscribe(
                Interest(f"{prefix}.watch", lambda subject, reply, body: told.append((subject, json.loads(body))))
            )
        service = a_service()
        await registry.register(service, None, ANONYMOUS)
        await registry.deregister(service, ANONYMOUS)
        await self.until(lambda: len(told) == 4)
        self.assertEqual(
            sorted((subject, body["Action"]) for subject, body in told),
            [
                (f"{prefix}.watch", action)
                for prefix in ("micro.nats", "micro.registry.nats")
                for action in ("create", "delete")
            ],
        )
        self.assertEqual(
            [body.get("Copy", False) for subject, body in sorted(told, key=str)], [False, False, True, True]
        )

    async def test_watches(self) -> None:
        """What peers of either dialect broadcast reaches watchers, once, though nobody asked for the name."""
        registry, peer, other = await self.registry(), await self.peer(), await self.registry()
        for prefix in ("micro.registry.nats", "micro.nats"):
            seen: list[Change] = []
            watch = registry.watch(RecordingWatcher(seen))
            theirs = a_service()
            for action in ("create", "create", "delete"):
                body = {"Action": action, "Service": services.to_go_json(theirs)}
                await peer.publish(f"{prefix}.watch", json.dumps(body).encode())
            await self.until(lambda: len(seen) == 2)  # noqa: B023
            self.assertEqual(seen, [Change.of("create", theirs, TOLD), Change.of("delete", theirs, TOLD)])
            watch.cancel()
        seen = []
        registry.watch(RecordingWatcher(seen))
        service = a_service()
        await other.register(service, None, ANONYMOUS)
        await other.deregister(service, ANONYMOUS)
        await self.until(lambda: len(seen) == 2)
        await sleep(0.1)
        self.assertEqual(seen, [Change.of("create", service, TOLD), Change.of("delete", service, TOLD)])

    async def test_malformed(self) -> None:
        """What cannot be read is skipped and hides nothing else."""
        registry, peer = await self.registry(), await self.peer()
        theirs = a_service()
        seen: list[Change] = []
        registry.watch(RecordingWatcher(seen))
        for body in (b"", b"{", b"[]", b'{"Action":3}', b'{"Action":"create","Service":null}', b"\xff" * 1000):
            for subject in ("micro.nats.watch", "micro.nats.query", "micro.registry.nats.query"):
                await peer.publish(subject, body, "_INBOX.x")
        bad = {"Action": "create", "Service": {"name": "x", "nodes": [{"id": "y", "address": "", "port": 0}]}}
        await peer.publish("micro.nats.watch", json.dumps(bad).encode())
        good = {"Action": "create", "Service": services.to_go_json(theirs)}
        await peer.publish("micro.nats.watch", json.dumps(good).encode())
        await self.until(lambda: seen)
        self.assertEqual(seen, [Change.of("create", theirs, TOLD)])

    async def test_outage(self) -> None:
        """The server away: known services are read on, marked stale; writes fail and nothing is kept; on its return
        ours are announced again."""
        registry, other = await self.registry(), await self.registry()
        ours, theirs = a_service(), a_service()
        await registry.register(ours, 30.0, ANONYMOUS)
        await other.register(theirs, None, ANONYMOUS)
        await registry.get(theirs.name)
        await self.server.stop()
        await self.until(lambda: not registry.state().connected)
        self.assertIsNotNone(registry.state().stale_since)
        self.assertEqual(await registry.get(theirs.name), (theirs,))
        self.assertEqual(set(await registry.list()), {ours.name, theirs.name})
        failed = a_service()
        await self.assertFailure(registry.register(failed, None, ANONYMOUS), EngineUnavailable)
        await self.assertFailure(registry.register(ours, 30.0, ANONYMOUS), EngineUnavailable)
        await self.assertFailure(registry.get("never.asked"), EngineUnavailable)
        self.server.published.clear()
        self.server.start()
        await self.until(
            lambda: (
                {
                    json.loads(body)["Service"]["name"]
                    for subject, body in self.server.published
                    if subject == "micro.nats.watch"
                }
                == {ours.name, theirs.name}
            )
        )
        self.assertTrue(registry.state().connected)
        self.assertIsNone(registry.state().stale_since)
        gone: Deferred[Any] = registry.get(failed.name)
        await self.assertFailure(gone, NotFound)

    async def test_goodbye(self) -> None:
        """Stopping takes out what was registered here: nobody would answer for it."""
        registry, other = await started(self.server.port), await self.registry()
        service = a_service()
        await registry.register(service, None, ANONYMOUS)
        self.assertEqual(await other.get(service.name), (service,))
        await registry.stopService()
        await self.until_gone(other, service.name)
