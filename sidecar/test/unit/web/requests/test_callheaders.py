"""Calls that come with the same header on one connection, as nearly all do."""

from __future__ import annotations

import json
from random import Random
from typing import Any

from attrs import define, field
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase

from sidecar.model import Call, CallPolicy, Reply
from sidecar.test.doubles.clients.resources import Asking
from sidecar.web.requests.requestids import RequestIds
from sidecar.web.requests.traces import Traces
from sidecar.web.rpc import RpcResource


@define(eq=False)
class Echo:
    """A client whose calls are answered at once with what was asked."""

    calls: list[tuple[Call, CallPolicy]] = field(factory=list)

    def start(self, call: Call, policy: CallPolicy, caller: Any, done: Any, context: Any, observer: Any = None) -> Any:
        self.calls.append((call, policy))
        done(context, Reply(call.request), None)
        return self

    def cancel(self) -> None:
        """Nothing is under way."""


class SameHeader(SynchronousTestCase):
    def setUp(self) -> None:
        self.client = Echo()
        client: Any = self.client
        resource: Any = RpcResource(client, CallPolicy(timeout=5.0), 100)
        asking = Asking(resource)
        site: Any = asking.site
        site.request_ids, site.traces = RequestIds("abc"), Traces(Random(1))
        self.connection: Any = site.buildProtocol(None)
        self.transport = StringTransport()
        self.connection.makeConnection(self.transport)
        self.clock = Clock()

    def post(self, request: Any, **headers: str) -> tuple[bytes, bytes]:
        """Call on the one connection. :returns: the answer's head and body."""
        body = json.dumps({"service": "foo", "method": "Say.Hello", "request": request}).encode()
        return self.send(body, **headers)

    def send(self, body: bytes, **headers: str) -> tuple[bytes, bytes]:
        fields = {"Host": "127.0.0.1", "Content-Type": "application/json", "Content-Length": str(len(body)), **headers}
        lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in fields.items())
        self.transport.clear()
        self.connection.dataReceived(f"POST /rpc HTTP/1.1\r\n{lines}\r\n".encode() + body)
        head, _, answer = self.transport.value().partition(b"\r\n\r\n")
        return head, answer

    def test_each_its_own(self) -> None:
        """Each call has its own payload, id and trace, and what its header forwards."""
        for number in range(3):
            head, body = self.post({"n": number}, X_Token="t")
            self.assertEqual(json.loads(body), {"n": number})
            self.assertIn(b"X-Request-Id: abc-%d" % (number + 1), head)
        lines = [call.lines for call, _ in self.client.calls]
        self.assertEqual(len({line.split(b"Traceparent: ")[1] for line in lines}), 3)
        self.assertEqual([dict(call.metadata) for call, _ in self.client.calls], [{"X-Token": "t"}] * 3)

    def test_asks_for_more(self) -> None:
        """A header that says something about its call is heard each time."""
        for _ in range(3):
            head, _body = self.post({}, X_Request_Id="mine", Timeout="1000000000")
            self.assertIn(b"X-Request-Id: mine", head)
            self.assertIn(b"Micro-Receipt: ", self.post({}, Micro_Explain="1")[0])
            self.assertIn(b" 415 ", self.post({}, Content_Encoding="gzip")[0])
        self.assertEqual([policy.timeout for _, policy in self.client.calls], [1.0, 5.0] * 3)

    def test_wrong(self) -> None:
        """A body that is no call, or too long, is told as such after calls that were right."""
        for _ in range(2):
            self.assertIn(b" 200 ", self.post({"n": 1})[0])
            right = b'{"service": "foo", "method": "Say.Hello", "request": {"n": 1}}'
            head, body = self.send(right[:-1] + b"]")
            self.assertIn(b" 400 ", head, body)
        for _ in range(2):
            self.assertIn(b" 413 ", self.post("n" * 100)[0])
