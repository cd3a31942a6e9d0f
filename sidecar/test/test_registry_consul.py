"""Consul as the registry: the contract and outages, over a fake Consul and over a real one."""

from __future__ import annotations

from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase

from sidecar.model import BackendOptions
from sidecar.registry.consul import build
from sidecar.test.contracts.registry import RegistryContract
from sidecar.test.doubles.consul import FakeConsul
from sidecar.test.doubles.programs import missing, shared, start_consul


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
