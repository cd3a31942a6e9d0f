"""The example of a third party's backend under ``docs/``: found by its entry points, and as good as ours."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from configparser import ConfigParser
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SkipTest, SynchronousTestCase, TestCase

from sidecar.daemon import backends
from sidecar.daemon.cmdline import kinds
from sidecar.daemon.cmdline.settings import BrokerSettings, RegistrySettings, Settings
from sidecar.interfaces import IBroker
from sidecar.model import BackendOptions
from sidecar.test.contracts import broker as contract
from sidecar.test.contracts.registry import RegistryContract
from sidecar.test.doubles.programs.daemon import environment, running_daemon
from sidecar.test.doubles.programs.process import checkout, no_checkout, not_installed

EXAMPLE = checkout() / "docs" / "example-backend"
SKIP = no_checkout()

SETTINGS = Settings(
    registry=RegistrySettings((BackendOptions(kind="example"),)), broker=BrokerSettings(BackendOptions(kind="example"))
)


def installed(test: SynchronousTestCase) -> list[str]:
    """What pip would leave of the example: its module, and a ``.dist-info`` with the entry points of its setup.cfg.

    :returns: the directories to be on the path; removed when the test is over.
    """
    site = Path(tempfile.mkdtemp(prefix="example-"))
    test.addCleanup(shutil.rmtree, site)
    info = site / "microsidecar_example-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: microsidecar-example\nVersion: 1.0\n")
    config = ConfigParser()
    config.read(EXAMPLE / "setup.cfg")
    groups = dict(config["options.entry_points"])
    (info / "entry_points.txt").write_text("".join(f"[{group}]{lines}\n" for group, lines in groups.items()))
    shutil.copy(EXAMPLE / "microsidecar_example.py", site)
    return [str(site)]


def found(test: SynchronousTestCase) -> None:
    """Have this process find the example, and forget it when the test is over."""
    directories = installed(test)
    kinds.found.cache_clear()
    sys.path[:0] = directories

    def forget() -> None:
        for directory in directories:
            sys.path.remove(directory)
        sys.modules.pop("microsidecar_example", None)
        kinds.found.cache_clear()

    test.addCleanup(forget)


class Found(SynchronousTestCase):
    skip = SKIP

    def setUp(self) -> None:
        found(self)

    def test_names(self) -> None:
        """The flags offer it beside ours."""
        reason = not_installed()
        if reason is not None:
            raise SkipTest(reason)
        self.assertLessEqual({"example", "memory"}, set(kinds.kinds(kinds.REGISTRIES)))
        self.assertLessEqual({"example", "memory"}, set(kinds.kinds(kinds.BROKERS)))

    def test_built(self) -> None:
        """Its factories are those that are called."""
        registry = backends.registries(SETTINGS, Clock())
        self.assertEqual(registry.state().kind, "example")
        self.assertEqual(backends.broker(SETTINGS, Clock(), registry).state().kind, "example")


class Registry(RegistryContract, TestCase):
    """The contract of registries, over the example."""

    skip = SKIP

    def setUp(self) -> None:
        found(self)
        self.clock = Clock()

    async def make_registry(self) -> Any:
        registry: Any = backends.registries(SETTINGS, self.clock)
        registry.startService()
        return registry

    async def pass_time(self, seconds: float) -> None:
        self.clock.advance(seconds)


class Broker(contract.BrokerContract):
    """The contract of brokers, over the example."""

    skip = SKIP

    def setUp(self) -> None:
        found(self)
        self.clock = Clock()

    def make_broker(self) -> IBroker:
        broker: Any = backends.broker(SETTINGS, self.clock, backends.registries(SETTINGS, self.clock))
        broker.startService()
        self.addCleanup(broker.stopService)
        made: IBroker = broker
        return made

    def until(self, reached: Callable[[], object], what: str, patience: float = 30.0) -> Deferred[None]:
        turns = 0
        while not reached():
            self.assertLess(turns := turns + 1, 100, f"never: {what}")
            self.clock.advance(0)
        return succeed(None)

    def quiet(self, seconds: float = 0.2) -> Deferred[None]:
        self.clock.advance(seconds)
        return succeed(None)


class InTheDaemon(SynchronousTestCase):
    skip = SKIP

    def test_serves(self) -> None:
        """``--registry=example --broker=example`` is a sidecar that keeps services and carries messages."""
        path = os.pathsep.join([*installed(self), environment()["PYTHONPATH"]])
        flags = ["--registry=example", "--broker=example"]
        with running_daemon(flags, {"PYTHONPATH": path}) as daemon:
            service = '{"name":"app","nodes":[{"id":"app-1","address":"127.0.0.1","port":9}]}'
            self.assertEqual(daemon.request("POST", "/registry", service).status, 200)
            self.assertIn(b'"app"', daemon.request("GET", "/registry").body)
            self.assertEqual(daemon.request("POST", "/broker?topic=t", "hello").status, 200)
