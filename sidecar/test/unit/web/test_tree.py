"""The tree as a whole: what is on which path, and what is said where nothing is."""

from __future__ import annotations

from attrs import define
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.resource import Resource
from zope.interface import implementer

from sidecar.interfaces import IAppHealth
from sidecar.test.doubles.clients.resources import Asking
from sidecar.web.health import HealthResource
from sidecar.web.resource import MethodResource
from sidecar.web.response import Answer, Request
from sidecar.web.tree import build_tree


class Open:
    """A CORS policy that lets everybody in."""

    def apply(self, request: object) -> None:
        request.setHeader(b"Access-Control-Allow-Origin", b"*")  # type: ignore[attr-defined]  # a twisted request


def answering(text: bytes) -> MethodResource:
    return MethodResource({"GET": lambda request: Answer(text)})


class Proxy(Resource):
    """Takes every path that it is offered."""

    isLeaf = True
    route = b"/{service}/{method}"
    takes_options = True

    def claim(self, request: Request, fixed: bool) -> Proxy:
        return self

    def render(self, request: Request) -> bytes:
        return b"service"


class TreeTests(SynchronousTestCase):
    def setUp(self) -> None:
        tree = build_tree(
            cors=Open(),
            registry=answering(b"registry"),
            rpc=MethodResource({"POST": lambda request: Answer(b"rpc")}),
            broker=answering(b"broker"),
            health=answering(b"health"),
            stream=answering(b"stream"),
            dashboard=answering(b"dashboard"),
        )
        self.ask = Asking(tree).ask

    def test_paths(self) -> None:
        """Each resource is on its path, with a slash at the end or without, escaped or in absolute form."""
        for target, body in (
            ("/registry", b"registry"),
            ("/registry/", b"registry"),
            ("/registry?service=x", b"registry"),
            ("/re%67istry", b"registry"),
            ("http://127.0.0.1:8081/registry?x", b"registry"),
            ("https://x/registry/", b"registry"),
            ("/broker", b"broker"),
            ("/health", b"health"),
            ("/rpc/stream", b"stream"),
            ("/stats/app/main.js", b"dashboard"),
        ):
            heard = self.ask("GET", target)
            self.assertEqual((heard.status, heard.body), (200, body), target)

    def test_dashboard_beside_a_proxy(self) -> None:
        """No service is asked for what the dashboard's page runs; all else that is not exactly ours is a service's."""
        page = answering(b"page")
        tree = build_tree(
            cors=Open(), registry=page, rpc=page, broker=page, health=page, stats=page, dashboard=page, gateway=Proxy()
        )
        ask = Asking(tree).ask
        for target, body in (("/stats", b"page"), ("/stats/app/main.js", b"page"), ("/stats/", b"service")):
            self.assertEqual(ask("GET", target).body, body, target)
        self.assertEqual(ask("POST", "/stats/app/main.js").body, b"service")

    def test_index(self) -> None:
        """The front door names the paths."""
        heard = self.ask("GET", "/")
        documents = ["/asyncapi.json", "/openapi.json"]
        self.assertEqual(
            heard.json["paths"], sorted(["/broker", "/health", "/registry", "/rpc", "/rpc/stream", *documents])
        )

    def test_nothing_there(self) -> None:
        """Any other path is a 404 in JSON that names it, whatever the method."""
        for method in ("GET", "POST", "DELETE", "PATCH", "BREW"):
            for target in ("/nope", "/registry/x", "/rpc/x", "//registry", "/%00", "/../registry", "/%2e%2e/etc"):
                status, detail = self.ask(method, target).error
                self.assertEqual(status, 404)
                self.assertIn("path", detail)
        self.assertIn("/nope", self.ask("GET", "/nope").error[1])

    def test_long_path(self) -> None:
        """A path as long as a request may have is not repeated whole."""
        self.assertLess(len(self.ask("GET", "/" + "x" * 9000).body), 400)

    def test_stats_off(self) -> None:
        """Without --enable_stats the path says how to have it."""
        status, detail = self.ask("GET", "/stats").error
        self.assertEqual(status, 404)
        self.assertIn("--enable_stats", detail)

    def test_options(self) -> None:
        """OPTIONS is 200 and empty everywhere, with the policy's headers."""
        for target in ("/registry", "/rpc", "/nope", "/"):
            heard = self.ask("OPTIONS", target)
            self.assertEqual((heard.status, heard.body), (200, b""))
            self.assertEqual(heard.headers["access-control-allow-origin"], "*")

    def test_cors_everywhere(self) -> None:
        """Answers carry the policy's headers, errors too."""
        for method, target in (("GET", "/registry"), ("GET", "/nope"), ("GET", "/rpc")):
            self.assertEqual(self.ask(method, target).headers["access-control-allow-origin"], "*")

    def test_wrong_method(self) -> None:
        """A wrong method is a 405 that names the right one; HEAD is not there where GET is not."""
        for method in ("GET", "HEAD", "DELETE"):
            heard = self.ask(method, "/rpc")
            self.assertEqual((heard.status, heard.headers["allow"]), (405, "POST, OPTIONS"))


