"""What the app beside the sidecar is registered as."""

from __future__ import annotations

from typing import Any

from twisted.internet import reactor as installed
from twisted.trial.unittest import TestCase

from sidecar.daemon.appchecks import CheckMaker
from sidecar.daemon.cmdline import options
from sidecar.daemon.localapp import AppMaker
from sidecar.model import Node
from sidecar.net.http.hosts import AllowedHosts
from sidecar.net.http.limits import HTTPLimits
from sidecar.registry.memory import MemoryRegistry
from sidecar.test.doubles.programs.process import not_installed
from sidecar.web.cors import BrowserPolicy, CorsPolicy

reactor: Any = installed

BROWSERS = BrowserPolicy(AllowedHosts(), CorsPolicy())


class Registered(TestCase):
    """An app that speaks plain HTTP, behind a port of ours."""

    skip = not_installed()

    async def node(self, *flags: str) -> Node:
        given = ["--server_name=foo", "--server_address=127.0.0.1:9090", "--server_protocol=http", *flags]
        registry = MemoryRegistry(reactor)
        plain: Any = None
        browsers: Any = None
        maker = AppMaker(("memory",), registry, CheckMaker(reactor, plain), plain, HTTPLimits(), browsers, reactor)
        app = maker.make(parse(given).apps[0])
        for service in (app.inbound, app.registrar):
            await_started: Any = service
            await_started.startService()
            self.addCleanup(await_started.stopService)
        ((found,),) = [each.nodes for each in await registry.get("foo")]
        return found

    async def test_as_go(self) -> None:
        """It says what Go's own servers say, so that callers of v6 send it their bare request."""
        node = await self.node()
        self.assertEqual(dict(node.metadata), {"protocol": "mucp", "server": "mucp", "transport": "http"})
        self.assertNotEqual(node.port, 9090)

    async def test_given(self) -> None:
        """What the user says counts more."""
        node = await self.node("--server_metadata=protocol=grpc", "--server_metadata=zone=a")
        self.assertEqual((node.metadata["protocol"], node.metadata["zone"]), ("grpc", "a"))


def parse(flags: list[str]) -> Any:
    parsed = options.Options({})
    parsed.parseOptions(flags)
    return parsed.settings
