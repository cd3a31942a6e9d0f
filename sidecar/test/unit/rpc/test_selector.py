"""Nodes are chosen from memory, and memory is kept true."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from sidecar.errors import ConfigError, EngineUnavailable, NoNodes, NotFound
from sidecar.interfaces import IWatcher
from sidecar.model import BackendState, Change, Node, Service
from sidecar.rpc.selector import Selector
from sidecar.test.contracts.selector import SelectorContract


def service(name: str, *ports: int) -> Service:
    return Service(name, "1", nodes=tuple(Node(f"{name}-{port}", "127.0.0.1", port) for port in ports))


class Watch:
    def __init__(self, cancel: Callable[[], None]) -> None:
        self.cancel = cancel


class Registry:
    """A registry that answers when it is told to, and counts what it is asked."""

    def __init__(self) -> None:
        self.services: dict[str, tuple[Service, ...]] = {}
        self.asked: list[str] = []
        self.held: list[tuple[str, Deferred[tuple[Service, ...]]]] | None = None
        self.away = False
        self.watchers: list[IWatcher] = []

    def get(self, name: str) -> Deferred[tuple[Service, ...]]:
        self.asked.append(name)
        if self.held is not None:
            waiting: Deferred[tuple[Service, ...]] = Deferred()
            self.held.append((name, waiting))
            return waiting
        return self.answer(name)

    def answer(self, name: str) -> Deferred[tuple[Service, ...]]:
        if self.away:
            return fail(EngineUnavailable("the engine is away"))
        if name not in self.services:
            return fail(NotFound(f"no service {name}"))
        return succeed(self.services[name])

    def release(self) -> None:
        held, self.held = self.held or [], None
        for name, waiting in held:
            self.answer(name).chainDeferred(waiting)

    def watch(self, watcher: IWatcher) -> Watch:
        self.watchers.append(watcher)
        return Watch(lambda: self.watchers.remove(watcher))

    def put(self, *services: Service) -> None:
        self.services[services[0].name] = services
        for watcher in self.watchers:
            watcher.invalidated(services[0].name)

    def register(self, service: Service, ttl: float | None, caller: Any, cause: Any = None) -> Any: ...
    def deregister(self, service: Service, caller: Any, cause: Any = None) -> Any: ...

    def list(self) -> Deferred[tuple[str, ...]]:
        return succeed(tuple(sorted(self.services)))

    def state(self) -> BackendState:
        return BackendState("test")


class RandomContract(SelectorContract, SynchronousTestCase):
    """What every selector promises, by each strategy."""

    strategy = "random"

    def make_selector(self, *services: Service) -> Selector:
        self.clock = Clock()
        registry = Registry()
        by_name: dict[str, list[Service]] = {}
        for each in services:
            by_name.setdefault(each.name, []).append(each)
        for group in by_name.values():
            registry.put(*group)
        selector = Selector(registry, self.strategy, Random(1), self.clock)  # type: ignore[arg-type]  # it is one
        selector.startService()
        self.addCleanup(selector.stopService)
        return selector


class RoundRobinContract(RandomContract):
    strategy = "roundrobin"


class LeastBusyContract(RandomContract):
    strategy = "leastbusy"


class Selecting(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.registry = Registry()
        self.registry.put(service("foo", 1, 2))
        self.selector = self.make()

    def make(self, **settings: Any) -> Selector:
        selector = Selector(self.registry, "random", Random(1), self.clock, **settings)  # type: ignore[arg-type]  # it is one
        selector.startService()
        self.addCleanup(selector.stopService)
        return selector

    def ports(self, name: str = "foo") -> list[int]:
        first = self.first(name)
        return sorted((first.port, *(node.port for node in self.selector.others(name, None, first))))

    def first(self, name: str = "foo") -> Node:
        found = self.selector.first(name, None)
        return self.successResultOf(found) if isinstance(found, Deferred) else found

    def test_asked_once(self) -> None:
        """The registry is asked when a service is called first, and then no more."""
        for _ in range(100):
            self.assertEqual(self.ports(), [1, 2])
        self.assertEqual(self.registry.asked, ["foo"])

    def test_changes(self) -> None:
        """A change is seen with the next call."""
        self.ports()
        self.registry.put(service("foo", 3))
        self.assertEqual(self.ports(), [3])

    def test_versions(self) -> None:
        """Nodes of all versions share the work."""
        self.registry.put(service("foo", 1), Service("foo", "2", nodes=service("foo", 7).nodes))
        self.assertEqual(self.ports(), [1, 7])

    def test_unknown(self) -> None:
        """An unknown name is asked for each time, so it is found as soon as it is there; a known one may vanish."""
        for _ in range(2):
            self.assertRaises(NotFound, self.selector.first, "bar", None)
        self.registry.put(service("bar", 5))
        self.assertEqual(self.ports("bar"), [5])
        self.registry.services.pop("bar")
        self.registry.watchers[0].changed(Change.of("delete", service("bar", 5)))
        self.assertRaises(NotFound, self.selector.first, "bar", None)

    def test_no_nodes(self) -> None:
        """A service without nodes is told apart from one that is unknown."""
        self.registry.put(Service("bar", "1"))
        self.assertRaises(NoNodes, self.selector.first, "bar", None)

    def test_one_question(self) -> None:
        """However many call at once, the registry is asked once, and all are told."""
        self.registry.held = []
        waiting: list[Any] = [self.selector.first("foo", None) for _ in range(5)]
        self.assertEqual(self.registry.asked, ["foo"])
        self.registry.release()
        for each in waiting:
            assert isinstance(each, Deferred)
            self.assertIn(self.successResultOf(each).port, (1, 2))

    def test_all_are_told_of_failure(self) -> None:
        """Also when it is not there."""
        self.registry.held = []
        waiting: list[Any] = [self.selector.first("nope", None) for _ in range(3)]
        self.registry.release()
        for each in waiting:
            self.failureResultOf(each, NotFound)

    def test_cancelled(self) -> None:
        """Who gives up does not take the answer from the others."""
        self.registry.held = []
        first: Any = self.selector.first("foo", None)
        second: Any = self.selector.first("foo", None)
        first.addErrback(lambda _: None).cancel()
        self.registry.release()
        self.assertIn(self.successResultOf(second).port, (1, 2))

    def test_changed_meanwhile(self) -> None:
        """An answer that was overtaken by a change serves those who asked, and is not kept."""
        self.registry.held = []
        found = self.selector.first("foo", None)
        self.registry.put(service("foo", 9))
        self.registry.services["foo"] = (service("foo", 1),)
        self.registry.release()
        assert isinstance(found, Deferred)
        self.assertEqual(self.successResultOf(found).port, 1)
        self.registry.services["foo"] = (service("foo", 9),)
        self.assertEqual(self.ports(), [9])

    def test_engine_away(self) -> None:
        """While the engine is away, what it said last is used; for what it never said there is an error."""
        self.ports()
        self.registry.away = True
        self.registry.watchers[0].changed(Change.of("update", service("foo", 1)))
        self.assertEqual(self.ports(), [1, 2])
        self.assertRaises(EngineUnavailable, self.selector.first, "bar", None)

    def test_bounded(self) -> None:
        """Memory is bounded: the one looked up longest ago makes room."""
        self.selector = self.make(max_services=10)
        for number in range(30):
            self.registry.put(service(f"s{number}", number + 1))
            self.ports(f"s{number}")
        self.registry.asked.clear()
        self.ports("s29")
        self.ports("s0")
        self.assertEqual(self.registry.asked, ["s0"])

    def test_round_goes_on(self) -> None:
        """A renewal that changes nothing does not start the round anew."""
        self.registry.put(service("foo", 1, 2, 3))
        selector = Selector(self.registry, "roundrobin", Random(1), self.clock)  # type: ignore[arg-type]  # it is one
        selector.startService()
        self.addCleanup(selector.stopService)
        found = []
        for _ in range(9):
            chosen: Any = selector.first("foo", None)
            found.append(chosen.port)
            self.registry.put(service("foo", 1, 2, 3))
        self.assertEqual(found[:3] * 3, found)

    def test_not_running(self) -> None:
        """Before it is started and after it is stopped nothing is remembered, since nobody would tell of changes."""
        self.selector.stopService()
        self.assertEqual(self.registry.watchers, [])
        self.ports()
        self.ports()
        self.assertEqual(self.registry.asked, ["foo", "foo"])
        self.selector.startService()

    def test_wrong_name(self) -> None:
        """A strategy that does not exist is a fault of the settings."""
        self.assertRaises(ConfigError, Selector, self.registry, "best", Random(1), self.clock)

    def test_failures_are_not_swallowed(self) -> None:
        """A registry that breaks is told as it broke."""
        self.registry.answer = lambda name: fail(Failure(ZeroDivisionError()))  # type: ignore[method-assign]  # on purpose
        self.assertRaises(ZeroDivisionError, self.selector.first, "foo", None)
