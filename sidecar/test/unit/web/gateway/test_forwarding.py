"""Forwarded requests between two wires: what goes to the node, what comes back, in how many writes."""

from __future__ import annotations

import gc
import re
from random import Random
from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from sidecar.model import ANONYMOUS, CallPolicy, Node, Service
from sidecar.net.http.limits import HTTPLimits
from sidecar.registry.memory import MemoryRegistry
from sidecar.rpc.client import Client
from sidecar.rpc.proxy.transport import ForwardTransport
from sidecar.rpc.selector import Selector
from sidecar.stats.labelled import CallMetrics
from sidecar.test.doubles.clients.http import Wire
from sidecar.web.cors import CorsPolicy
from sidecar.web.gateway.proxy import ProxyResource
from sidecar.web.site import SidecarSite

GET = b"GET /app/x?y HTTP/1.1\r\nHost: localhost\r\n\r\n"
POST = b"POST /app/ HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n\r\nabc"
OK = b"HTTP/1.1 200 OK\r\nDate: today\r\nContent-Length: 2\r\n\r\nok"


class Link:
    """What a connector gives: a connection that is there at once."""

    def disconnect(self) -> None: ...


class Forwarded(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.nodes: list[Wire] = []
        registry = MemoryRegistry(self.clock)
        node = Node("app-1", "127.0.0.1", 9)
        self.successResultOf(registry.register(Service("app", "1", nodes=(node,)), None, ANONYMOUS))
        selector = Selector(registry, "random", Random(3), self.clock)
        self.transport = ForwardTransport(self.clock, 60.0, connect=self.connect)
        self.calls = CallMetrics()
        client = Client(selector, self.transport, self.clock, Random(3), observers=(self.calls,))
        for part in (registry, selector, self.transport, client):
            part.startService()
            self.addCleanup(part.stopService)
        resource = ProxyResource(
            registry, "", CorsPolicy(), self.transport, client, CallPolicy(), {}, "random", self.clock.seconds
        )
        self.site = SidecarSite(resource, self.clock, HTTPLimits())
        self.client = Wire()
        self.channel: Any = self.site.buildProtocol(None)
        self.client.protocol = self.channel
        self.channel.makeConnection(self.client)

    def connect(self, reactor: object, host: str, port: int, factory: Any, *more: object) -> Link:
        wire = Wire()
        wire.protocol = factory.buildProtocol(None)
        self.nodes.append(wire)
        wire.protocol.makeConnection(wire)
        return Link()

    def ask(self, data: bytes) -> bytes:
        """:returns: what came to a node of it, in one write."""
        for wire in self.nodes:
            wire.writes.clear()
        self.channel.dataReceived(data)
        self.clock.advance(0)
        (heard,) = [data for wire in self.nodes for data in wire.writes]
        return heard

    def answer(self, data: bytes) -> bytes:
        """:returns: what came to the client of it, in one write."""
        self.client.writes.clear()
        self.nodes[-1].protocol.dataReceived(data)
        (heard,) = self.client.writes
        return heard

    def test_one_write_each_way(self) -> None:
        """However often the same is asked, and answered."""
        for _ in range(3):
            heard = self.ask(POST)
            self.assertTrue(heard.startswith(b"POST /app/ HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n"), heard)
            self.assertTrue(heard.endswith(b"\r\n\r\nabc"), heard)
            answered = self.answer(OK)
            self.assertTrue(answered.startswith(b"HTTP/1.1 200 OK\r\n"), answered)
            self.assertTrue(answered.endswith(b"\r\n\r\nok"), answered)
            self.assertEqual(answered.count(b"Date: "), 1)
        self.assertEqual(len(self.nodes), 1)
        self.assertEqual(self.calls.succeeded, 3)

    def test_ids(self) -> None:
        """Each request has its own, which the node and the client are told, though the rest is known from before."""
        seen = set()
        for _ in range(3):
            (at_node,) = [line for line in self.ask(GET).split(b"\r\n") if line.startswith(b"X-Request-Id: ")]
            self.assertIn(b"\r\n%b\r\n" % at_node, self.answer(OK))
            seen.add(at_node)
        self.assertEqual(len(seen), 3)
        given = GET.replace(b"\r\n\r\n", b"\r\nX-Request-Id: mine\r\n\r\n")
        for _ in range(2):
            self.assertEqual(self.ask(given).count(b"X-Request-Id: mine\r\n"), 1)
            self.assertEqual(self.answer(OK).count(b"X-Request-Id: mine\r\n"), 1)

    def test_receipts(self) -> None:
        """A receipt is of the id that the node was told."""
        for _ in range(2):
            asked = self.ask(GET.replace(b"\r\n\r\n", b"\r\nMicro-Explain: 1\r\n\r\n"))
            (told,) = re.findall(rb"X-Request-Id: (\S+)\r\n", asked)
            heard = self.answer(OK)
            self.assertIn(b'Micro-Receipt: {"id":"%b",' % told, heard)
            self.assertIn(b"X-Request-Id: %b\r\n" % told, heard)

    def test_traces(self) -> None:
        """A trace begins where the client passes none, or none that can be read; else it goes on as it came."""
        seen = set()
        for given in (b"", b"traceparent: nonsense\r\nTracestate: a=1\r\n"):
            for _ in range(2):
                asked = self.ask(GET.replace(b"\r\n\r\n", b"\r\n%b\r\n" % given))
                seen.update(re.findall(rb"Traceparent: 00-([0-9a-f]{32})-[0-9a-f]{16}-01\r\n", asked))
                self.assertEqual((asked.lower().count(b"traceparent: "), asked.count(b"Tracestate")), (1, 0), asked)
                self.answer(OK)
        self.assertEqual(len(seen), 4)
        given = b"traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00\r\nTracestate: a=1\r\n"
        for _ in range(2):
            asked = self.ask(GET.replace(b"\r\n\r\n", b"\r\n%b\r\n" % given))
            self.assertEqual(asked.lower().count(b"traceparent: "), 1)
            for line in given.splitlines(keepends=True):
                self.assertIn(line, asked)
            self.answer(OK)

    def test_dates(self) -> None:
        """A node that says none is given ours, each time anew."""
        for _ in range(2):
            self.ask(GET)
            self.assertEqual(self.answer(OK.replace(b"Date: today\r\n", b"")).count(b"Date: "), 1)

    def test_chunks_that_are_all_here(self) -> None:
        """Go on with their length instead."""
        for _ in range(2):
            self.ask(GET)
            heard = self.answer(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n")
            self.assertTrue(heard.endswith(b"Content-Length: 2\r\n\r\nok"), heard)
            self.assertNotIn(b"chunked", heard)

    def test_answers_without_a_body(self) -> None:
        """Have none, and the connection goes on."""
        head = b"HEAD" + GET[3:]
        for asked, said in (
            (head, OK[:-2]),
            (GET, b"HTTP/1.1 204 No\r\n\r\n"),
            (GET, b"HTTP/1.1 304 No\r\nETag: a\r\n\r\n"),
        ):
            self.ask(asked)
            heard = self.answer(said)
            self.assertTrue(heard.endswith(b"\r\n\r\n"), heard)
            self.assertEqual(heard.count(b"Content-Length"), said.count(b"Content-Length"))

    def test_old_clients(self) -> None:
        """Are told whether the connection stays."""
        self.ask(b"GET /app/ HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
        self.assertIn(b"\r\nConnection: keep-alive\r\n", self.answer(OK))
        self.ask(b"GET /app/ HTTP/1.0\r\n\r\n")
        self.assertIn(b"\r\nConnection: close\r\n", self.answer(OK))
        self.assertTrue(self.client.closing)

    def test_nothing_for_the_collector(self) -> None:
        """A request and what stood for it are gone when it is answered."""

        def some() -> None:
            for asked in (GET, POST) * 20:
                self.ask(asked)
                self.answer(OK)

        some()
        gc.collect()
        gc.disable()
        self.addCleanup(gc.enable)
        some()
        self.assertLess(gc.collect(), 20)

    def test_outcomes(self) -> None:
        """An error of the node's own is its answer; what a gateway says counts against the node."""
        for status in (200, 404, 500, 502):
            self.ask(GET)
            self.answer(b"HTTP/1.1 %d X\r\nContent-Length: 0\r\n\r\n" % status)
        self.assertEqual(self.calls.succeeded, 4)
        self.assertEqual(self.transport.open, set())
