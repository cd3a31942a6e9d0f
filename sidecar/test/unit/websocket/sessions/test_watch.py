"""The registry's watch over a WebSocket, as the original had it."""

from __future__ import annotations

import json
from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from sidecar.model import Action, Change, Node, Service
from sidecar.net.http.limits import HTTPLimits
from sidecar.net.memory import MemoryBudget
from sidecar.registry.journal import Journal
from sidecar.registry.journalfanout import JournalFanout
from sidecar.registry.memory import MemoryRegistry
from sidecar.test.doubles.clients.pubsub import Client, connected
from sidecar.test.doubles.clients.websocket import handshake
from sidecar.web.catalog.reads import RegistryReads
from sidecar.web.catalog.registry import RegistryResource
from sidecar.web.catalog.watch import WatchUpgrade
from sidecar.web.cors import CorsPolicy
from sidecar.web.site import SidecarSite
from sidecar.web.tree import RootResource
from sidecar.websocket.sessions.watch import LIMITS, WatchSessions
from sidecar.websocket.sockets import WebSockets


class WatchCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(1_000_000)
        self.journal = Journal(self.clock)
        self.sockets = WebSockets(self.clock, max_connections=3)
        self.sockets.startService()
        self.sessions = WatchSessions(JournalFanout(self.journal, self.clock), self.sockets)
        cors = CorsPolicy(())
        registry = MemoryRegistry(self.clock)
        reads = RegistryReads(registry, upgrade=WatchUpgrade(self.sessions, cors).open)
        resource = RegistryResource(registry, 4096, str, reads=reads)
        self.site = SidecarSite(RootResource({"/registry": resource}, cors), self.clock, HTTPLimits())

    def watch(self, target: str = "/registry", **fields: str) -> Client:
        return connected(self.site, handshake(target, **fields))

    def happen(self, action: Action, identity: str = "a", name: str = "foo") -> None:
        self.journal.changed(Change.of(action, Service(name, "1", nodes=(Node(identity, "10.0.0.1", 90),))))
        self.clock.advance(0)

    def told(self, client: Client) -> list[Any]:
        return [json.loads(payload) for payload in client.read().messages]


class Watching(WatchCase):
    def test_frames(self) -> None:
        """Each change is a text frame with the action and the service, in the original's words."""
        client = self.watch()
        self.assertEqual(client.reader.status, 101)
        self.happen("create")
        self.happen("update")
        self.happen("delete")
        told = self.told(client)
        self.assertEqual([one["Action"] for one in told], ["create", "update", "delete"])
        self.assertEqual(list(told[0]), ["Action", "Service"])
        self.assertEqual((told[0]["Service"]["name"], told[0]["Service"]["version"]), ("foo", "1"))
        self.assertEqual(told[0]["Service"]["nodes"][0]["id"], "a")

    def test_one_service(self) -> None:
        """With service= no other is told of."""
        client = self.watch("/registry?service=foo")
        self.happen("create", name="bar")
        self.happen("create")
        self.assertEqual([one["Service"]["name"] for one in self.told(client)], ["foo"])

    def test_firefox(self) -> None:
        """A connection that is also to be kept alive is upgraded all the same."""
        self.assertEqual(self.watch(Connection="keep-alive, Upgrade").reader.status, 101)

    def test_other_protocols(self) -> None:
        """Who offers another protocol gets the list."""
        client = self.watch(Upgrade="h2c", Sec_WebSocket_Key="", Sec_WebSocket_Version="")
        self.assertEqual((client.reader.status, client.reader.body), (200, b"[]\n"))

    def test_foreign_page(self) -> None:
        """A page of an origin that is not named is refused before the handshake, and so is one too many."""
        self.assertEqual(self.watch(Origin="http://evil.example").reader.status, 403)
        for _ in range(3):
            self.assertEqual(self.watch().reader.status, 101)
        self.assertEqual(self.watch().reader.status, 503)

    def test_leaving(self) -> None:
        """Who hangs up is told nothing more; what a client says is passed over."""
        client = self.watch()
        client.say("hello")
        client.leave()
        self.happen("create")
        self.assertEqual(self.sockets.connections, 0)


class SlowWatching(WatchCase):
    def test_waits(self) -> None:
        """What a client does not take waits, and comes in order when it takes it again."""
        client = self.watch()
        producer: Any = client.transport.producer
        producer.pauseProducing()
        for number in range(3):
            self.happen("create", str(number))
        self.assertEqual(client.read().messages, [])
        producer.resumeProducing()
        self.happen("create", "3")
        self.assertEqual([one["Service"]["nodes"][0]["id"] for one in self.told(client)], ["0", "1", "2", "3"])

    def test_bound(self) -> None:
        """With too much waiting it is closed with 1008 and counted, for it would miss changes."""
        client, other = self.watch(), self.watch()
        producer: Any = client.transport.producer
        producer.pauseProducing()
        for _ in range(LIMITS.size // 10_000 + 1):
            self.happen("create", "n" * 10_000)
        self.assertEqual(self.sessions.slow, 1)
        self.assertEqual(client.read().closed, 1008)
        self.assertEqual(len(self.told(other)), LIMITS.size // 10_000 + 1)

    def test_bound_of_all(self) -> None:
        """What waits for all of them counts in the budget of all, and the one for whom most waits is closed."""
        budget = self.sockets.budget = self.sessions.budget = MemoryBudget(100_000, self.clock.seconds)
        client, other = self.watch(), self.watch("/registry?service=bar")
        for each in (client, other):
            producer: Any = each.transport.producer
            producer.pauseProducing()
        for _ in range(2):
            self.happen("create", "n" * 10_000, "bar")
        self.assertGreater(budget.total, 40_000)
        for _ in range(8):
            self.happen("create", "n" * 10_000)
        self.assertEqual((self.sessions.slow, client.read().closed, other.read().closed), (1, 1008, None))
        self.assertEqual(budget.shed, {"events": 1})
        producer.resumeProducing()
        self.assertEqual((len(self.told(other)), budget.total), (2, 0))
