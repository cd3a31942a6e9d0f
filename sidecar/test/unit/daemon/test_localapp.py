"""What the app beside the sidecar is registered as."""

from __future__ import annotations

from typing import Any

from twisted.internet import reactor as installed
from twisted.internet.task import deferLater
from twisted.python.filepath import FilePath
from twisted.trial.unittest import TestCase
from twisted.web.resource import Resource
from twisted.web.server import Site
from twisted.web.static import Data

from sidecar.daemon.appchecks import CheckMaker
from sidecar.daemon.cmdline import options
from sidecar.daemon.localapp import AppMaker
from sidecar.model import Node
from sidecar.net.http.hosts import AllowedHosts
from sidecar.net.http.limits import HTTPLimits
from sidecar.net.memory import MOST, MemoryBudget
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
        checks, budget = CheckMaker(reactor, plain), MemoryBudget(MOST, reactor.seconds)
        maker = AppMaker(("memory",), registry, checks, plain, HTTPLimits(), budget, browsers, reactor)
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

    async def test_endpoints(self) -> None:
        """It is registered with the endpoints that flags name, its file describes and it tells of itself."""
        file = self.mktemp()
        FilePath(file).setContent(b'{"openapi":"3.0.3","paths":{"/Say/Hello":{"post":{"summary":"Greets"}}}}')
        answers = Data(b'[{"name":"Say.Bye","request":{"name":"Bye","type":"Bye"}}]', "application/json")
        root = Resource()
        root.putChild(b"endpoints", answers)
        port = reactor.listenTCP(0, Site(root), interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        registry = MemoryRegistry(reactor)
        plain: Any = None
        checks, budget = CheckMaker(reactor, plain), MemoryBudget(MOST, reactor.seconds)
        maker = AppMaker(("memory",), registry, checks, plain, HTTPLimits(), budget, BROWSERS, reactor)
        flags = ["--server_endpoint=Say.Hello;scopes=public", "--server_endpoint=Say.Count;stream=true"]
        flags += [
            f"--server_endpoints={file}",
            f"--server_endpoints_url=http://127.0.0.1:{port.getHost().port}/endpoints",
        ]
        app = maker.make(parse(["--server_name=foo", "--server_address=127.0.0.1:9090", *flags]).apps[0])
        app.registrar.startService()
        self.addCleanup(app.registrar.stopService)
        while not await registry.list():
            await deferLater(reactor, 0.01)
        (service,) = await registry.get("foo")
        self.assertEqual(
            {each.name: dict(each.metadata) for each in service.endpoints},
            {
                "Say.Hello": {"description": "Greets", "scopes": "public"},
                "Say.Count": {"stream": "true"},
                "Say.Bye": {},
            },
        )


def parse(flags: list[str]) -> Any:
    parsed = options.Options({})
    parsed.parseOptions(flags)
    return parsed.settings
