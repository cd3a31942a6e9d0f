"""The registry without a store, on a clock of our own: who is asked when, who drops out, and what is kept."""

from __future__ import annotations

from typing import Any

from attrs import define, evolve, field
from twisted.application import service
from twisted.application.service import IService
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from sidecar.errors import EngineUnavailable, NotFound
from sidecar.model import ANONYMOUS, Change, Node, Service
from sidecar.registry.peers import lastseen
from sidecar.registry.peers.lastseen import ANNOUNCED_PATIENCE, ASKED_PATIENCE, INTERVAL, LastSeen
from sidecar.registry.peers.registry import GATHER, PeerRegistry
from sidecar.registry.peers.transport import PeerListener
from sidecar.test.contracts.registry import a_service
from sidecar.test.doubles.watcher import RecordingWatcher


@define(eq=False)
class QuietTransport:
    """A transport that only notes what it is to send. :ivar said: verb and name."""

    kind: str = "quiet"
    heartbeat: float | None = 30.0
    reachable: bool = True
    said: list[tuple[str, Any]] = field(factory=list)
    listener: Any = None

    def first_attempt(self) -> Deferred[None]:
        return succeed(None)

    def attach(self, listener: PeerListener) -> IService:
        self.listener = listener
        started: IService = service.Service()
        return started

    def state(self) -> tuple[bool, str]:
        return self.reachable, "" if self.reachable else "out of reach"

    def check(self, service: Service) -> None:
        pass

    def _say(self, verb: str, what: Any) -> Deferred[None]:
        if not self.reachable:
            return fail(EngineUnavailable("out of reach"))
        self.said.append((verb, what))
        return succeed(None)

    def query(self, name: str) -> Deferred[None]:
        return self._say("query", name)

    def query_names(self) -> Deferred[None]:
        return self._say("query", None)

    def announce(self, service: Service, news: bool) -> Deferred[None]:
        return self._say("announce" if news else "renew", service.name)

    def withdraw(self, service: Service) -> Deferred[None]:
        return self._say("withdraw", [node.id for node in service.nodes])


class PeerRegistryTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.transport = QuietTransport()
        self.registry = PeerRegistry(self.clock, self.transport)
        self.registry.startService()
        self.seen: list[Change] = []
        self.watcher = RecordingWatcher(self.seen)
        self.registry.watch(self.watcher)

    def pass_time(self, seconds: float) -> None:
        for _ in range(round(seconds / 0.1)):
            self.clock.advance(0.1)

    def found(self, name: str) -> set[str]:
        def nobody(failure: Failure) -> tuple[Service, ...]:
            failure.trap(NotFound)
            return ()

        getting = self.registry.get(name).addErrback(nobody)
        self.clock.advance(GATHER)
        return {node.id for each in self.successResultOf(getting) for node in each.nodes}

    def test_one_question_for_all(self) -> None:
        """Who asks for the same meanwhile waits for the same answers; then memory answers."""
        service = a_service("say")
        asking = [self.registry.get("say") for _ in range(5)]
        self.transport.listener.on_announced(service)
        for each in asking:
            self.assertNoResult(each)
        self.clock.advance(GATHER)
        for each in asking:
            self.assertEqual(self.successResultOf(each), (service,))
        self.assertEqual(self.successResultOf(self.registry.get("say")), (service,))
        self.assertEqual(self.transport.said, [("query", "say")])

    def test_asker_leaves(self) -> None:
        """One who gives up waiting disturbs nobody."""
        one, other = self.registry.get("say"), self.registry.get("say")
        one.cancel()
        self.failureResultOf(one)
        self.clock.advance(GATHER)
        self.failureResultOf(other, NotFound)

    def test_not_found_holds_a_moment(self) -> None:
        """A name that nobody has is not asked for again at once, yet an announcement counts."""
        self.assertEqual(self.found("say"), set())
        self.failureResultOf(self.registry.get("say"), NotFound)
        self.assertEqual(self.transport.said, [("query", "say")])
        service = a_service("say")
        self.transport.listener.on_announced(service)
        self.assertEqual(self.successResultOf(self.registry.get("say")), (service,))
        self.pass_time(1.0)
        self.assertEqual(self.found("nobody"), set())

    def test_silence(self) -> None:
        """A node that nobody vouches for any more drops out; one that is vouched for stays."""
        silent, lasting = a_service("say"), a_service("say")
        self.transport.listener.on_announced(silent)
        self.transport.listener.on_announced(lasting)
        self.assertEqual(len(self.found("say")), 2)
        for _ in range(int(ASKED_PATIENCE / INTERVAL) + 2):
            self.pass_time(INTERVAL)
            self.transport.listener.on_announced(lasting)
        self.assertEqual(self.found("say"), {lasting.nodes[0].id})
        gone = [change for change in self.seen if change.action == "delete"]
        self.assertEqual([(each.service, each.reason, each.by) for each in gone], [(silent, "expired", "engine quiet")])
        self.assertIn("not heard of", gone[0].detail)
        self.assertGreaterEqual(self.transport.said.count(("query", "say")), 3)

    def test_only_announced(self) -> None:
        """A service that is announced and never asked for is told of, costs no questions, and drops out in the end."""
        service = a_service("say")
        self.transport.listener.on_announced(service)
        self.clock.advance(0)
        self.assertEqual(self.seen, [Change("create", service, "registered", by="engine quiet")])
        self.pass_time(ANNOUNCED_PATIENCE + 1)
        self.assertEqual(self.watcher.told(), [("create", "registered"), ("delete", "expired")])
        self.assertEqual(self.transport.said, [])

    def test_outage_is_no_silence(self) -> None:
        """While the engine is out of reach nobody drops out; then everybody has time to be heard again."""
        service = a_service("say")
        self.transport.listener.on_announced(service)
        self.found("say")
        self.transport.reachable = False
        self.transport.listener.on_down()
        self.pass_time(ANNOUNCED_PATIENCE * 2)
        self.assertEqual(self.successResultOf(self.registry.get("say")), (service,))
        self.failureResultOf(self.registry.get("other"), EngineUnavailable)
        self.assertIsNotNone(self.registry.state().stale_since)
        self.transport.reachable = True
        self.transport.listener.on_up()
        self.assertIsNone(self.registry.state().stale_since)
        self.pass_time(INTERVAL)
        self.assertEqual(self.found("say"), {service.nodes[0].id})
        self.pass_time(ASKED_PATIENCE)
        self.assertEqual(self.found("say"), set())

    def test_never_reached(self) -> None:
        """Of peers that were out of reach from the start nothing is known: that is no empty list, and says so."""
        registry = PeerRegistry(self.clock, QuietTransport(reachable=False))
        registry.startService()
        self.addCleanup(registry.stopService)
        self.failureResultOf(registry.list(), EngineUnavailable)
        self.failureResultOf(registry.get("foo"), EngineUnavailable)
        self.assertFalse(registry.state().connected)
        self.assertIsNotNone(registry.state().stale_since)

    def test_comes_back(self) -> None:
        """Back in reach, all of ours is announced at once; later, once a heartbeat."""
        self.successResultOf(self.registry.register(a_service("one"), None, ANONYMOUS))
        self.successResultOf(self.registry.register(a_service("two"), 3600.0, ANONYMOUS))
        self.pass_time(1)
        self.transport.said.clear()
        self.transport.listener.on_up()
        self.assertEqual(self.transport.said, [("announce", "one"), ("announce", "two")])
        self.pass_time(60.0)
        self.assertEqual(self.transport.said.count(("announce", "one")), 3)

    def test_refused_write_leaves_nothing(self) -> None:
        """A first registration that nobody could be told of is not kept; a known one that cannot be renewed is."""
        known = a_service("known")
        self.successResultOf(self.registry.register(known, 100.0, ANONYMOUS))
        self.transport.reachable = False
        self.failureResultOf(self.registry.register(a_service("new"), None, ANONYMOUS), EngineUnavailable)
        self.pass_time(60)
        self.failureResultOf(self.registry.register(known, 100.0, ANONYMOUS), EngineUnavailable)
        self.pass_time(60)
        self.assertEqual(self.successResultOf(self.registry.list()), ("known",))

    def test_echo(self) -> None:
        """What we took out is not brought back by an answer of our own that was still on its way."""
        service = a_service("say")
        self.successResultOf(self.registry.register(service, None, ANONYMOUS))
        self.successResultOf(self.registry.deregister(service, ANONYMOUS))
        self.transport.listener.on_announced(service)
        self.assertEqual(self.found("say"), set())
        self.pass_time(2)
        self.transport.listener.on_announced(service)  # registered by somebody else meanwhile
        self.assertEqual(self.found("say"), {service.nodes[0].id})

    def test_ours_is_ours(self) -> None:
        """Nobody else's word alters or ends what is registered here."""
        service = a_service("say")
        self.successResultOf(self.registry.register(service, None, ANONYMOUS))
        (node,) = service.nodes
        self.transport.listener.on_announced(evolve(service, nodes=(evolve(node, port=1),)))
        self.transport.listener.on_goodbye("say", [node.id])
        self.pass_time(ANNOUNCED_PATIENCE * 2)
        self.assertEqual(self.found("say"), {node.id})
        self.assertEqual([change.action for change in self.seen], ["create"])

    def test_stop(self) -> None:
        """Stopping takes out everything of ours, fails who waits, and leaves no timer."""
        service = a_service("say")
        self.successResultOf(self.registry.register(service, 10.0, ANONYMOUS))
        waiting = self.registry.get("other")
        self.successResultOf(self.registry.stopService())
        self.assertIn(("withdraw", [service.nodes[0].id]), self.transport.said)
        self.failureResultOf(waiting, EngineUnavailable)
        self.clock.advance(GATHER)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_crowd(self) -> None:
        """More nodes than can be remembered are not believed, and what is known stays."""
        self.patch(lastseen, "MAX_NODES_OF_NAME", 3)
        for number in range(10):
            self.transport.listener.on_announced(Service("say", nodes=(Node(f"say-{number}", "10.0.0.1", 80),)))
        self.assertEqual(self.found("say"), {"say-0", "say-1", "say-2"})


