"""etcd as the registry: the contract and outages, over a fake etcd and over a real one."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from sidecar.model import BackendOptions
from sidecar.net.agent import Agent
from sidecar.registry.etcd import build
from sidecar.test.contracts.outage import OutageContract
from sidecar.test.contracts.registry import RegistryContract
from sidecar.test.doubles.etcd import FakeEtcd
from sidecar.test.doubles.programs import free_port, missing, shared, start_etcd
from sidecar.wire import etcd as wire


class Fake(RegistryContract, TestCase):
    """The contract, over a fake."""

    shared = True

    def setUp(self) -> None:
        self.engine = FakeEtcd()
        self.engine.start()
        self.addCleanup(lambda: Deferred.fromCoroutine(self.engine.stop()))

    async def make_registry(self) -> Any:
        registry = build(BackendOptions(reactor=reactor, addresses=(self.engine.address,)))
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


class Outage(OutageContract, TestCase):
    """Engine trouble, over a fake."""

    def setUp(self) -> None:
        self.engine = FakeEtcd()
        self.engine.start()
        self.addCleanup(lambda: Deferred.fromCoroutine(self.engine.stop()))

    async def make_registry(self) -> Any:
        registry = build(BackendOptions(reactor=reactor, addresses=(self.engine.address,)))
        registry.startService()
        return registry

    async def engine_gone(self) -> None:
        await self.engine.stop()

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
)


class RealOutage(Outage):
    """The same with a real etcd, stopped and started."""

    skip = missing("etcd")

    def setUp(self) -> None:
        self.home = Path(self.mktemp())
        self.home.mkdir()
        self.number = free_port()
        self.program = start_etcd(self.number, self.home)
        self.addCleanup(lambda: self.program.stop())

    async def make_registry(self) -> Any:
        registry = build(BackendOptions(reactor=reactor, addresses=(f"127.0.0.1:{self.number}",)))
        registry.startService()
        return registry

    async def engine_gone(self) -> None:
        self.program.kill()

    async def engine_back(self, *, wiped: bool) -> None:
        if wiped:
            shutil.rmtree(self.home / "data")
        self.program = await deferToThread(start_etcd, self.number, self.home)

    async def put_rubbish(self, name: str) -> list[str]:
        agent = Agent(reactor)
        keys = [f"/micro/registry/{name}/bad-{number}" for number in range(len(RUBBISH))]
        for key, value in zip(keys, RUBBISH, strict=True):
            body = wire.put(key, value.replace(b"NAME", name.encode()), 0)
            answer = await agent.request("POST", f"http://127.0.0.1:{self.number}/v3/kv/put", body=body)
            self.assertEqual(answer.status, 200, answer.body)
        await agent.close()
        return keys
