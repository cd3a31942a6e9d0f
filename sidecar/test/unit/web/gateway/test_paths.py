"""``POST /<service>/<method>``, over real sockets to the nodes."""

from __future__ import annotations

from typing import Any

from sidecar.model import CallPolicy
from sidecar.test.doubles.servers.micro import Heard, Raw
from sidecar.test.unit.web.test_rpc import MAX_BODY, Calls
from sidecar.test.unit.web.test_tree import Open, answering
from sidecar.web.gateway.paths import PathResource
from sidecar.web.resource import MethodResource
from sidecar.web.response import Answer
from sidecar.web.tree import OWN, build_tree

FORM = b"application/x-www-form-urlencoded"


class PathCalls(Calls):
    namespace = "go.micro.srv"

    def resource(self, policy: CallPolicy) -> Any:
        by_path = PathResource(self.registry, self.namespace, OWN, self.client, policy, MAX_BODY, self.apps)
        posts = MethodResource({"PUT": lambda _: Answer(b"ok"), "POST": lambda _: Answer(b"beat")})
        return build_tree(
            cors=Open(),
            registry=answering(b"registry"),
            rpc=MethodResource({"POST": lambda _: Answer(b"rpc")}),
            broker=answering(b"broker"),
            health=answering(b"health"),
            more={"/health/ready": answering(b"ready")},
            check=posts,
            gateway=by_path,
        )


class ByPath(PathCalls):
    def echo(self, heard: Heard) -> Raw:
        return Raw(heard.params)

    async def test_json_and_forms(self) -> None:
        """Both call the method; the answer is the service's own bytes."""
        self.start("go.micro.srv.greeter")
        for body, kind in ((b'{"name":"John"}', b"application/json"), (b"name=John", FORM)):
            heard = await self.post(body, kind, "/greeter/say/echo")
            self.assertEqual((heard.status, heard.json), (200, {"name": "John"}), kind)
            self.assertEqual(heard.headers["content-type"], "application/json")

    async def test_versions(self) -> None:
        """A version in the path is a part of the name."""
        self.start("go.micro.srv.v1.greeter")
        heard = await self.post(b'{"a":1}', target="/v1/greeter/say/echo")
        self.assertEqual((heard.status, heard.json), (200, {"a": 1}))

    async def test_services_called_like_paths_of_ours(self) -> None:
        """Ours win by exact path and method; everything else is the service's."""
        for name in ("health", "check", "rpc"):
            echo = self.echo
            self.start(f"go.micro.srv.{name}", handlers={"Health.Check": echo, "Health.Ready": echo})
        for target in ("/health/say/echo", "/health/check", "/health/ready", "/check/say/echo", "/rpc/say/echo"):
            heard = await self.post(b'{"a":1}', target=target)
            self.assertEqual((heard.status, heard.json), (200, {"a": 1}), target)
        for method, target, said in (
            ("GET", "/health", b"health"),
            ("GET", "/health/ready", b"ready"),
            ("PUT", "/check/worker/pass", b"ok"),
            ("POST", "/check/worker/pass", b"beat"),
            ("POST", "/rpc", b"rpc"),
        ):
            self.assertEqual(self.asking.ask(method, target).body, said, target)

    def test_other_methods(self) -> None:
        """Are 405, with POST as what is allowed."""
        for method in ("GET", "HEAD", "PUT", "DELETE", "PATCH"):
            heard = self.asking.ask(method, "/greeter/say/hello")
            self.assertEqual((heard.status, heard.headers["allow"]), (405, "POST, OPTIONS"), method)

    def test_what_means_no_service(self) -> None:
        """A single word, and a GET below a word of ours, are paths that are not there."""
        for method, target in (("POST", "/greeter"), ("GET", "/greeter"), ("GET", "/registry/x"), ("GET", "/../a/b")):
            self.assertEqual(self.asking.ask(method, target).status, 404, target)

    async def test_unknown_services(self) -> None:
        """The 404 names what was looked for, and the namespace that would find what is there."""
        self.start("greeter")
        self.start("com.example.greeter")
        heard = await self.post(b"{}", target="/greeter/say/echo")
        status, detail = heard.error
        self.assertEqual((status, heard.json["id"]), (404, "go.micro.api"))
        self.assertIn("go.micro.srv.greeter", detail)
        self.assertIn("there is greeter, which --sidecar_namespace= would find", detail)
        self.assertIn("com.example.greeter, which --sidecar_namespace=com.example would find", detail)
        _, detail = (await self.post(b"{}", target="/nope/say/echo")).error
        self.assertIn("go.micro.srv.nope", detail)
        self.assertNotIn("would find", detail)

    async def test_errors_keep_what_the_service_says(self) -> None:
        """Its code and id; bare text gets the id go.micro.api."""
        self.start("go.micro.srv.greeter")
        heard = await self.post(b"{}", target="/greeter/say/fail")
        self.assertEqual((heard.status, heard.json["id"]), (400, "srv.say"))
        heard = await self.post(b"{}", target="/greeter/say/crash")
        self.assertEqual((heard.status, heard.json["id"]), (500, "go.micro.api"))

    async def test_metadata_deadlines_and_receipts(self) -> None:
        """As for /rpc: headers go along, Timeout counts, a receipt is given to who asks for it."""
        service = self.start("go.micro.srv.greeter")
        heard = await self.post(b"{}", target="/greeter/say/echo", X_Colour="red", Micro_Explain="1")
        self.assertIn("go.micro.srv.greeter", heard.headers["micro-receipt"])
        self.assertEqual(service.heard[-1].headers["X-Colour"], "red")
        heard = await self.post(b"{}", target="/greeter/say/hang", Timeout="20ms")
        self.assertEqual(heard.error[0], 504)

    def test_bodies_of_other_kinds(self) -> None:
        """Are refused before anything is called."""
        for content_type, status in (("text/xml", 415), ("application/json", 400)):
            heard = self.asking.ask("POST", "/greeter/say/hello", b"<a/>", {"Content-Type": content_type})
            self.assertEqual(heard.status, status)


class WithoutNamespace(PathCalls):
    namespace = ""

    async def test_json_and_forms(self) -> None:
        """The service is called as the path has it."""
        self.start("greeter")
        self.assertEqual((await self.post(b'{"a":1}', target="/greeter/say/echo")).json, {"a": 1})
