"""Engines are found by entry point; what cannot be made is said in one sentence."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import EntryPoint
from typing import Any
from unittest.mock import sentinel

from twisted.application import service
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from sidecar.broker.memory import build as memory_broker
from sidecar.daemon import backends
from sidecar.daemon.cmdline import kinds
from sidecar.daemon.cmdline.settings import BrokerSettings, RegistrySettings, Settings
from sidecar.errors import ConfigError
from sidecar.interfaces import IBroker, IRegistry
from sidecar.model import BackendOptions, Change, Service
from sidecar.registry.memory import build as memory_registry
from sidecar.test.doubles.programs.process import not_installed

# Backends are found by their entry points, and the flags are read against those there are.
skip = not_installed()


def build_theirs(options: BackendOptions) -> object:
    """The factory of a third party; ``given`` is what it was given."""
    built: Any = memory_broker(options) if options.registry is not None else memory_registry(options)
    built.given = options
    return built


class Old(service.Service):
    """A registry as it was written for 1.0.0."""

    def register(self, service: Service, ttl: float | None) -> Any: ...
    def get(self, name: str) -> Any: ...
    def list(self) -> Any: ...
    def watch(self, notify: Callable[[Change], None]) -> Any: ...
    def state(self) -> Any: ...


def build_old(options: BackendOptions) -> object:
    """A factory of before."""
    return Old()


def build_broken(options: BackendOptions) -> None:
    """A factory with a bug."""
    raise RuntimeError("a bug of its own")


def build_refusing(options: BackendOptions) -> None:
    """A factory that does not like its settings."""
    raise ConfigError("an address is needed")


class BackendsTests(SynchronousTestCase):
    def setUp(self) -> None:
        ours = kinds.found

        def found(group: str) -> dict[str, EntryPoint]:
            here = {
                "theirs": f"{__name__}:build_theirs",
                "old": f"{__name__}:build_old",
                "broken": f"{__name__}:build_broken",
                "refusing": f"{__name__}:build_refusing",
                "missing": "no_such_package:build",
            }
            return {**ours(group), **{name: EntryPoint(name, value, group) for name, value in here.items()}}

        self.patch(kinds, "found", found)
        self.patch(backends, "found", found)

    def registry(self, *kinds: str) -> Any:
        engines = tuple(BackendOptions(kind=kind, addresses=("a:1",), password="p") for kind in kinds)
        return backends.registries(Settings(registry=RegistrySettings(engines)), Clock())

    def broker(self, kind: str) -> Any:
        return backends.broker(Settings(broker=BrokerSettings(BackendOptions(kind=kind))), Clock(), sentinel.registry)

    def test_the_embedded_ones(self) -> None:
        """They are found like all others."""
        self.assertTrue(IRegistry.providedBy(self.registry("memory")))
        self.assertTrue(IBroker.providedBy(self.broker("memory")))

    def test_ours_are_all_there(self) -> None:
        """Every engine that the flags name."""
        self.assertLessEqual({"memory", "consul", "etcd", "mdns", "nats"}, set(kinds.kinds(kinds.REGISTRIES)))
        self.assertLessEqual({"memory", "nats", "http"}, set(kinds.kinds(kinds.BROKERS)))

    def test_a_third_party_is_given_everything(self) -> None:
        """What the flags said, and to brokers the registry in use."""
        options = self.registry("theirs").given
        self.assertEqual((options.addresses, options.password, options.registry), (("a:1",), "p", None))
        options = self.broker("theirs").given
        self.assertIs(options.registry, sentinel.registry)

    def test_one_of_another_version(self) -> None:
        """It is refused in one sentence that names each thing that it lacks."""
        said = str(self.assertRaises(ConfigError, self.registry, "old"))
        for words in ("--registry=old", "it has no deregister", "implements IRegistry"):
            self.assertIn(words, said)
        self.assertNotIn("\n", said)

    def test_faults(self) -> None:
        """Nobody of that name, no such module, a bug, a refusal: each names the flag and the kind."""
        for kind, words in (
            ("nobody", ("--registry=nobody", "memory")),
            ("missing", ("--registry=missing", "no_such_package")),
            ("broken", ("--registry=broken", "a bug of its own")),
            ("refusing", ("--registry=refusing", "an address is needed")),
        ):
            said = str(self.assertRaises(ConfigError, self.registry, kind))
            for word in words:
                self.assertIn(word, said)
            self.assertNotIn("\n", said)
        self.assertIn("--broker=broken", str(self.assertRaises(ConfigError, self.broker, "broken")))
