"""Hands messages to subscribers of the HTTP broker: to each node in order, one at a time, and all of it bounded."""

from __future__ import annotations

from collections import deque
from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred, DeferredSemaphore, fail
from twisted.logger import Logger

from sidecar.errors import EngineUnavailable, RequestFailed, RequestTimeout
from sidecar.net.agent import Agent, excerpt
from sidecar.wire.httpbroker import Subscriber

#: Seconds that a node may take to accept a message.
PATIENCE = 5.0
#: Nodes that are posted to at the same time.
AT_ONCE = 64
#: What may wait: messages for one node, and bytes for all of them.
MAX_WAITING = 1024
MAX_WAITING_BYTES = 64 * 1024 * 1024
#: Seconds that a node which let us wait is left alone: at first, and at most.
REST, LONGEST_REST = 1.0, 30.0

_HEADERS = {"Content-Type": "application/json"}


@define(eq=False)
class _Lane:
    """The way to one node. :ivar busy: a post is under way. :ivar rest: seconds to leave it alone the next time.
    :ivar resting: until when it is left alone. :ivar told: that it fails was logged."""

    busy: bool = False
    waiting: deque[tuple[Subscriber, bytes, Deferred[None]]] = field(factory=deque)
    rest: float = REST
    resting: float = 0.0
    told: bool = False


class Posts:
    """Posts messages. A node that hangs costs its patience once in a while, not for each message."""

    log = Logger()

    def __init__(self, agent: Agent, clock: Any) -> None:
        self._agent = agent
        self._clock = clock
        self._lanes: dict[str, _Lane] = {}
        self._bytes = 0
        self._slots = DeferredSemaphore(AT_ONCE)

    def post(self, subscriber: Subscriber, body: bytes) -> Deferred[None]:
        """:returns: fires when the node took it. :raises EngineUnavailable: it did not."""
        lane = self._lanes.setdefault(subscriber.hostport, _Lane())
        if lane.resting > self._clock.seconds():
            return fail(EngineUnavailable(f"{subscriber.hostport} did not answer a moment ago and is left alone"))
        if len(lane.waiting) >= MAX_WAITING or self._bytes + len(body) > MAX_WAITING_BYTES:
            return fail(EngineUnavailable(f"too many messages wait for {subscriber.hostport}: try again later"))
        taken: Deferred[None] = Deferred()
        lane.waiting.append((subscriber, body, taken))
        self._bytes += len(body)
        if not lane.busy:
            lane.busy = True
            working = Deferred.fromCoroutine(self._work(lane))
            working.addErrback(lambda failure: self.log.failure("The HTTP broker failed to post", failure))
        return taken

    def forget(self, now: float) -> None:
        """Let go of nodes that nothing waits for; to be called now and then."""
        for hostport, lane in list(self._lanes.items()):
            if not lane.busy and lane.resting <= now - LONGEST_REST:
                del self._lanes[hostport]

    def close(self) -> Deferred[None]:
        """Give up what waits, and close the connections."""
        for lane in self._lanes.values():
            self._give_up(lane, "the HTTP broker is stopped")
        return self._agent.close()

    async def _work(self, lane: _Lane) -> None:
        try:
            while lane.waiting:
                subscriber, body, taken = lane.waiting.popleft()
                self._bytes -= len(body)
                error = await self._try(subscriber, body)
                self._judge(lane, subscriber, error)
                if error is None:
                    taken.callback(None)
                else:
                    taken.errback(EngineUnavailable(str(error)))
        finally:
            lane.busy = False

    async def _try(self, subscriber: Subscriber, body: bytes) -> RequestFailed | None:
        await self._slots.acquire()
        try:
            answer = await self._agent.request("POST", subscriber.url, _HEADERS, body, PATIENCE)
        except RequestFailed as error:
            return error
        finally:
            self._slots.release()
        if answer.status != 200:
            return RequestFailed(f"POST {subscriber.url}: answered {answer.status}: {excerpt(answer.body)}")
        return None

    def _judge(self, lane: _Lane, subscriber: Subscriber, error: RequestFailed | None) -> None:
        if error is None:
            lane.rest, lane.told = REST, False
            return
        if not lane.told:
            lane.told = True
            self.log.warn("A subscriber did not take a message, and is tried again with the next: {error}", error=error)
        if isinstance(error, RequestTimeout):
            lane.resting = self._clock.seconds() + lane.rest
            lane.rest = min(lane.rest * 2, LONGEST_REST)
            self._give_up(lane, f"{subscriber.hostport} does not answer")

    def _give_up(self, lane: _Lane, why: str) -> None:
        waiting, lane.waiting = lane.waiting, deque()
        for _, body, taken in waiting:
            self._bytes -= len(body)
            taken.errback(EngineUnavailable(f"{why}: the message was not taken"))
