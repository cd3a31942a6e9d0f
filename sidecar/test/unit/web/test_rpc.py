"""``POST /rpc``, from the caller's bytes to a node's and back: our channel, real sockets to the nodes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from random import Random
from typing import Any

from attrs import frozen
from twisted.internet import reactor
from twisted.internet.protocol import Factory
from twisted.trial.unittest import TestCase
from zope.interface import implementer

from sidecar.interfaces import IAppHealth
from sidecar.model import ANONYMOUS, CallPolicy, Node, Service
from sidecar.registry.memory import MemoryRegistry
from sidecar.rpc.client import Client
from sidecar.rpc.dialects.bynode import Dialects
from sidecar.rpc.dialects.mucp import MucpTransport
from sidecar.rpc.selector import Selector
from sidecar.stats.labelled import CallMetrics
from sidecar.test.contracts.transport import Speaking
from sidecar.test.doubles.clients.resources import Asking, Heard, Waiting
from sidecar.test.doubles.servers.micro import Bare, Coded, MicroService
from sidecar.test.unit.wire.test_rpc import FORM, JSON, REFUSED, SAME
from sidecar.web.rpc import RpcResource

MAX_BODY = 64 * 1024


class Calls(Speaking, TestCase):
    def setUp(self) -> None:
        self.registry = MemoryRegistry(self.reactor)
        self.services: list[MicroService] = []
        self.apps: dict[str, IAppHealth] = {}
        self.addCleanup(self.registry.stopService)
        self.make()

    def make(self, any_address: bool = False, strategy: str = "random", **policy: Any) -> None:
        """A resource with all that stands behind it."""
        selector = Selector(self.registry, strategy, Random(3), self.reactor)
        dialects = Dialects(MucpTransport(reactor, MAX_BODY))
        self.calls = CallMetrics()
        self.client = Client(selector, dialects, self.reactor, Random(3), any_address, (self.calls,))
        for part in (selector, dialects, self.client):
            part.startService()
            self.addCleanup(part.stopService)
        self.asking = Asking(self.resource(CallPolicy(**policy)))

    def resource(self, policy: CallPolicy) -> Any:
        """What is asked."""
        return RpcResource(self.client, policy, MAX_BODY, self.apps)

    def start(self, name: str = "foo", **settings: Any) -> MicroService:
        """Start a service and register it, beside those of its name that are there already."""
        service = MicroService(name, **settings)
        service.listen(reactor)
        self.addCleanup(service.stop)
        self.services.append(service)
        node = service.node(f"{name}-{len(self.services)}")
        self.successResultOf(self.registry.register(Service(name, "1", nodes=(node,)), None, ANONYMOUS))
        return service

    def begin(self, body: bytes, content_type: bytes = JSON, target: str = "/rpc", **headers: str) -> Waiting:
        fields = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.asking.begin("POST", target, body, {"Content-Type": content_type.decode(), **fields})

    async def answer(self, waiting: Waiting) -> Heard:
        for _ in range(3000):
            heard = waiting.heard()
            if heard is not None:
                return heard
            await self.pause(0.01)
        raise AssertionError("no answer")

    async def post(self, body: bytes, content_type: bytes = JSON, target: str = "/rpc", **headers: str) -> Heard:
        return await self.answer(self.begin(body, content_type, target, **headers))

    async def call(self, method: str, request: str = "{}", **more: str) -> Heard:
        fields: Mapping[str, str] = {"service": "foo", "method": method, **more}
        return await self.post(json.dumps({**fields, "request": json.loads(request)}).encode())


@implementer(IAppHealth)
@frozen
class Ill:
    """How an app is that is not well, or not yet."""

    why: str
    well: bool | None = False

    def healthy(self) -> bool | None:
        return self.well

    def status(self) -> int | None:
        return 500

    def explain(self) -> str:
        return self.why

    def warnings(self) -> tuple[str, ...]:
        return ()


class OwnApps(Calls):
    """Calls to the app beside us."""

    async def test_ill(self) -> None:
        """While it is out of the registry since it is ill, a call to it is 503 with the probe's words, and no 404."""
        self.apps["foo"] = Ill("http://127.0.0.1:9090/ok answered 500")
        heard = await self.call("Say.Hello")
        self.assertEqual(heard.status, 503)
        self.assertIn("http://127.0.0.1:9090/ok answered 500", heard.error[1])

    async def test_others(self) -> None:
        """Of a service that is not ours, and of an app that is well or is not checked, 404 stays 404."""
        self.apps["bar"] = Ill("ill")
        self.assertEqual((await self.call("Say.Hello")).status, 404)
        for well in (True, None):
            self.apps["foo"] = Ill("", well)
            self.assertEqual((await self.call("Say.Hello")).status, 404)

    async def test_elsewhere(self) -> None:
        """Other nodes of its name are called."""
        self.start()
        self.apps["foo"] = Ill("ill")
        self.assertEqual((await self.call("Say.Hello", '{"name":"John"}')).status, 200)


