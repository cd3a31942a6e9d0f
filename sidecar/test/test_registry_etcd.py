"""etcd as the registry: the contract and outages, over a fake etcd and over a real one."""

from __future__ import annotations

from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase

from sidecar.model import BackendOptions
from sidecar.registry.etcd import build
from sidecar.test.contracts.registry import RegistryContract
from sidecar.test.doubles.etcd import FakeEtcd
from sidecar.test.doubles.programs import missing, shared, start_etcd


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