class Followed(SynchronousTestCase):
    def test_room(self) -> None:
        """The name that was not wanted for longest makes room for a new one."""
        self.patch(lastseen, "MAX_FOLLOWED", 2)
        known = LastSeen()
        self.assertIsNone(known.follow("a", 0.0))
        self.assertIsNone(known.follow("b", 0.0))
        known.wanted("a")
        self.assertEqual(known.follow("c", 0.0), "b")
        self.assertTrue(known.follows("a"))

    def test_pauses(self) -> None:
        """A name with nodes is asked for steadily, one without ever more rarely."""
        known = LastSeen()
        known.follow("full", 0.0)
        known.follow("empty", 0.0)
        known.saw("full", ["x"], 0.0)
        asked = {"full": 0, "empty": 0}
        for now in range(240):
            for name in known.due(float(now), 10):
                asked[name] += 1
        self.assertEqual(asked["full"], 240 / INTERVAL - 1)
        self.assertLess(asked["empty"], 10)
        self.assertGreater(asked["empty"], 4)

    def test_most(self) -> None:
        """No more than so many are asked for at a time, the rest the next time."""
        known = LastSeen()
        for number in range(10):
            known.follow(str(number), 0.0)
        first, second = known.due(INTERVAL, 6), known.due(INTERVAL, 6)
        self.assertEqual(sorted(first + second), [str(number) for number in range(10)])