class Good(Calls):
    async def test_form_and_json(self) -> None:
        """However the call is written, the answer is the service's result, raw."""
        self.start()
        for content_type, body in SAME:
            if content_type:
                heard = await self.post(body, content_type)
                self.assertEqual((heard.status, heard.body), (200, b'{"msg": "Hello John"}'), body)
                self.assertEqual(heard.headers["content-type"], "application/json")

    async def test_exact(self) -> None:
        """Numbers come through byte for byte, both ways."""
        self.start()
        payload = (
            b'{"n": 9223372036854775807, "d": 0.1000000000000000000000000000001, "e": 1E+2, "u": 18446744073709551615}'
        )
        heard = await self.post(b'{"service":"foo","method":"Say.Echo","request":' + payload + b"}")
        self.assertEqual(heard.body, payload)
        heard = await self.post(b"service=foo&method=Say.Echo&request=" + payload.replace(b"+", b"%2B"), FORM)
        self.assertEqual(heard.body, payload)

    async def test_every_generation(self) -> None:
        """Servers of all ages are called alike."""
        for style in ("g1", "v0.20", "v1.0", "v1.9"):
            self.start(style, style=style)
            for _ in range(2):
                body = json.dumps({"service": style, "method": "Say.Hello", "request": {"name": "John"}})
                self.assertEqual((await self.post(body.encode())).json, {"msg": "Hello John"})
                body = json.dumps({"service": style, "method": "Say.Fail", "request": {}})
                self.assertEqual((await self.post(body.encode())).error, (400, "bad John"))

    async def test_metadata(self) -> None:
        """The caller's headers go along, but for those that are not his to give."""
        self.start()
        heard = await self.post(
            b'{"service":"foo","method":"Say.Meta"}',
            X_Foo="bar", Authorization="Bearer x", Cookie="a=b", Micro_Topic="steered", Accept="text/html",
            Connection="close, X-Hop", X_Hop="1", Micro_Id="7",
        )  # fmt: skip
        told = heard.json
        self.assertEqual((told["X-Foo"], told["Authorization"]), ("bar", "Bearer x"))
        for name in ("Cookie", "Micro-Topic", "X-Hop", "Connection"):
            self.assertNotIn(name, told)
        self.assertEqual(told["Accept"], "application/json-rpc")
        self.assertNotEqual(told["Micro-Id"], "7")

    async def test_null(self) -> None:
        """A service that has nothing to say says null."""
        self.start(handlers={"Say.Nothing": lambda heard: None})
        self.assertEqual((await self.call("Say.Nothing")).body, b"null")

    async def test_address(self) -> None:
        """An address picks the node; one that no node of the service has is refused."""
        self.start()
        second = self.start()
        for _ in range(5):
            await self.call("Say.Hello", address=f"127.0.0.1:{second.port}")
        self.assertEqual(len(second.heard), 5)
        status, detail = (await self.call("Say.Hello", address="127.0.0.1:1")).error
        self.assertEqual(status, 403)
        self.assertIn("127.0.0.1:1", detail)
        self.assertEqual((await self.call("Say.Hello", address="nonsense")).status, 400)

    async def test_any_address(self) -> None:
        """With ``--rpc_any_address`` it goes wherever the caller says."""
        self.make(any_address=True)
        service = MicroService("bar")
        service.listen(reactor)
        self.addCleanup(service.stop)
        self.assertEqual((await self.call("Say.Hello", address=f"127.0.0.1:{service.port}")).status, 200)

    async def test_protobuf(self) -> None:
        """Opaque protobuf goes through as it is, and comes back as what it is; its errors are JSON."""
        self.start()
        body = b"\x0a\x04John\xff\x00"
        for target, headers in (
            ("/rpc?service=foo&method=Say.Echo", {}),
            ("/rpc", {"Micro_Service": "foo", "Micro_Endpoint": "Say.Echo"}),
        ):
            heard = await self.post(body, b"application/protobuf", target, **headers)
            self.assertEqual((heard.status, heard.body), (200, body))
            self.assertEqual(heard.headers["content-type"], "application/protobuf")
        heard = await self.post(body, b"application/protobuf", "/rpc?service=foo&method=Say.Fail")
        self.assertEqual(heard.error, (400, "bad John"))


