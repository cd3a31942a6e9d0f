"""etcd as the registry: the contract and outages, over a fake etcd and over a real one."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from sidecar.errors import EngineUnavailable, NotFound
from sidecar.model import ANONYMOUS, BackendOptions, Service
from sidecar.net.client.fetcher import Fetcher
from sidecar.registry.remote.etcd import build
from sidecar.test.contracts.outage import OutageContract
from sidecar.test.contracts.registry import RegistryContract, a_service
from sidecar.test.doubles.programs.process import free_port, missing, shared, start_etcd
from sidecar.test.doubles.servers.base import FakeNetwork
from sidecar.test.doubles.servers.etcd import FakeEtcd
from sidecar.test.doubles.virtualtime import OnVirtualTime
from sidecar.wire.registry import etcd as wire


class FakeEtcdCase(OnVirtualTime):
    """A fake etcd, reached without sockets, on a clock of its own."""

    def setUp(self) -> None:
        super().setUp()
        self.network = FakeNetwork(self.clock)
        self.engine = FakeEtcd(self.network)
        self.engine.start()
        self.addCleanup(self.engine.stop)  # type: ignore[attr-defined]  # TestCase's

    def built(self, **options: Any) -> Any:
        """A registry of the fake one, not started yet."""
        addresses = options.pop("addresses", (self.engine.address,))
        return build(BackendOptions(reactor=self.clock, addresses=addresses, **options), self.network)


class Fake(FakeEtcdCase, RegistryContract, TestCase):
    """The contract, over a fake."""

    shared = True

    async def make_registry(self) -> Any:
        registry = self.built()
        registry.startService()
        return registry


class Real(RegistryContract, TestCase):
    """The contract, over a real etcd."""

    skip = missing("etcd")
    shared = True  # two clients see one another

    async def make_registry(self) -> Any:
        registry = build(BackendOptions(reactor=reactor, addresses=(f"127.0.0.1:{shared('etcd', start_etcd)}",)))
        registry.startService()
        return registry


class Outage(FakeEtcdCase, OutageContract, TestCase):
    """Engine trouble, over a fake."""

    partly = ("part-1", "part-2")

    async def make_registry(self) -> Any:
        registry = self.built()
        registry.grace = 6.0
        registry.startService()
        return registry

    async def engine_gone(self) -> None:
        self.engine.stop()

    async def engine_back(self, *, wiped: bool) -> None:
        if wiped:
            self.engine.wipe()
        self.engine.start()

    async def put_rubbish(self, name: str) -> list[str]:
        for number, value in enumerate(RUBBISH):
            self.engine.put(f"/micro/registry/{name}/bad-{number}", value.replace(b"NAME", name.encode()))
        return [f"/micro/registry/{name}/bad-{number}" for number in range(len(RUBBISH))]


#: What is no service.
RUBBISH = (
    b"",
    b"{",
    b"\xff\xfe",
    b"[]",
    b'{"name": "NAME"}',
    b'{"name": 5, "nodes": [{"id": "x", "address": "h:1"}]}',
    b'{"name": "NAME", "nodes": [{"id": "x"}]}',
    b'{"name": "NAME", "nodes": [{"id": "x", "address": "h:99999"}]}',
    b'{"name": "NAME", "nodes": "x"}',
    b"[" * 100_000,
    b'{"name": "NAME", "nodes": [{"id": "part-1", "address": "h:1", "metadata": {"a": 5}}], "endpoints": [5, {}]}',
    b'{"name": "NAME", "version": 5, "endpoints": "x", "nodes": [{"id": "part-2", "address": "h:1"}]}',
)


class RealOutage(OutageContract, TestCase):
    """The same with a real etcd, stopped and started."""

    partly = ("part-1", "part-2")

    skip = missing("etcd")

    def setUp(self) -> None:
        self.home = Path(self.mktemp())
        self.home.mkdir()
        self.number = free_port()
        self.program = start_etcd(self.number, self.home)
        self.addCleanup(lambda: self.program.stop())

    async def make_registry(self) -> Any:
        registry = build(BackendOptions(reactor=reactor, addresses=(f"127.0.0.1:{self.number}",)))
        registry.grace = 6.0
        registry.startService()
        return registry

    async def engine_gone(self) -> None:
        self.program.kill()

    async def engine_back(self, *, wiped: bool) -> None:
        if wiped:
            shutil.rmtree(self.home / "data")
        self.program = await deferToThread(start_etcd, self.number, self.home)

    async def put_rubbish(self, name: str) -> list[str]:
        agent = Fetcher(reactor)
        keys = [f"/micro/registry/{name}/bad-{number}" for number in range(len(RUBBISH))]
        for key, value in zip(keys, RUBBISH, strict=True):
            body = wire.put(key, value.replace(b"NAME", name.encode()), 0)
            answer = await agent.request("POST", f"http://127.0.0.1:{self.number}/v3/kv/put", body=body)
            self.assertEqual(answer.status, 200, answer.body)
        await agent.close()
        return keys


class Manners(FakeEtcdCase, TestCase):
    """How etcd is asked."""

    def registry(self, **options: Any) -> Any:
        registry = self.built(**options)
        registry.startService()
        self.addCleanup(registry.stopService)
        return registry

    async def _found(self, registry: Any, service: Service) -> None:
        for _ in range(100):
            if service.name in await registry.list():
                await registry.get(service.name)
                return
            await self.pass_time(0.05)
        self.fail(f"{service.name} is not found")

    async def test_no_round_trip(self) -> None:
        """Everything is answered from memory, at once."""
        registry = self.registry()
        await registry.list()
        self.engine.requests.clear()
        for _ in range(50):
            self.failureResultOf(registry.get("x"), NotFound)
        self.assertEqual(self.engine.requests, [])

    async def test_leases(self) -> None:
        """A TTL is a lease of whole seconds; a renewal keeps it alive and writes nothing; the end gives it back."""
        registry = self.registry()
        service = a_service()
        await registry.register(service, 60.0, ANONYMOUS)
        ((identity, lease),) = self.engine.leases.items()
        self.assertEqual((lease.ttl, [kept.lease for kept in self.engine.kept.values()]), (60, [identity]))
        revision = self.engine.revision
        await registry.register(service, 60.0, ANONYMOUS)
        self.assertEqual((self.engine.revision, list(self.engine.leases)), (revision, [identity]))
        await registry.deregister(service, ANONYMOUS)
        await self.pass_time(0.2)
        self.assertEqual((self.engine.kept, self.engine.leases), ({}, {}))

    async def test_lost_lease(self) -> None:
        """A lease that etcd let lapse while ours holds is taken again, with its key."""
        registry = self.registry()
        service = a_service()
        await registry.register(service, 60.0, ANONYMOUS)
        self.engine._lapse(next(iter(self.engine.leases)))
        for _ in range(100):
            if self.engine.kept:
                break
            await self.pass_time(0.05)
        self.assertEqual(len(self.engine.kept), 1)
        await self._found(registry, service)

    async def test_resumes(self) -> None:
        """A watch whose connection broke goes on from its revision: nothing is read again, nothing missed."""
        registry, there = self.registry(), self.registry()
        await registry.list()
        await there.list()
        self.engine.requests.clear()
        self.engine.break_watches()
        service = a_service()
        await there.register(service, None, ANONYMOUS)
        await self._found(registry, service)
        watches = [request for request in self.engine.requests if request == "POST /v3/watch"]
        self.assertGreaterEqual(len(watches), 2)
        self.assertIsNone(registry.state().stale_since)

    async def test_compaction(self) -> None:
        """Where history is gone everything is read again: what came is found, what went is not."""
        registry, there = self.registry(), self.registry()
        going, coming = a_service(), a_service()
        await there.register(going, None, ANONYMOUS)
        await self._found(registry, going)
        self.engine.faults["/v3/watch"] = (503, b"")
        self.engine.break_watches()
        await there.deregister(going, ANONYMOUS)
        await there.register(coming, None, ANONYMOUS)
        self.engine.compact()
        self.engine.put("/elsewhere", b"")
        self.engine.faults.clear()
        await self._found(registry, coming)
        await self.assertFailure(registry.get(going.name), NotFound)

    async def test_pages(self) -> None:
        """A large range is read in pages."""
        self.engine.page = 7
        there = self.registry()
        for number in range(40):
            await there.register(a_service(f"paged.{number}"), None, ANONYMOUS)
        registry = self.registry()
        self.assertEqual(len(await registry.list()), 40)

    async def test_user(self) -> None:
        """User and password get a token; one that ran out is got anew."""
        self.engine.users["me"] = "secret"
        registry = self.registry(username="me", password="secret")
        await registry.register(a_service(), None, ANONYMOUS)
        self.engine.tokens.clear()
        self.engine.break_watches()
        service = a_service()
        await registry.register(service, 60.0, ANONYMOUS)
        await self._found(registry, service)

    async def test_wrong_password(self) -> None:
        """A wrong password is told as such, without it."""
        self.engine.users["me"] = "secret"
        registry = self.registry(username="me", password="guess")
        try:
            await registry.register(a_service(), None, ANONYMOUS)
        except EngineUnavailable as error:
            self.assertIn("check user name and password", str(error))
            self.assertNotIn("guess", str(error))
        else:
            self.fail("taken")

    async def test_several_addresses(self) -> None:
        """Addresses are tried in turn."""
        registry = self.registry(addresses=("127.0.0.1:1", self.engine.address))
        service = a_service()
        await registry.register(service, None, ANONYMOUS)
        await self._found(registry, service)

    async def test_frozen(self) -> None:
        """An etcd that says nothing any more is noticed, though its watch stays open."""
        registry = self.registry()
        service = a_service()
        await registry.register(service, None, ANONYMOUS)
        self.engine.faults["/"] = (None, b"")
        for _ in range(400):
            if registry.state().stale_since is not None:
                break
            await self.pass_time(0.05)
        self.assertIsNotNone(registry.state().stale_since)
        self.assertEqual(len((await registry.get(service.name))[0].nodes), 1)
        self.engine.faults.clear()

    async def test_down_at_start(self) -> None:
        """An etcd that is away when the sidecar starts is joined when it comes."""
        self.engine.stop()
        registry = self.registry()
        await self.assertFailure(registry.list(), EngineUnavailable)
        self.engine.start()
        service = a_service()
        for _ in range(100):
            if registry.state().connected:
                break
            await self.pass_time(0.05)
        await registry.register(service, None, ANONYMOUS)
        await self._found(registry, service)