@implementer(IAppHealth)
@define
class App:
    state: bool | None
    words: str = "answered 200"
    code: int | None = None
    said: tuple[str, ...] = ()

    def healthy(self) -> bool | None:
        return self.state

    def status(self) -> int | None:
        return self.code

    def explain(self) -> str:
        return self.words

    def warnings(self) -> tuple[str, ...]:
        return self.said


class HealthTests(SynchronousTestCase):
    def test_warnings(self) -> None:
        """What is wrong with the registration is in the body, and changes no status."""
        for state, status in ((None, 200), (True, 200), (False, 503)):
            heard = Asking(HealthResource(App(state, said=("nobody can reach it",)))).ask("GET", "/health")
            self.assertEqual(heard.status, status)
            self.assertIn("nobody can reach it", str(heard.json))

    def test_ours(self) -> None:
        """Without an app, or before its first check, we speak for ourselves."""
        for app in (None, App(None)):
            heard = Asking(HealthResource(app)).ask("GET", "/health")
            self.assertEqual((heard.status, heard.json["status"]), (200, "ok"))

    def test_apps(self) -> None:
        """With an app its own status is told, or 503 where it gave none."""
        self.assertEqual(Asking(HealthResource(App(True))).ask("GET", "/health").status, 200)
        self.assertEqual(Asking(HealthResource(App(False, "answered 500", 500))).ask("GET", "/health").status, 500)
        status, detail = Asking(HealthResource(App(False, "answered 503"))).ask("GET", "/health").error
        self.assertEqual(status, 503)
        self.assertIn("answered 503", detail)

    def test_several_apps(self) -> None:
        """Each is listed, one that is ill makes the whole so, and one can be asked for."""
        shop, stock = App(True, "sells"), App(None)
        resource = HealthResource(App(True), {"shop": shop, "stock": stock})
        heard = Asking(resource).ask("GET", "/health")
        self.assertEqual(heard.json["apps"], {"shop": {"status": "ok", "detail": "sells"}, "stock": {"status": "ok"}})
        self.assertEqual(Asking(resource).ask("GET", "/health?app=shop").json["detail"], "sells")
        status, detail = Asking(resource).ask("GET", "/health?app=shed").error
        self.assertEqual(status, 404)
        self.assertIn("shop, stock", detail)
        ill = HealthResource(App(False), {"shop": App(False, "is shut"), "stock": stock})
        self.assertEqual(Asking(ill).ask("GET", "/health").status, 503)
        self.assertEqual(Asking(ill).ask("GET", "/health?app=stock").status, 200)
        self.assertEqual(Asking(ill).ask("GET", "/health?app=shop").status, 503)

    def test_head(self) -> None:
        """A HEAD does for a load balancer."""
        self.assertEqual(Asking(HealthResource(App(False))).ask("HEAD", "/health").status, 503)
