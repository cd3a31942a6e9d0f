"""What is answered for an app, and what it answers itself."""

from __future__ import annotations

import json
from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from sidecar.errors import ConnectFailed, ServiceFault
from sidecar.health.description import AppEndpoints
from sidecar.interfaces import IAppHealth, IExchange, IExchangeListener, ITransport
from sidecar.model import Call, Endpoint, Fault, Node, Reply
from sidecar.rpc.dialects.bynode import DeferredTransport
from sidecar.test.unit.web.test_appserver import Answered
from sidecar.web.app.app import App

NODE = Node("srv-1", "127.0.0.1", 9)
NOT_THERE = ServiceFault(Fault("srv", 404, "<html>", "Not Found"), enveloped=False)


@implementer(ITransport)
class Saying:
    """A transport to an app that gives one answer. :ivar asked: the calls."""

    def __init__(self, answer: Reply | Exception) -> None:
        self.answer = answer
        self.asked: list[Call] = []

    def exchange(self, node: Node, call: Call, timeout: float, listener: IExchangeListener) -> IExchange:
        self.asked.append(call)
        answer: Any = self.answer
        if isinstance(answer, Reply):
            return Answered(lambda: listener.attempt_replied(answer))
        return Answered(lambda: listener.attempt_failed(answer))


@implementer(IAppHealth)
class Checked:
    """An app that is ill."""

    def healthy(self) -> bool | None:
        return False

    def status(self) -> int | None:
        return None

    def explain(self) -> str:
        return "it does not answer"

    def warnings(self) -> tuple[str, ...]:
        return ()


class BuiltInAnswers(SynchronousTestCase):
    def serve(self, answer: Reply | Exception, call: Call, health: Any = None, *named: Endpoint) -> Reply | Fault:
        self.transport = Saying(answer)
        app = App("srv", NODE, DeferredTransport(self.transport, Clock()), health, endpoints=AppEndpoints(named))
        done = app.grpc_health(call, 5.0) if call.method == "Health.Check" else app.serve(call, 5.0)
        return self.successResultOf(done)

    def test_its_own(self) -> None:
        """What the app answers itself is its answer, a good one or an error of its own."""
        for answer in (Reply(b'{"status":"so-so"}'), Fault("srv", 503, "later", "Service Unavailable")):
            given: Any = ServiceFault(answer) if isinstance(answer, Fault) else answer
            self.assertEqual(self.serve(given, Call("srv", "Debug.Health")), answer)

    def test_a_page_for_everything(self) -> None:
        """An app that answers a page whatever is asked has no Debug.Health."""
        for answer in (Reply(b'"<html>"'), NOT_THERE):
            found = self.serve(answer, Call("srv", "Debug.Health"))
            self.assertEqual(found, Reply(b'{"status":"ok"}'))

    def test_declared(self) -> None:
        """What it declares is a call like any other."""
        found = self.serve(NOT_THERE, Call("srv", "Debug.Health"), None, Endpoint("Debug.Health"))
        assert isinstance(found, Fault)
        self.assertEqual(found.code, 404)

    def test_ill(self) -> None:
        """An app that its checks find ill is said to be, in their words; so is one that nobody can reach."""
        found = self.serve(NOT_THERE, Call("srv", "Debug.Health"), Checked())
        self.assertEqual(found, Fault("srv", 503, "it does not answer", "Service Unavailable"))
        found = self.serve(ConnectFailed("refused"), Call("srv", "Debug.Health"))
        self.assertIsInstance(found, Fault)
        found = self.serve(NOT_THERE, Call("srv", "Health.Check"), Checked())
        assert isinstance(found, Reply)
        self.assertEqual(json.loads(found.body), {"status": "NOT_SERVING"})

    def test_operation(self) -> None:
        """A method that the app's description gives a path and a verb is called by these, and no other path is."""
        named = Endpoint("getPet", metadata={"path": "/pets/{id}", "verb": "GET"})
        self.serve(Reply(b"{}"), Call("srv", "getPet", b'{"id":7,"full":true}'), None, named)
        (call,) = self.transport.asked
        self.assertEqual((call.verb, call.method, call.request), ("GET", "/pets/7?full=true", b""))
        for method, request in (("getPet", b"{}"), ("/admin", b"{}")):
            found = self.serve(Reply(b"{}"), Call("srv", method, request), None, named)
            assert isinstance(found, Fault)
            self.assertEqual((found.code, self.transport.asked), (400, []))