class Bad(Calls):
    async def test_refused(self) -> None:
        """What is wrong with a request is told as 4xx and error JSON, whatever was sent."""
        self.start()
        for content_type, body, detail in REFUSED:
            if len(body) <= MAX_BODY and b"\x01" not in content_type:  # which no channel lets in
                heard = await self.post(body, content_type)
                status, told = heard.error
                self.assertEqual(status, 415 if detail.startswith("Content-Type") else 400, body[:60])
                self.assertTrue(told.startswith(detail), (told, detail))
                self.assertEqual(heard.json["id"], "go.micro.rpc")
                self.assertEqual((heard.json["code"], heard.json["status"] != ""), (status, True))
        self.assertEqual(self.services[0].heard, [])

    async def test_methods(self) -> None:
        """Only POST is spoken here."""
        for method in ("GET", "PUT", "DELETE", "PATCH"):
            heard = self.asking.ask(method, "/rpc")
            self.assertEqual(heard.status, 405)
            self.assertIn("POST", heard.headers["allow"])

    async def test_too_large(self) -> None:
        """A request over the limit is not taken, nor is an answer."""
        self.start(handlers={"Say.Much": lambda heard: "x" * (MAX_BODY + 1)})
        heard = await self.post(b'{"service":"foo","method":"Say.Echo","request":"' + b"x" * MAX_BODY + b'"}')
        self.assertEqual(heard.error[0], 413)
        status, detail = (await self.call("Say.Much")).error
        self.assertEqual(status, 502)
        self.assertIn("max_body", detail)

    async def test_service_errors(self) -> None:
        """A service's error keeps id, code and detail; the status line is its code where HTTP has such an error."""
        codes = (400, 401, 404, 409, 418, 499, 500, 503, 599)
        odd = (1, 200, 302, 399, 600, 999, 1234, -5)
        handlers: Any = {f"Say.F{code}": lambda heard, code=code: Coded(code, "d", "s", "x") for code in codes + odd}
        self.start(handlers=handlers)
        for code in codes + odd:
            heard = await self.call(f"Say.F{code}")
            self.assertEqual(heard.json, {"id": "x", "code": code, "detail": "d", "status": "s"})
            self.assertEqual(heard.status, code if code in codes else 500)

    async def test_bare_words(self) -> None:
        """An error without a code is a 500 that says so."""
        self.start(handlers={"Say.Boom": lambda heard: Bare("boom")})
        heard = await self.call("Say.Boom")
        self.assertEqual(heard.error, (500, "error during request: boom"))
        self.assertEqual((heard.json["id"], heard.json["code"]), ("go.micro.rpc", 500))
        self.assertEqual((await self.call("Say.Nope")).error[1], "error during request: rpc: can't find method Nope")

    async def test_unknown(self) -> None:
        """No such service is 404; a service without nodes 503."""
        self.assertEqual((await self.call("Say.Hello")).error[0], 404)
        self.assertIn("foo", (await self.call("Say.Hello")).error[1])

    async def test_cannot_connect(self) -> None:
        """A node that refuses is 502, and the detail says which and why."""
        service = self.start()
        port = service.port
        await service.stop()
        status, detail = (await self.call("Say.Hello")).error
        self.assertEqual(status, 502)
        self.assertIn(f"127.0.0.1:{port} (foo-1): connection refused", detail)
        self.assertIn("2 attempts failed", detail)

    async def test_closed(self) -> None:
        """A connection that ends before the answer is told so, and the call is not repeated: it may have run."""
        service = self.start(handlers={})
        self.start()
        status, detail = (await self.call("Say.Close")).error
        self.assertIn(status, (500, 502))
        self.assertIn("closed before the answer", detail)
        self.assertEqual(len(service.heard) + len(self.services[1].heard), 1)


