"""Engines are found by entry point; what cannot be made is said in one sentence."""

from __future__ import annotations

from importlib.metadata import EntryPoint
from unittest.mock import sentinel

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from sidecar.daemon import backends
from sidecar.daemon.cmdline.settings import BrokerSettings, EngineSettings, RegistrySettings, Settings
from sidecar.errors import ConfigError
from sidecar.interfaces import IBroker, IRegistry
from sidecar.model import BackendOptions


def build_options(options: BackendOptions) -> BackendOptions:
    """The factory of a third party that gives back what it was given."""
    return options


def build_broken(options: BackendOptions) -> None:
    """A factory with a bug."""
    raise RuntimeError("a bug of its own")


def build_refusing(options: BackendOptions) -> None:
    """A factory that does not like its settings."""
    raise ConfigError("an address is needed")


class BackendsTests(SynchronousTestCase):
    def setUp(self) -> None:
        ours = backends._found

        def found(group: str) -> dict[str, EntryPoint]:
            here = {
                "theirs": f"{__name__}:build_options",
                "broken": f"{__name__}:build_broken",
                "refusing": f"{__name__}:build_refusing",
                "missing": "no_such_package:build",
            }
            return {**ours(group), **{name: EntryPoint(name, value, group) for name, value in here.items()}}

        self.patch(backends, "_found", found)

    def registry(self, *kinds: str) -> object:
        engines = tuple(EngineSettings(kind, addresses=("a:1",), password="p") for kind in kinds)
        return backends.registries(Settings(registry=RegistrySettings(engines)), Clock())

    def broker(self, kind: str) -> object:
        return backends.broker(Settings(broker=BrokerSettings(EngineSettings(kind))), Clock(), sentinel.registry)

    def test_the_embedded_ones(self) -> None:
        """They are found like all others."""
        self.assertTrue(IRegistry.providedBy(self.registry("memory")))
        self.assertTrue(IBroker.providedBy(self.broker("memory")))

    def test_ours_are_all_there(self) -> None:
        """Every engine that the flags name."""
        self.assertLessEqual({"memory", "consul", "etcd", "mdns", "nats"}, set(backends.kinds(backends.REGISTRIES)))
        self.assertLessEqual({"memory", "nats", "http"}, set(backends.kinds(backends.BROKERS)))

    def test_a_third_party_is_given_everything(self) -> None:
        """What the flags said, and to brokers the registry in use."""
        options = self.registry("theirs")
        assert isinstance(options, BackendOptions)
        self.assertEqual((options.addresses, options.password, options.registry), (("a:1",), "p", None))
        options = self.broker("theirs")
        assert isinstance(options, BackendOptions)
        self.assertIs(options.registry, sentinel.registry)

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
