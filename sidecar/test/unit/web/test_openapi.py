"""The API's documents are valid, complete and true of what is served."""

from __future__ import annotations

import importlib.util

from twisted.internet import reactor
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.resource import IResource

from sidecar.daemon.assembly import assemble
from sidecar.daemon.cmdline.settings import ListenSettings, Settings, TcpPort
from sidecar.test.doubles.programs.process import not_installed
from sidecar.web.openapi import document, routes
from sidecar.web.resource import MethodResource


class Documents(SynchronousTestCase):
    def test_valid(self) -> None:
        """OpenAPI's own validator finds no fault."""
        if importlib.util.find_spec("openapi_spec_validator") is None:
            self.skipTest("not installed: openapi-spec-validator (PyPI)")
        from openapi_spec_validator import validate

        validate(document.openapi())

    def test_every_operation_tells_its_errors(self) -> None:
        """Each has the common errors, its own, and a description; ids are unique."""
        seen: set[str] = set()
        for path, methods in document.openapi()["paths"].items():
            for method, told in methods.items():
                where = f"{method} {path}"
                self.assertNotIn(told["operationId"], seen, where)
                seen.add(told["operationId"])
                self.assertTrue(told["summary"] and told["description"], where)
                self.assertLessEqual({"400", "403", "500", "default"}, set(told["responses"]), where)

    def test_websockets(self) -> None:
        """Each WebSocket is a channel with its parameters, and an operation each way that frames go."""
        told = document.asyncapi()
        self.assertEqual(
            {channel["address"] for channel in told["channels"].values()},
            {route.path for route in routes.ROUTES if route.websocket or route.upgrades},
        )
        self.assertIn("topic", told["channels"]["subscribe"]["bindings"]["ws"]["query"]["properties"])
        self.assertIn("subscribe.send", told["operations"])
        self.assertIn("lookUp.receive", told["operations"])
        self.assertNotIn("lookUp.send", told["operations"])


class Routes(SynchronousTestCase):
    skip = not_installed()  # the whole daemon is assembled, with backends by name

    def test_the_tree_and_the_table_agree(self) -> None:
        """Every path that is served, with every method, is in the table; and nothing else is."""
        served: dict[str, set[str]] = {}
        for path, resource in everything().items():
            assert isinstance(resource, MethodResource), path
            served[path] = set(resource.allowed) - {"OPTIONS", "HEAD"}
        # What is below /check/ is found by its beginning.
        served["/check/{name}/{state}"] = {"PUT", "POST"}
        # So are the parts of the dashboard.
        served["/stats/{asset}"] = {"GET"}
        # All other paths are services'.
        served["/{service}/{method}"] = {"POST"}
        told: dict[str, set[str]] = {}
        for route in routes.ROUTES:
            told.setdefault(route.path, set()).add(route.method)
        self.assertEqual(served, told)


def everything() -> dict[str, IResource]:
    """Every path of a daemon with all that can be served, and its resource."""
    settings = Settings(listen=ListenSettings(TcpPort("127.0.0.1", 0)), enable_stats=True)
    daemon = assemble(settings, reactor, lambda: ())
    daemon.listener.close()
    return daemon.root.by_path()
