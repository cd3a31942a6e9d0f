"""Consul as the registry: the contract and outages, over a fake Consul and over a real one."""

from __future__ import annotations

import shutil
import zlib
from pathlib import Path
from typing import Any

import orjson
from attrs import evolve
from twisted.internet import reactor
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase
from zope.interface import implementer

from sidecar.errors import BadRequest, ConfigError, EngineUnavailable, NotFound
from sidecar.interfaces import IWatcher
from sidecar.model import ANONYMOUS, BackendOptions, Change
from sidecar.net.client.fetcher import Fetcher
from sidecar.registry.memory import MemoryRegistry
from sidecar.registry.multi import MultiRegistry
from sidecar.registry.remote.consul import build
from sidecar.registry.remote.failover import base_urls
from sidecar.test.contracts.outage import OutageContract
from sidecar.test.contracts.registry import RegistryContract, a_service
from sidecar.test.doubles.programs.process import free_port, missing, shared, start_consul
from sidecar.test.doubles.servers.base import FakeNetwork
from sidecar.test.doubles.servers.consul import FakeConsul
from sidecar.test.doubles.virtualtime import OnVirtualTime
from sidecar.test.doubles.watcher import RecordingWatcher


class FakeConsulCase(OnVirtualTime):
    """A fake Consul, reached without sockets, on a clock of its own."""

    def setUp(self) -> None:
        super().setUp()
        self.network = FakeNetwork(self.clock)
        self.engine = FakeConsul(self.network)
        self.engine.start()
        self.addCleanup(self.engine.stop)  # type: ignore[attr-defined]  # TestCase's

    def built(self, **options: Any) -> Any:
        """A registry of the fake one, not started yet."""
        addresses = options.pop("addresses", (self.engine.address,))
        return build(BackendOptions(reactor=self.clock, addresses=addresses, **options), self.network)


class Fake(FakeConsulCase, RegistryContract, TestCase):
    """The contract, over a fake."""

    shared = True

    async def make_registry(self) -> Any:
        registry = self.built()
        registry.startService()
        return registry


class Real(RegistryContract, TestCase):
    """The contract, over a real Consul."""

    skip = missing("consul")
    shared = True  # two clients see one another

    async def make_registry(self) -> Any:
        registry = build(BackendOptions(reactor=reactor, addresses=(f"127.0.0.1:{shared('consul', start_consul)}",)))
        registry.startService()
        return registry


def rubbish(name: str) -> dict[str, dict[str, Any]]:
    """Registrations that are no nodes of go-micro's, by id."""
    bomb = zlib.compress(b"0" * 50_000_000, 9).hex()
    good = {"Name": name, "Address": "127.0.0.1", "Port": 80}
    found: dict[str, dict[str, Any]] = {
        "bad-hex": {**good, "Tags": ["v-xyz"]},
        "bad-zlib": {**good, "Tags": ["v-00ff00ff"]},
        "bad-short": {**good, "Tags": [f"t-{zlib.compress(b'{}').hex()[:-6]}"]},
        "bad-bomb": {**good, "Tags": [f"v-{bomb}"]},
        "bad-json": {**good, "Tags": [f"e-{zlib.compress(b'{').hex()}"]},
        "bad-type": {**good, "Tags": [f"e-{zlib.compress(b'5').hex()}"]},
        "bad-pair": {**good, "Tags": [f"t-{zlib.compress(b'[1]').hex()}"]},
        "bad-port": {**good, "Port": 70000, "Tags": []},
        "bad-host": {**good, "Address": "no host", "Tags": []},
    }
    return {identity: {"ID": identity, **record} for identity, record in found.items()}


class ConsulOutage(OutageContract):
    """Engine trouble. :ivar address: where Consul is."""

    partly = ("bad-hex", "bad-zlib", "bad-short", "bad-bomb", "bad-json", "bad-type", "bad-pair")
    address: str

    def make(self) -> Any:
        """A registry that is not started yet."""
        raise NotImplementedError

    def make_agent(self) -> Fetcher:
        raise NotImplementedError

    async def make_registry(self) -> Any:
        registry = self.make()
        registry.grace = 6.0
        registry.startService()
        return registry

    async def put_rubbish(self, name: str) -> list[str]:
        agent = self.make_agent()
        for identity, record in rubbish(name).items():
            body = orjson.dumps(record)
            answer = await agent.request("PUT", f"http://{self.address}/v1/agent/service/register", body=body)
            assert answer.status == 200, (identity, answer.body)
        await agent.close()
        return list(rubbish(name))


