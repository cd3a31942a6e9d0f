"""Posts to subscribers that do not keep up: what waits for them counts in the budget of memory."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from sidecar.broker.http.delivery import DeliveryQueues
from sidecar.errors import EngineUnavailable
from sidecar.net.memory import MemoryBudget
from sidecar.wire.broker.http import Target


class Answered:
    """An answer. :ivar status: of it."""

    status = 200
    body = b""


class Agent:
    """Notes what is posted. :ivar posts: where to, and what its answer fires."""

    def __init__(self) -> None:
        self.posts: list[tuple[str, Deferred[Any]]] = []

    def request(self, method: str, url: str, headers: object, body: bytes, timeout: float) -> Deferred[Any]:
        self.posts.append((url, Deferred()))
        return self.posts[-1][1]


class Kept(SynchronousTestCase):
    def setUp(self) -> None:
        clock, self.agent = Clock(), Agent()
        self.budget = MemoryBudget(1000, clock.seconds)
        agent: Any = self.agent
        self.queues = DeliveryQueues(agent, clock, self.budget)

    def target(self, name: str) -> Target:
        return Target(name, f"http://{name}/")

    def test_counted(self) -> None:
        """What waits counts until it was taken."""
        sent = [self.queues.send(self.target("a"), b"x" * 300) for _ in range(2)]
        self.assertEqual((self.budget.total, len(self.agent.posts)), (600, 1))
        for left in (300, 0):
            self.agent.posts[-1][1].callback(Answered())
            self.assertEqual(self.budget.total, left)
        for each in sent:
            self.successResultOf(each)

    def test_too_much(self) -> None:
        """Beyond the budget those that wait for the slowest fail with the reason; what is under way is not lost."""
        slow = [self.queues.send(self.target("slow"), b"x" * 200) for _ in range(4)]
        fine = self.queues.send(self.target("fine"), b"x" * 300)
        for each in slow[1:]:
            self.assertIn("--max_memory", str(self.failureResultOf(each, EngineUnavailable).value))
        self.assertEqual(self.budget.shed, {"messages": 1})
        later = self.queues.send(self.target("slow"), b"y")
        self.agent.posts[0][1].callback(Answered())
        self.successResultOf(slow[0])
        self.assertNoResult(later)
        for _, answer in self.agent.posts[1:]:
            answer.callback(Answered())
        self.successResultOf(fine)
        self.successResultOf(later)
        self.assertEqual(self.budget.total, 0)