class InTime(Calls):
    async def test_stale_ids(self) -> None:
        """Three ids are left at an address where nobody listens, one node lives: of 400 calls none fails."""
        service = self.start()
        port = self.reactor.listenTCP(0, Factory(), interface="127.0.0.1")
        dead = port.getHost().port
        await port.stopListening()
        nodes = tuple(Node(f"stale-{number}", "127.0.0.1", dead) for number in range(3))
        self.successResultOf(self.registry.register(Service("foo", "1", nodes=nodes), None, ANONYMOUS))
        for strategy in ("random", "roundrobin", "leastbusy"):
            self.make(strategy=strategy)
            for _ in range(10):
                waiting = [self.begin(b'{"service":"foo","method":"Say.Hello","request":{}}') for _ in range(40)]
                self.assertEqual({(await self.answer(each)).status for each in waiting}, {200}, strategy)
        self.assertEqual(len(service.heard), 1200)

    async def test_timeout(self) -> None:
        """A node that hangs costs the deadline, and the detail says so."""
        self.start()
        for body, headers in (
            (b'{"service":"foo","method":"Say.Hang","timeout":"100ms"}', {}),
            (b'{"service":"foo","method":"Say.Hang","timeout":0.1}', {}),
            (b'{"service":"foo","method":"Say.Hang"}', {"Timeout": "100ms"}),
        ):
            fields: Any = headers
            began = self.reactor.seconds()
            status, detail = (await self.post(body, **fields)).error
            self.assertEqual(status, 504)
            self.assertIn("timed out after 0.1 s", detail)
            self.assertIn("(foo-1): no answer", detail)
            self.assertLess(self.reactor.seconds() - began, 4.0)
        told = int(self.services[0].heard[0].headers["Timeout"])
        self.assertTrue(50_000_000 < told <= 100_000_000, told)

    async def test_only_shorter(self) -> None:
        """A caller can shorten the time of a call, not stretch it."""
        self.make(timeout=0.1)
        self.start()
        status, detail = (await self.post(b'{"service":"foo","method":"Say.Hang","timeout":"1h"}')).error
        self.assertEqual((status, "0.1 s" in detail), (504, True))

    async def test_hang_up(self) -> None:
        """The caller leaves: the call is given up and its connection closed."""
        service = self.start()
        waiting = self.begin(b'{"service":"foo","method":"Say.Hang"}')
        while not service.heard:
            await self.pause(0.01)
        self.assertEqual((self.client.in_flight, len(service.open)), (1, 1))
        waiting.hang_up()
        self.assertEqual((self.client.in_flight, self.calls.cancelled), (0, 1))
        while service.open:
            await self.pause(0.01)

    async def test_one_of_two_refuses(self) -> None:
        """One node of two refuses connections: of 1,000 calls none fails."""
        self.start()
        gone = self.start()
        await gone.stop()
        for _ in range(50):
            waiting = [self.begin(b"service=foo&method=Say.Hello&request={}", FORM) for _ in range(20)]
            for each in waiting:
                self.assertEqual((await self.answer(each)).status, 200)

    async def test_one_of_two_hangs(self) -> None:
        """One of two hangs: the calls that it got end with 504 in time and say where; the others do not notice."""
        self.make(timeout=3.0)
        good = self.start()
        hanging = self.start(handlers={"Say.Hello": MicroService().handlers["Say.Hang"]})
        waiting = [self.begin(b"service=foo&method=Say.Hello&request={}", FORM) for _ in range(60)]
        heard = [await self.answer(each) for each in waiting]
        late = [each for each in heard if each.status == 504]
        self.assertEqual(len(late), len(hanging.heard))
        self.assertEqual(len([each for each in heard if each.status == 200]), len(good.heard))
        self.assertEqual(len(late) + len(good.heard), 60)
        for each in late:
            self.assertIn(f"127.0.0.1:{hanging.port} (foo-2): no answer", each.error[1])
            self.assertNotIn("foo-1", each.error[1])

    async def test_error_rule(self) -> None:
        """With go-micro's rule a 500 is tried at the other node; with ``safe`` it is not."""
        for retry, count in (("error", 2), ("safe", 1), ("never", 1)):
            self.make(retry=retry)
            self.start(f"f{retry}", handlers={"Say.F": lambda heard: Coded(500, "x")})
            self.start(f"f{retry}", handlers={"Say.F": lambda heard: Coded(500, "x")})
            await self.post(json.dumps({"service": f"f{retry}", "method": "Say.F"}).encode())
            self.assertEqual([len(service.heard) for service in self.services[-2:]].count(1), count, retry)

    async def test_many_services(self) -> None:
        """A call finds its service among very many, without asking the registry each time."""
        for number in range(1000):
            node = Node(f"s{number}-1", "127.0.0.1", 1 + number)
            self.successResultOf(self.registry.register(Service(f"s{number}", "1", nodes=(node,)), None, ANONYMOUS))
        self.start()
        self.assertEqual((await self.call("Say.Hello")).status, 200)
