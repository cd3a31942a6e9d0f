"""WebSockets for pub/sub: what a client says is published to its topic, and what others publish there comes to it."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from attrs import frozen
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from sidecar.errors import EngineUnavailable
from sidecar.interfaces import IBroker
from sidecar.model import Message
from sidecar.problems import problem
from sidecar.pubsub.batches import batched
from sidecar.pubsub.counters import PubSubCounters
from sidecar.pubsub.hub import Hub
from sidecar.pubsub.outbox import OutboxLimits
from sidecar.pubsub.publisher import Publisher
from sidecar.pubsub.subscriber import Subscriber
from sidecar.websocket.sockets import WebSockets
from sidecar.wire.ws import frames

if TYPE_CHECKING:
    from sidecar.websocket.protocol import Connection

#: RFC 6455, 7.4.1
POLICY = 1008

#: Seconds that the broker may take to subscribe somebody before the handshake is refused.
SUBSCRIBE_PATIENCE = 10.0


@frozen
class SubscribeRequest:
    """What a client asked for.

    :ivar queue: with whom it shares the messages, None for nobody. :ivar make_frame: its format.
    :ivar stated: the content type of all that it publishes, None where it did not say.
    """

    topic: str
    queue: str | None
    make_frame: Callable[[Message], bytes]
    stated: str | None


class PubSubFactory:
    """Brings WebSockets and the broker together.

    :ivar sockets: opens, counts and ends the connections.
    :ivar tally: what passed.
    """

    def __init__(
        self, broker: IBroker, clock: IReactorTime, sockets: WebSockets, bounds: OutboxLimits | None = None
    ) -> None:
        """:param bounds: how much may wait for one subscriber."""
        self.broker = broker
        self.clock = clock
        self.sockets = sockets
        self.bounds = bounds or OutboxLimits()
        self.tally = PubSubCounters()
        self.hub = Hub(broker, clock, self.tally)
        prefix = str(uuid4())[:24]
        numbers = count(1)
        #: Ids of messages: a UUID of this process whose last group counts.
        self.new_id: Callable[[], str] = lambda: f"{prefix}{next(numbers):012x}"

    def upgrade(self, request: Any, wish: SubscribeRequest) -> int:
        """Open a WebSocket for ``wish``. See :meth:`WebSockets.upgrade`."""
        return self.sockets.upgrade(request, PubSubSession(self, wish))

    def stats(self) -> dict[str, int]:
        """Numbers for ``/stats``: ``connections`` is of this moment, the others count from the start."""
        tally = self.tally
        return {
            "connections": self.sockets.connections,
            "refused": self.sockets.refused,
            "published": tally.published,
            "failed": tally.failed,
            "delivered": tally.delivered,
            "dropped": tally.dropped,
            "closed": tally.closed,
        }


class PubSubSession:
    """One connection's: a subscriber and a publisher of the same topic."""

    log = Logger()
    __slots__ = ("_connection", "_factory", "_joined", "_joining", "_publisher", "_stated", "_subscriber")

    def __init__(self, factory: PubSubFactory, wish: SubscribeRequest) -> None:
        self._factory = factory
        self._stated = wish.stated
        self._subscriber = Subscriber(
            wish.topic, wish.queue, wish.make_frame, factory.bounds, factory.tally, self._behind
        )
        self._joining: Deferred[None] | None = None
        self._joined = False
        self._connection: Connection | None = None
        self._publisher: Publisher | None = None  # made when first needed: most subscribers only listen

    # --- What the connection tells ----------------------------------------------------------------------------------

    def begin(self) -> Deferred[None]:
        joining = Deferred.fromCoroutine(self._factory.hub.join(self._subscriber))
        joining.addTimeout(SUBSCRIBE_PATIENCE, self._factory.clock, _too_long)
        self._joining = joining.addCallback(self._has_joined)
        return self._joining

    def _has_joined(self, _: None) -> None:
        self._joined = True

    def opened(self, connection: Connection) -> None:
        self._joining = None
        self._connection = connection
        connection.take_producer(self._subscriber)
        self._subscriber.open(connection.transport.write)

    def heard(self, payload: bytes, binary: bool) -> None:
        if self._publisher is None:
            factory = self._factory
            self._publisher = Publisher(
                factory.broker,
                self._subscriber.topic,
                self._stated,
                factory.new_id,
                self._refused,
                self._hold,
                factory.tally,
            )
        self._publisher.publish(payload)

    def ended(self) -> None:
        self._subscriber.close()
        if self._joining is not None:
            self._joining.cancel()
        if self._joined:
            self._joined = False
            self._factory.hub.leave(self._subscriber)
        self._connection = None

    def refusal(self, error: BaseException) -> tuple[int, bytes]:
        answer = problem(error)
        return answer.status, answer.body

    # --- What the publisher and the subscriber tell -----------------------------------------------------------------

    def _refused(self, error: BaseException) -> None:
        """Tell the client that a message of its own went nowhere, in the JSON of all our errors.

        It waits its turn behind messages, so it is bounded with them.
        """
        self._subscriber.send(batched([frames.frame(frames.TEXT, problem(error).body)]))

    def _hold(self, hold: bool) -> None:
        if self._connection is not None:
            self._connection.hold(hold)

    def _behind(self, close: bool) -> None:
        connection = self._connection
        self.log.info(
            "A subscriber of {topic} at {peer} is too slow: {what}",
            topic=self._subscriber.topic,
            peer=connection.peer if connection is not None else "?",
            what="it is closed" if close else "its oldest messages are dropped",
        )
        if close and connection is not None:
            connection.leave(POLICY, "too slow: more messages wait than may")


def _too_long(result: object, patience: float) -> None:
    raise EngineUnavailable(f"the broker did not subscribe us within {patience:g} s: try again later")
