"""WebSockets for pub/sub: what a client sends is published to its topic, and what others publish there comes to it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count
from typing import TYPE_CHECKING, Any
from uuid import uuid4
from weakref import WeakSet

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from sidecar.errors import EngineUnavailable
from sidecar.interfaces import IBroker
from sidecar.problems import problem
from sidecar.pubsub.abilities import able
from sidecar.pubsub.batches import batched
from sidecar.pubsub.counters import PubSubCounters
from sidecar.pubsub.durable import DurableSubscriber
from sidecar.pubsub.hub import Hub
from sidecar.pubsub.outbox import OutboxLimits
from sidecar.pubsub.publisher import Publisher
from sidecar.pubsub.subscriber import Subscriber, SubscribeRequest
from sidecar.websocket.sessions.durable import DurableSession
from sidecar.websocket.sockets import WebSockets
from sidecar.wire import faults
from sidecar.wire.ws import frames

if TYPE_CHECKING:
    from sidecar.websocket.protocol import WebSocketConnection

#: RFC 6455, 7.4.1
POLICY = 1008

#: Seconds that the broker may take to subscribe somebody before the handshake is refused.
SUBSCRIBE_TIMEOUT = 10.0


class PubSubSessions:
    """Brings WebSockets and the broker together.

    :ivar sockets: opens, counts and ends the connections.
    :ivar counters: what passed.
    """

    def __init__(
        self, broker: IBroker, clock: IReactorTime, sockets: WebSockets, limits: OutboxLimits | None = None
    ) -> None:
        """:param limits: how much may wait for one subscriber."""
        self.broker = broker
        self.clock = clock
        self.sockets = sockets
        self.limits = limits or OutboxLimits()
        self.counters = PubSubCounters()
        self.hub = Hub(broker, clock, self.counters)
        self._durable: WeakSet[DurableSession] = WeakSet()
        prefix = str(uuid4())[:24]
        numbers = count(1)
        #: Ids of messages: a UUID of this process whose last group counts.
        self.new_id: Callable[[], str] = lambda: f"{prefix}{next(numbers):012x}"

    def admit(self, request: Any) -> None:
        """Ask before :meth:`upgrade`. See :meth:`WebSockets.admit`."""
        self.sockets.admit(request)

    def upgrade(self, request: Any, asked: SubscribeRequest) -> int:
        """Open a WebSocket for what was ``asked``. See :meth:`WebSockets.upgrade`."""
        if asked.options.asked:
            broker = able(self.broker, asked.options.asked)
            session = DurableSession(
                broker, asked, self.clock, self.limits, self.counters, self.new_id, self.sockets.budget
            )
            self._durable.add(session)
            return self.sockets.upgrade(request, session)
        return self.sockets.upgrade(request, PubSubSession(self, asked))

    def members(self) -> Iterator[tuple[str, str | None, Subscriber | DurableSubscriber]]:
        """:returns: who hears what now: topic, queue or None, subscriber."""
        yield from self.hub.members()
        for session in tuple(self._durable):
            if session.subscribed:
                asked = session.subscriber.asked
                yield asked.topic, asked.options.durable or asked.queue, session.subscriber

    def note_published(self, topic: str) -> None:
        """A message was published over HTTP."""
        self.counters.topic(topic).published += 1

    def stats(self) -> dict[str, int]:
        """Numbers for ``/stats``: ``connections`` is of this moment, the others count from the start."""
        counters = self.counters
        return {
            "connections": self.sockets.connections,
            "refused": self.sockets.refused,
            "shed": self.sockets.shed,
            "published": counters.published,
            "failed": counters.failed,
            "delivered": counters.delivered,
            "dropped": counters.dropped,
            "closed": counters.closed,
        }


class PubSubSession:
    """The session of one connection: a subscriber and a publisher of the same topic."""

    log = Logger()
    __slots__ = ("_asked", "_connection", "_factory", "_publisher", "_subscribed", "_subscriber", "_subscribing")

    def __init__(self, factory: PubSubSessions, asked: SubscribeRequest) -> None:
        self._factory = factory
        self._asked = asked
        self._subscriber = Subscriber(asked, factory.limits, factory.counters, self._slow, factory.sockets.budget)
        self._subscribing: Deferred[None] | None = None
        self._subscribed = False
        self._connection: WebSocketConnection | None = None
        self._publisher: Publisher | None = None  # made when first needed: most subscribers publish nothing

    # --- What the connection tells ----------------------------------------------------------------------------------

    def begin(self) -> Deferred[None]:
        subscribing = Deferred.fromCoroutine(self._factory.hub.subscribe(self._subscriber))
        subscribing.addTimeout(SUBSCRIBE_TIMEOUT, self._factory.clock, _too_long)
        self._subscribing = subscribing.addCallback(self._has_subscribed)
        return self._subscribing

    def _has_subscribed(self, _: None) -> None:
        self._subscribed = True

    def opened(self, connection: WebSocketConnection) -> None:
        self._subscribing = None
        self._connection = connection
        connection.set_producer(self._subscriber)
        self._subscriber.open(connection.transport.write)

    def received(self, payload: bytes, binary: bool) -> None:
        if self._publisher is None:
            factory = self._factory
            self._publisher = Publisher(
                factory.broker,
                self._asked,
                factory.new_id,
                self._refused,
                self._pause,
                factory.counters,
            )
        self._publisher.publish(payload)

    def ended(self) -> None:
        self._subscriber.close()
        if self._subscribing is not None:
            self._subscribing.cancel()
        if self._subscribed:
            self._subscribed = False
            self._factory.hub.unsubscribe(self._subscriber)
        self._connection = None

    def refusal(self, error: BaseException) -> tuple[int, bytes]:
        found = problem(error)
        return found.status, faults.encode(found.fault) + b"\n"

    # --- What the publisher and the subscriber tell -----------------------------------------------------------------

    def _refused(self, error: BaseException) -> None:
        """Tell the client that a message of its own was not published, in the JSON of all our errors.

        It waits its turn behind messages, so it is bounded with them.
        """
        self._subscriber.send(batched([frames.frame(frames.TEXT, faults.encode(problem(error).fault))]))

    def _pause(self, paused: bool) -> None:
        if self._connection is not None:
            self._connection.pause(paused)

    def _slow(self, close: bool) -> None:
        connection = self._connection
        self.log.info(
            "A subscriber of {topic} at {peer} is too slow: {what}",
            topic=self._subscriber.topic,
            peer=connection.peer if connection is not None else "?",
            what="it is closed" if close else "its oldest messages are dropped",
        )
        if close and connection is not None:
            connection.close(POLICY, "too slow: more messages wait than may")


def _too_long(result: object, patience: float) -> None:
    raise EngineUnavailable(f"the broker did not subscribe us within {patience:g} s: try again later")
