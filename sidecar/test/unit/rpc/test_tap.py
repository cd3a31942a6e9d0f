"""The tap shows calls to whoever listens, bounded; the last failures are kept for those who come later."""

from __future__ import annotations

from random import Random
from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from sidecar.errors import ConnectionLost
from sidecar.interfaces import ICallObserver, IFailureObserver
from sidecar.model import ANONYMOUS, Call, CallPolicy, Reply
from sidecar.rpc.client import Client
from sidecar.rpc.failures import KEPT, RecentFailures
from sidecar.rpc.selector import Selector
from sidecar.rpc.tap import MAX_BODY, Tap, TapRequest
from sidecar.test.unit.rpc.test_client import Transport
from sidecar.test.unit.rpc.test_selector import Registry, service


class Tapped(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        registry: Any = Registry()
        registry.put(service("foo", 1))
        selector = Selector(registry, "random", Random(1), self.clock)
        selector.startService()
        self.addCleanup(selector.stopService)
        self.transport = Transport()
        self.failures = RecentFailures("random", lambda: 0.0)
        self.client = Client(selector, self.transport, self.clock, Random(1), failures=(self.failures,))
        self.addCleanup(self.client.stopService)
        self.tap = Tap(self.client, "random", self.clock.seconds, lambda: 0.0)
        self.shown: list[dict[str, Any]] = []

    def listen(self, bodies: bool = False, rate: float = 50.0, service: str = "foo") -> Any:
        end = self.tap.listen(TapRequest(service.__eq__, bodies, rate), self.shown.append)
        self.addCleanup(end)
        return end

    def call(self, request: bytes = b"{}", reply: bytes | None = b'{"a":1}') -> None:
        """Make a call that is answered, or breaks."""
        call = Call("foo", "A.B", request, metadata={"X-Request-Id": "id-1"})
        policy = CallPolicy(retries=0)
        self.client.start(call, policy, ANONYMOUS, lambda context, reply, error: None, None)
        listener = self.transport.tries[-1].listener
        if reply is None:
            listener.attempt_failed(ConnectionLost("closed"))
        else:
            listener.attempt_replied(Reply(reply))

    def test_shown(self) -> None:
        """Who was called where, how it ended, how long it took; no body unless it was asked for."""
        verifyObject(ICallObserver, self.tap)
        self.listen()
        self.call()
        self.call(reply=None)
        good, bad = self.shown
        self.assertEqual((good["service"], good["method"], good["node"]), ("foo", "A.B", "foo-1"))
        self.assertEqual((good["outcome"], good["id"], good["receipt"]["id"]), ("answered", "id-1", "id-1"))
        self.assertEqual((good["request_bytes"], good["reply_bytes"]), (2, 7))
        self.assertNotIn("request", good)
        self.assertEqual((bad["outcome"], bad["receipt"]["attempts"][0]["outcome"]), ("broken", "broken"))

    def test_bodies(self) -> None:
        """Bodies are shown in part: text as such, though a letter be cut in two, anything else in Base64."""
        self.listen(bodies=True)
        self.call("é".encode() * MAX_BODY, b"\xff\x00")
        self.call(b"x" + "é".encode() * MAX_BODY, b"\xff" * (MAX_BODY + 1))
        first, second = self.shown
        self.assertEqual(first["request"], {"text": "é" * (MAX_BODY // 2), "truncated": True})
        self.assertEqual(first["reply"], {"base64": "/wA=", "truncated": False})
        self.assertEqual(second["request"], {"text": "x" + "é" * (MAX_BODY // 2 - 1), "truncated": True})
        self.assertEqual(second["reply"]["truncated"], True)

    def test_sampled(self) -> None:
        """Beyond the rate calls are skipped and counted; failed ones have places of their own."""
        self.listen(rate=2.0)
        for _ in range(5):
            self.call()
        self.call(reply=None)
        self.assertEqual([(each["outcome"], each["skipped"]) for each in self.shown[:2]], [("answered", 0)] * 2)
        self.assertEqual((self.shown[2]["outcome"], self.shown[2]["skipped"]), ("broken", 3))
        self.clock.advance(1.0)
        self.call()
        self.assertEqual(len(self.shown), 4)

    def test_costs_nothing(self) -> None:
        """Nobody observes calls once nobody listens, and those of other services are not kept at all."""
        end = self.listen(service="bar")
        self.call()
        self.assertEqual(self.shown, [])
        self.assertEqual(self.client.observers, (self.tap,))
        end()
        end()
        self.assertEqual(self.client.observers, ())

    def test_comes_between(self) -> None:
        """A call that began before somebody listened is not shown, and hurts nobody."""
        call = Call("foo", "A.B")
        self.client.start(call, CallPolicy(), ANONYMOUS, lambda context, reply, error: None, None)
        self.assertEqual(dict(self.client.under_way()), {("foo", "127.0.0.1:1"): 1})
        self.listen()
        self.transport.tries[-1].listener.attempt_replied(Reply(b"{}"))
        self.assertEqual(self.shown, [])
        self.assertEqual(dict(self.client.under_way()), {})

    def test_failures(self) -> None:
        """The last failed calls, the newest first, each with its receipt; those that went well cost nothing."""
        verifyObject(IFailureObserver, self.failures)
        for number in range(KEPT + 2):
            self.clock.advance(100.0)  # what is ejected returns
            self.call(b"%d" % number, reply=None)
        self.call()
        told = self.failures.told()
        self.assertEqual(len(told), KEPT)
        first = told[0]
        self.assertEqual((first["id"], first["service"], first["outcome"]), ("id-1", "foo", "broken"))
        self.assertEqual(first["receipt"]["attempts"][0]["node"], "foo-1")
        self.assertIn("closed", first["error"])
