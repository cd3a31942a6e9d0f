"""The live view tells what happens, from counters that are kept anyway, and looks only while somebody listens."""

from __future__ import annotations

from random import Random
from typing import Any, cast

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from sidecar.model import ANONYMOUS, Call, CallPolicy
from sidecar.pubsub.counters import PubSubCounters
from sidecar.rpc.client import Client
from sidecar.rpc.selector import Selector
from sidecar.stats.labelled import CallMetrics
from sidecar.stats.nodes import NodeMemory
from sidecar.stats.process import ProcessSampler
from sidecar.stats.rates import total
from sidecar.test.unit.rpc.test_client import REFUSED, Transport
from sidecar.test.unit.rpc.test_selector import Registry, service
from sidecar.web.observe.live import MAX_NODES, MAX_SERVICES, LiveSources, LiveView
from sidecar.web.observe.services import LiveServices
from sidecar.web.observe.topics import TopicRates


class _Topics:
    """Nobody subscribes."""

    counters = PubSubCounters()

    def members(self) -> tuple[()]:
        return ()


class LiveCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.registry = cast(Any, Registry())
        self.calls = CallMetrics(self.clock.seconds)
        memory = NodeMemory(self.clock.seconds)
        selector = Selector(self.registry, "roundrobin", Random(1), self.clock)
        selector.startService()
        self.addCleanup(selector.stopService)
        self.transport = Transport()
        self.client = Client(
            selector, self.transport, self.clock, Random(1), observers=(self.calls,), failures=(memory,)
        )
        self.addCleanup(self.client.stopService)
        self.sampler = ProcessSampler(self.clock, lambda: total(self.calls.known()))
        self.sampler.startService()
        self.addCleanup(self.sampler.stopService)
        self.answers: dict[tuple[bytes, int], int] = {(b"/rpc", 2): 5}
        sources = LiveSources(
            client=self.client,
            calls=self.calls,
            memory=memory,
            ejected=selector.ejected,
            answers=lambda: self.answers,
            sockets=lambda: {"http": 2, "websockets": 1},
            topics=TopicRates(_Topics()),
            engines=list,
            apps=list,
            seconds=self.clock.seconds,
            wall=self.clock.seconds,
        )
        self.view = LiveView(sources, LiveServices(self.registry, self.clock), self.sampler)
        self.events: list[dict[str, Any]] = []

    def call(self, name: str = "foo") -> None:
        self.client.start(Call(name, "A.B"), CallPolicy(), ANONYMOUS, lambda context, reply, error: None, None)


class Live(LiveCase):
    def test_rates(self) -> None:
        """Calls, errors and HTTP answers a second, by service and node, with those under way."""
        self.registry.put(service("foo", 1, 2))
        self.addCleanup(self.view.listen(self.events.append))
        self.clock.advance(1.0)
        for _ in range(4):
            self.call()
        for each in self.transport.tries[:3]:
            each.reply()
        self.answers = {(b"/rpc", 2): 8, (b"/x", 4): 1}
        self.clock.advance(1.0)
        event = self.events[-1]
        self.assertEqual(event["rates"], {"calls": 3.0, "errors": 0.0})
        self.assertEqual(event["status"], {"2xx": 3.0, "3xx": 0.0, "4xx": 1.0, "5xx": 0.0})
        self.assertEqual(event["process"]["sockets"], 3)
        (foo,) = event["services"]
        self.assertEqual((foo["name"], foo["success"], foo["in_flight"], foo["nodes_up"]), ("foo", 1.0, 1, 2))
        self.assertEqual(sorted(node["calls"] for node in event["nodes"]), [1.0, 2.0])
        self.assertEqual(sum(node["in_flight"] for node in event["nodes"]), 1)
        self.assertEqual({node["why"] for node in event["nodes"]}, {""})

    def test_a_failing_node(self) -> None:
        """It stands first, with why it gets no calls, and counts as down."""
        self.registry.put(service("foo", 1, 2))
        self.addCleanup(self.view.listen(self.events.append))
        self.transport.refusing.add(2)
        for _ in range(2):
            self.call()
        self.clock.advance(1.0)
        self.clock.advance(1.0)
        event = self.events[-1]
        first = event["nodes"][0]
        self.assertEqual(first["address"], "127.0.0.1:2")
        self.assertIn("ejected until 1970-01-01T00:00:0", first["why"])
        self.assertIn("refused 2 s ago: " + str(REFUSED), first["why"])
        self.assertEqual(first["last"]["outcome"], "refused")
        self.assertEqual((event["services"][0]["nodes_up"], event["services"][0]["nodes_down"]), (1, 1))

    def test_nobody_looks(self) -> None:
        """Before and after nothing is observed, asked or kept, and ending twice is no error."""
        self.assertEqual(self.client.observers, (self.calls,))
        first = self.view.listen(self.events.append)
        second = self.view.listen(self.events.append)
        self.assertEqual(len(self.client.observers), 2)
        first()
        first()
        self.clock.advance(1.0)
        self.assertEqual(len(self.events), 1)
        second()
        self.assertEqual(self.client.observers, (self.calls,))
        self.clock.advance(5.0)
        self.assertEqual(len(self.events), 1)
        self.assertEqual(self.view.event, {})

    def test_bounded(self) -> None:
        """Of very many services the busiest are told, and of their nodes as many as fit; the rest is counted."""
        for number in range(MAX_SERVICES + 50):
            self.registry.put(service(f"s{number:03d}", *range(number * 20 + 1, number * 20 + 13)))
        self.addCleanup(self.view.listen(self.events.append))
        self.call("s149")
        self.transport.tries[-1].reply()
        self.clock.pump([1.0] * 10)
        event = self.events[-1]
        self.assertEqual((len(event["services"]), event["services"][0]["name"]), (MAX_SERVICES, "s149"))
        self.assertEqual(event["services_total"], MAX_SERVICES + 50)
        self.assertEqual((len(event["nodes"]), event["nodes_omitted"]), (MAX_NODES, MAX_SERVICES * 12 - MAX_NODES))

    def test_changes(self) -> None:
        """A node that comes or goes is there, or is not, with the next event."""
        self.registry.put(service("foo", 1))
        self.addCleanup(self.view.listen(self.events.append))
        self.clock.pump([1.0, 1.0])
        self.assertEqual(len(self.events[-1]["nodes"]), 1)
        self.registry.put(service("foo", 1, 2))
        self.clock.pump([1.0, 1.0])
        self.assertEqual(len(self.events[-1]["nodes"]), 2)
