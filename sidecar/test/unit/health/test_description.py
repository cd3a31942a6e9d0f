"""What an app says of its endpoints, and when it is asked."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from sidecar.health.description import LAST_ASK, AppEndpoints, DescribingRegistry
from sidecar.model import ANONYMOUS, Endpoint, Node, Service, Value
from sidecar.registry.memory import MemoryRegistry

APP = Service("foo", nodes=(Node("foo-1", "127.0.0.1", 9090),))
SHAPE = Value("Request", "Request", (Value("name", "string"),))


class Described(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.memory = MemoryRegistry(self.clock)
        self.endpoints = AppEndpoints((Endpoint("Say.Hello", metadata={"scopes": "public"}),))
        self.asked = 0

    def describing(self, answer: Callable[[], Deferred[tuple[Endpoint, ...]]]) -> DescribingRegistry:
        def ask() -> Deferred[tuple[Endpoint, ...]]:
            self.asked += 1
            return answer()

        return DescribingRegistry(self.memory, self.endpoints, ask, self.clock)

    def known(self) -> list[Endpoint]:
        ((service),) = self.successResultOf(self.memory.get("foo"))
        return list(service.endpoints)

    def test_with_what_it_says(self) -> None:
        """It is registered with what it says; what the settings name of the same endpoint is added to that."""
        registry = self.describing(lambda: succeed((Endpoint("Say.Hello", SHAPE), Endpoint("Say.Bye"))))
        self.successResultOf(registry.register(APP, None, ANONYMOUS))
        self.assertEqual(
            self.known(), [Endpoint("Say.Hello", SHAPE, metadata={"scopes": "public"}), Endpoint("Say.Bye")]
        )
        self.assertEqual(sorted(self.endpoints.by_name), ["Say.Bye", "Say.Hello"])

    def test_asked_when_it_comes(self) -> None:
        """A renewal asks nothing; one that left and comes again is asked anew."""
        registry = self.describing(lambda: succeed(()))
        for _ in range(3):
            self.successResultOf(registry.register(APP, 60.0, ANONYMOUS))
        self.assertEqual(self.asked, 1)
        self.successResultOf(registry.deregister(APP, ANONYMOUS))
        self.successResultOf(registry.register(APP, 60.0, ANONYMOUS))
        self.assertEqual(self.asked, 2)

    def test_asked_again(self) -> None:
        """An app that does not say is registered by what is known, and by what it says as soon as it does."""
        answers = [fail(ValueError("404")), fail(ValueError("404")), succeed((Endpoint("Say.Bye"),))]
        registry = self.describing(lambda: answers.pop(0))
        self.successResultOf(registry.register(APP, None, ANONYMOUS))
        self.assertEqual([each.name for each in self.known()], ["Say.Hello"])
        self.clock.pump([LAST_ASK] * 4)
        self.assertEqual([each.name for each in self.known()], ["Say.Bye", "Say.Hello"])
        self.assertEqual(self.asked, 3)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_no_longer_asked(self) -> None:
        """Of one that left, or whose registrar ended, nothing is asked any more."""
        for end in (
            lambda registry: registry.deregister(APP, ANONYMOUS),
            lambda registry: registry.watch(None).cancel(),
        ):
            registry = self.describing(lambda: fail(ValueError("404")))
            self.successResultOf(registry.register(APP, None, ANONYMOUS))
            end(registry)
            asked = self.asked
            self.clock.pump([LAST_ASK] * 3)
            self.assertEqual(self.asked, asked)