class Outage(FakeConsulCase, ConsulOutage, TestCase):
    """Over a fake."""

    def setUp(self) -> None:
        super().setUp()
        self.address = self.engine.address

    def make(self) -> Any:
        return self.built()

    def make_agent(self) -> Fetcher:
        return Fetcher(self.clock, agent=self.network)

    async def engine_gone(self) -> None:
        self.engine.stop()

    async def engine_back(self, *, wiped: bool) -> None:
        if wiped:
            self.engine.wipe()
        self.engine.start()


class RealOutage(ConsulOutage, TestCase):
    """The same with a real Consul, stopped and started."""

    skip = missing("consul")

    def setUp(self) -> None:
        self.home = Path(self.mktemp())
        self.home.mkdir()
        self.number = free_port()
        self.address = f"127.0.0.1:{self.number}"
        self.program = start_consul(self.number, self.home)
        self.addCleanup(lambda: self.program.stop())

    def make(self) -> Any:
        return build(BackendOptions(reactor=reactor, addresses=(self.address,)))

    def make_agent(self) -> Fetcher:
        return Fetcher(reactor)

    async def engine_gone(self) -> None:
        self.program.kill()

    async def engine_back(self, *, wiped: bool) -> None:
        if wiped:
            shutil.rmtree(self.home / "data")
        self.program = await deferToThread(start_consul, self.number, self.home)


@implementer(IWatcher)
class Cache:
    """Who keeps what a registry said until it is told to forget it, as the selector does."""

    def __init__(self, registry: Any) -> None:
        self.registry = registry
        self.kept: dict[str, set[int]] = {}

    async def ports(self, name: str) -> set[int]:
        if name not in self.kept:
            found = await self.registry.get(name)
            self.kept[name] = {node.port for service in found for node in service.nodes}
        return self.kept[name]

    def changed(self, change: Change) -> None:
        self.invalidated(change.service.name)

    def invalidated(self, name: str) -> None:
        self.kept.pop(name, None)


class ManyServices:
    """More services than are followed, beside another registry."""

    timeout = 120

    def make(self) -> tuple[Any, Any]:
        """A registry of the engine that is not started yet, and its clock."""
        raise NotImplementedError

    async def test_beyond_those_followed(self) -> None:
        """Each of 60 services that moves is soon found at its new address by those who keep addresses."""
        there, clock = self.make()
        consul, _ = self.make()
        here = MultiRegistry((consul, MemoryRegistry(clock)), clock)
        for registry in (there, here):
            registry.startService()
            self.addCleanup(registry.stopService)  # type: ignore[attr-defined]  # TestCase's
        services = [a_service() for _ in range(60)]
        for service in services:
            await there.register(service, None, ANONYMOUS)
        cache = Cache(here)
        here.watch(cache)
        for service in services:
            assert await cache.ports(service.name) == {service.nodes[0].port}
        for number, service in enumerate(services):
            moved = evolve(service, nodes=(evolve(service.nodes[0], port=20_000 + number),))
            await there.register(moved, None, ANONYMOUS)
        left = {service.name: {20_000 + number} for number, service in enumerate(services)}
        for _ in range(200):
            left = {name: ports for name, ports in left.items() if await cache.ports(name) != ports}
            if not left:
                return
            await deferLater(clock, 0.05)
        raise AssertionError(f"{len(left)} are still found where they were: {left}")


class Many(FakeConsulCase, ManyServices, TestCase):
    """Over a fake."""

    def make(self) -> tuple[Any, Any]:
        return self.built(), self.clock


class RealMany(ManyServices, TestCase):
    """The same with a real Consul."""

    skip = missing("consul")

    def make(self) -> tuple[Any, Any]:
        address = f"127.0.0.1:{shared('consul', start_consul)}"
        return build(BackendOptions(reactor=reactor, addresses=(address,))), reactor


