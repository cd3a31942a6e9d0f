"""Consul as the registry: the contract and outages, over a fake Consul and over a real one."""

from __future__ import annotations

import shutil
import zlib
from pathlib import Path
from typing import Any

import orjson
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from sidecar.model import BackendOptions
from sidecar.net.agent import Agent
from sidecar.registry.consul import build
from sidecar.test.contracts.outage import OutageContract
from sidecar.test.contracts.registry import RegistryContract
from sidecar.test.doubles.consul import FakeConsul
from sidecar.test.doubles.programs import free_port, missing, shared, start_consul


class Fake(RegistryContract, TestCase):
    """The contract, over a fake."""

    shared = True

    def setUp(self) -> None:
        self.engine = FakeConsul()
        self.engine.start()
        self.addCleanup(lambda: Deferred.fromCoroutine(self.engine.stop()))

    async def make_registry(self) -> Any:
        registry = build(BackendOptions(reactor=reactor, addresses=(self.engine.address,)))
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
        "bad-port": {**good, "Port": 0, "Tags": []},
        "bad-host": {**good, "Address": "no host", "Tags": []},
    }
    return {identity: {"ID": identity, **record} for identity, record in found.items()}


class Outage(OutageContract, TestCase):
    """Engine trouble, over a fake."""

    def setUp(self) -> None:
        self.engine = FakeConsul()
        self.engine.start()
        self.addCleanup(lambda: Deferred.fromCoroutine(self.engine.stop()))

    @property
    def address(self) -> str:
        return self.engine.address

    async def make_registry(self) -> Any:
        registry = build(BackendOptions(reactor=reactor, addresses=(self.address,)))
        registry.startService()
        return registry

    async def engine_gone(self) -> None:
        await self.engine.stop()

    async def engine_back(self, *, wiped: bool) -> None:
        if wiped:
            self.engine.wipe()
        self.engine.start()

    async def put_rubbish(self, name: str) -> list[str]:
        agent = Agent(reactor)
        for identity, record in rubbish(name).items():
            body = orjson.dumps(record)
            answer = await agent.request("PUT", f"http://{self.address}/v1/agent/service/register", body=body)
            self.assertEqual(answer.status, 200, (identity, answer.body))
        await agent.close()
        return list(rubbish(name))


class RealOutage(Outage):
    """The same with a real Consul, stopped and started."""

    skip = missing("consul")

    def setUp(self) -> None:
        self.home = Path(self.mktemp())
        self.home.mkdir()
        self.number = free_port()
        self.program = start_consul(self.number, self.home)
        self.addCleanup(lambda: self.program.stop())

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.number}"

    async def engine_gone(self) -> None:
        self.program.kill()

    async def engine_back(self, *, wiped: bool) -> None:
        if wiped:
            shutil.rmtree(self.home / "data")
        self.program = await deferToThread(start_consul, self.number, self.home)
