"""Posts to subscribers: each gets its messages in order, one at a time, out of a bounded queue of its own."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from attrs import define, field, frozen
from twisted.internet.defer import Deferred, fail
from twisted.internet.interfaces import IReactorTime

from sidecar.errors import EngineUnavailable
from sidecar.net.client.fetcher import Fetcher, excerpt
from sidecar.net.errors import RequestFailed
from sidecar.net.memory import MemoryBudget
from sidecar.wire.broker.http import Target

#: What may wait for one subscriber.
MAX_MESSAGES, MAX_BYTES = 1024, 16 * 1024 * 1024
#: Seconds that one post may take, and that a subscriber which did not answer in them is left alone.
PATIENCE, REST = 5.0, 5.0


@frozen(eq=False)
class Delivery:
    """One message for one subscriber. :ivar done: fires when the subscriber took it."""

    body: bytes
    done: Deferred[None]


@define(eq=False)
class _Queue:
    """The deliveries that wait for one subscriber, the first of them under way.

    :ivar give_up: has those that wait fail. :ivar size: bytes of their bodies.
    """

    target: Target
    give_up: Callable[[_Queue], None]
    deliveries: deque[Delivery] = field(factory=deque)
    size: int = 0

    def shed(self) -> None:
        """Called by the budget of memory."""
        self.give_up(self)


@define(eq=False)
class DeliveryQueues:
    """One queue a subscriber, for as long as there is something to send.

    :ivar budget: told of what waits, None for nobody.
    """

    _agent: Fetcher
    _clock: IReactorTime
    _budget: MemoryBudget | None = None
    _queues: dict[str, _Queue] = field(factory=dict)
    _resting: dict[str, float] = field(factory=dict)
    _stopped: bool = False

    def send(self, target: Target, body: bytes) -> Deferred[None]:
        """Post ``body`` after all that was to be posted there before.

        :returns: fires when the subscriber took it. :raises EngineUnavailable: it did not.
        """
        if self._stopped:
            return fail(EngineUnavailable("the HTTP broker is stopped"))
        if self._rests(target):
            return fail(EngineUnavailable(f"{target.url} did not answer a moment ago"))
        queue = self._queues.get(target.url)
        if queue is not None and (len(queue.deliveries) >= MAX_MESSAGES or queue.size + len(body) > MAX_BYTES):
            return fail(
                EngineUnavailable(f"{target.url} does not keep up: {len(queue.deliveries)} messages wait for it")
            )
        delivery = Delivery(body, Deferred())
        idle = queue is None
        if queue is None:
            queue = self._queues[target.url] = _Queue(target, self._give_up)
        queue.deliveries.append(delivery)
        queue.size += len(body)
        if not self._may_keep(queue):
            self._give_up(queue)
        if idle:
            Deferred.fromCoroutine(self._work_off(queue))
        return delivery.done

    def stop(self) -> None:
        """Send no more; what waits fails."""
        self._stopped = True
        for queue in list(self._queues.values()):
            self._fail(queue, EngineUnavailable("the HTTP broker is stopping"))

    async def _work_off(self, queue: _Queue) -> None:
        while queue.deliveries:
            delivery = queue.deliveries[0]
            error = await self._post(queue.target, delivery.body)
            if not queue.deliveries:
                break  # stopped meanwhile
            queue.deliveries.popleft()
            queue.size -= len(delivery.body)
            self._may_keep(queue)
            _resolve(delivery, error)
            if error is not None and self._rests(queue.target):
                self._fail(queue, error)
        self._queues.pop(queue.target.url, None)

    async def _post(self, target: Target, body: bytes) -> EngineUnavailable | None:
        began = self._clock.seconds()
        try:
            response = await self._agent.request(
                "POST", target.url, {"Content-Type": "application/json"}, body, timeout=PATIENCE
            )
        except RequestFailed as error:
            if self._clock.seconds() - began >= PATIENCE:
                self._resting[target.url] = self._clock.seconds() + REST
            return EngineUnavailable(str(error))
        if response.status == 200:
            return None
        return EngineUnavailable(f"{target.url} answered {response.status}: {excerpt(response.body)}")

    def _rests(self, target: Target) -> bool:
        until = self._resting.get(target.url)
        if until is None:
            return False
        if until > self._clock.seconds():
            return True
        del self._resting[target.url]
        return False

    def _may_keep(self, queue: _Queue) -> bool:
        """Tell the budget of all what waits. :returns: whether it may."""
        return self._budget is None or self._budget.changed(queue, queue.size, "messages")

    def _give_up(self, queue: _Queue) -> None:
        """What waits for all peers is too much, and here it is most. The first delivery is under way, and goes on."""
        assert self._budget is not None
        error = EngineUnavailable(f"{queue.target.url} does not keep up: {self._budget.spent}")
        first, *waiting = queue.deliveries
        queue.deliveries = deque((first,))
        queue.size = len(first.body)
        for delivery in waiting:
            _resolve(delivery, error)

    def _fail(self, queue: _Queue, error: EngineUnavailable) -> None:
        waiting = list(queue.deliveries)
        queue.deliveries.clear()
        queue.size = 0
        self._may_keep(queue)
        for delivery in waiting:
            _resolve(delivery, error)


def _resolve(delivery: Delivery, error: EngineUnavailable | None) -> None:
    if delivery.done.called:
        return
    if error is None:
        delivery.done.callback(None)
    else:
        delivery.done.errback(error)