class Manners(FakeConsulCase, TestCase):
    """How Consul is asked."""

    def registry(self, **options: Any) -> Any:
        registry = self.built(**options)
        registry.startService()
        self.addCleanup(registry.stopService)
        return registry

    def asked(self, prefix: str) -> list[str]:
        return [request for request in self.engine.requests if request.startswith(prefix)]

    async def test_no_round_trip(self) -> None:
        """A service that is followed is answered from memory, at once."""
        registry = self.registry()
        service = a_service()
        await registry.register(service, None, ANONYMOUS)
        await registry.get(service.name)
        await self.pass_time(0.3)
        before = len(self.engine.requests)
        for _ in range(50):
            self.successResultOf(registry.get(service.name))
        self.assertEqual(len(self.engine.requests), before)

    async def test_one_round_trip(self) -> None:
        """One that is not is looked up once, however many ask."""
        there = self.registry()
        service = a_service()
        await there.register(service, None, ANONYMOUS)
        await self.pass_time(0.3)  # it follows what it registered
        registry = self.registry()
        self.engine.requests.clear()
        asking = [registry.get(service.name) for _ in range(20)]
        for each in asking:
            self.assertEqual(len((await each)[0].nodes), 1)
        path = f"GET /v1/health/service/{service.name}"
        self.assertEqual(len([each for each in self.engine.requests if each == path]), 1)

    async def test_registration(self) -> None:
        """A registration with TTL is a check in Go's words, passed right after; a renewal is a pass alone."""
        registry = self.registry()
        service = a_service(nodes=2)
        await registry.register(service, 60.0, ANONYMOUS)
        (one, two) = service.nodes
        self.assertEqual(set(self.engine.services), {one.id, two.id})
        self.assertEqual(self.engine.services[one.id]["TTL"], "1m0s")
        self.assertEqual(len(self.asked("PUT /v1/agent/check/pass/service:")), 2)
        self.engine.requests.clear()
        await registry.register(service, 60.0, ANONYMOUS)
        self.assertEqual(len(self.asked("PUT /v1/agent/service/register")), 0)
        self.assertEqual(len(self.asked("PUT /v1/agent/check/pass/service:")), 2)

    async def test_lost_check(self) -> None:
        """A renewal that finds its check gone registers in full."""
        registry = self.registry()
        service = a_service()
        await registry.register(service, 60.0, ANONYMOUS)
        self.engine.services.clear()
        self.engine.checks.clear()
        await registry.register(service, 60.0, ANONYMOUS)
        self.assertEqual(list(self.engine.services), [service.nodes[0].id])

    async def test_stop_leaves_registrations(self) -> None:
        """A sidecar that stops leaves what apps registered through it."""
        registry = self.registry()
        service = a_service()
        await registry.register(service, None, ANONYMOUS)
        await registry.stopService()
        self.assertEqual(list(self.engine.services), [service.nodes[0].id])

    async def test_token(self) -> None:
        """The token goes along; without it the refusal is told, token and all of its name but not its text."""
        self.engine.token = "secret"
        registry = self.registry(token="secret")
        await registry.register(a_service(), None, ANONYMOUS)
        other = self.registry(token="wrong")
        try:
            await other.register(a_service(), None, ANONYMOUS)
        except EngineUnavailable as error:
            self.assertIn("403 Permission denied", str(error))
            self.assertIn("check the token", str(error))
            self.assertNotIn("wrong", str(error))
        else:
            self.fail("taken")

    async def test_refused_for_good(self) -> None:
        """What Consul says it never takes is the caller's fault, in Consul's words."""
        self.engine.faults["/v1/agent/service/register"] = (400, b"Invalid check: no")
        registry = self.registry()
        try:
            await registry.register(a_service(), None, ANONYMOUS)
        except BadRequest as error:
            self.assertIn("Invalid check: no", str(error))
        else:
            self.fail("taken")

    async def test_several_addresses(self) -> None:
        """Addresses are tried in turn: one that is dead, and one without a leader, do not matter."""
        leaderless = FakeConsul(self.network)
        leaderless.faults["/"] = (500, b"No cluster leader")
        leaderless.start()
        registry = self.registry(addresses=("127.0.0.1:1", leaderless.address, self.engine.address))
        service = a_service()
        await registry.register(service, None, ANONYMOUS)
        self.assertEqual(len((await registry.get(service.name))[0].nodes), 1)
        self.assertEqual(list(self.engine.services), [service.nodes[0].id])

    async def test_frozen(self) -> None:
        """A Consul that takes connections and says nothing refuses writes within seconds; reads go on."""
        registry = self.registry()
        service = a_service()
        await registry.register(service, None, ANONYMOUS)
        await registry.get(service.name)
        self.engine.faults["/"] = (None, b"")
        began = self.clock.seconds()
        try:
            await registry.register(a_service(), None, ANONYMOUS)
        except EngineUnavailable as error:
            self.assertIn("no answer within", str(error))
        else:
            self.fail("taken")
        self.assertLess(self.clock.seconds() - began, 8)
        self.assertEqual(len((await registry.get(service.name))[0].nodes), 1)

    async def test_connection_limit(self) -> None:
        """Where Consul takes no more connections, fewer services are followed, and all are found all the same."""
        there = self.registry()
        names = [a_service() for _ in range(5)]
        for service in names:
            await there.register(service, None, ANONYMOUS)
        self.engine.faults["/v1/health/service/"] = (429, b"Your IP is issuing too many concurrent connections")
        registry = self.registry()
        await registry.list()
        for service in names[:2]:
            await self.assertFailure(registry.get(service.name), EngineUnavailable)
        self.engine.faults.clear()
        for service in names:
            self.assertEqual(len((await registry.get(service.name))[0].nodes), 1)
        self.engine.faults["/v1/health/service/"] = (429, b"Your IP is issuing too many concurrent connections")
        self.engine.changed()
        await self.pass_time(0.5)
        self.engine.faults.clear()
        for service in names:
            self.assertEqual(len((await registry.get(service.name))[0].nodes), 1)
        await there.deregister(names[0], ANONYMOUS)
        for _ in range(100):
            try:
                await registry.get(names[0].name)
            except NotFound:
                break
            await self.pass_time(0.05)
        else:
            self.fail("still found")

    async def test_absent_becomes_known(self) -> None:
        """A name that was asked for in vain is told to watchers when it comes."""
        registry, there = self.registry(), self.registry()
        service = a_service()
        await self.assertFailure(registry.get(service.name), NotFound)
        seen: list[Change] = []
        registry.watch(RecordingWatcher(seen))
        await there.register(service, None, ANONYMOUS)
        for _ in range(100):
            if any(change.action == "create" for change in seen):
                break
            await self.pass_time(0.05)
        self.assertIn(service.nodes[0].id, [node.id for change in seen for node in change.service.nodes])

    async def test_index_goes_backwards(self) -> None:
        """An index that went backwards is a Consul that began anew, though no connection broke: ours is there again."""
        registry = self.registry()
        service = a_service()
        await registry.register(service, None, ANONYMOUS)
        await registry.get(service.name)
        for _ in range(20):
            self.engine.changed()
        await self.pass_time(0.3)
        self.engine.wipe()
        for _ in range(100):
            if self.engine.services:
                break
            await self.pass_time(0.05)
        self.assertEqual(list(self.engine.services), [service.nodes[0].id])

    async def test_slow_strangers(self) -> None:
        """After Consul came back empty, a stranger's node is waited for; one that was seen again and left is gone."""
        registry, there = self.registry(), self.registry()
        slow, quick = a_service(), a_service()
        for service in (slow, quick):
            await there.register(service, None, ANONYMOUS)
            await registry.get(service.name)
        await there.stopService()
        self.engine.stop()
        for _ in range(100):
            if registry.state().stale_since is not None:
                break
            await self.pass_time(0.05)
        self.engine.wipe()
        self.engine.start()
        other = self.registry()
        await other.register(quick, None, ANONYMOUS)
        for _ in range(100):
            if registry.state().stale_since is None:
                break
            await self.pass_time(0.05)
        await self.pass_time(1.5)
        self.assertEqual(len((await registry.get(slow.name))[0].nodes), 1)
        self.assertEqual(len((await registry.get(quick.name))[0].nodes), 1)
        await other.deregister(quick, ANONYMOUS)
        for _ in range(100):
            try:
                await registry.get(quick.name)
            except NotFound:
                break
            await self.pass_time(0.05)
        await self.assertFailure(registry.get(quick.name), NotFound)
        self.assertEqual(len((await registry.get(slow.name))[0].nodes), 1)

    def test_addresses(self) -> None:
        """Addresses are hosts, host:port or URLs; others are refused before anything starts."""
        for given, tls, url in (
            ("", False, "http://127.0.0.1:8500"),
            ("c", False, "http://c:8500"),
            ("c:1", True, "https://c:1"),
            ("::1", False, "http://[::1]:8500"),
            ("[::1]:5", False, "http://[::1]:5"),
            ("https://c", False, "https://c:8500"),
        ):
            found = base_urls("consul", (given,) if given else (), "127.0.0.1", 8500, tls)
            self.assertEqual(found, (url,))
        for given in ("ftp://c", "c:x", "c:99999", "http://c/path", "http://", "a b"):
            self.assertRaises(ConfigError, base_urls, "consul", (given,), "127.0.0.1", 8500, False)
