"""WebSockets that subscribe durably, acknowledge what they take, or speak go-micro's events."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import orjson
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from sidecar.errors import BadRequest, EngineUnavailable
from sidecar.interfaces import IDurableBroker, ISubscription
from sidecar.net.memory import MemoryBudget
from sidecar.problems import problem
from sidecar.pubsub.counters import PubSubCounters
from sidecar.pubsub.durable import DurableSubscriber
from sidecar.pubsub.outbox import OutboxLimits
from sidecar.pubsub.publisher import Publisher
from sidecar.pubsub.subscriber import SubscribeRequest
from sidecar.wire import faults
from sidecar.wire.ws import frames

if TYPE_CHECKING:
    from sidecar.websocket.protocol import WebSocketConnection

#: RFC 6455, 7.4.1
POLICY = 1008

#: Seconds that the broker may take to subscribe somebody before the handshake is refused.
SUBSCRIBE_TIMEOUT = 10.0

#: Bytes up to which a text frame is always read to see whether it is an acknowledgement, however it writes the name.
_SHORT = 4096


class DurableSession:
    """The session of one connection: a subscription of its own at the broker, and a publisher of the same topic."""

    log = Logger()

    def __init__(
        self,
        broker: IDurableBroker,
        asked: SubscribeRequest,
        clock: IReactorTime,
        limits: OutboxLimits,
        counters: PubSubCounters,
        new_id: Callable[[], str],
        budget: MemoryBudget | None = None,
    ) -> None:
        """:param new_id: makes ids of messages that the client publishes.
        :param budget: what may be kept for all peers together."""
        self._asked = asked
        self._broker = broker
        self._clock = clock
        self.subscriber = self._subscriber = DurableSubscriber(asked, limits, counters, self._overflowed, budget)
        self._publisher = Publisher(broker, asked, new_id, self._refused, self._pause, counters)
        self._subscribing: Deferred[None] | None = None
        self._subscription: ISubscription | None = None
        self._connection: WebSocketConnection | None = None

    @property
    def subscribed(self) -> bool:
        """Whether messages may come."""
        return self._subscription is not None

    # --- What the connection tells ----------------------------------------------------------------------------------

    def begin(self) -> Deferred[None]:
        asked = self._asked
        consuming = self._broker.consume(asked.topic, self._subscriber.take, asked.options, asked.caller)
        consuming.addTimeout(SUBSCRIBE_TIMEOUT, self._clock, _too_long)
        self._subscribing = consuming.addCallback(self._has_subscribed)
        return self._subscribing

    def _has_subscribed(self, subscription: ISubscription) -> None:
        self._subscription = subscription

    def opened(self, connection: WebSocketConnection) -> None:
        self._subscribing = None
        self._connection = connection
        connection.set_producer(self._subscriber)
        self._subscriber.open(connection.transport.write)

    def received(self, payload: bytes, binary: bool) -> None:
        if self._asked.options.ack and not binary and (len(payload) <= _SHORT or b'"ack"' in payload):
            try:
                said = orjson.loads(payload)
            except orjson.JSONDecodeError:
                said = None
            if isinstance(said, dict) and tuple(said) == ("ack",):
                if not self._subscriber.ack(said["ack"]):
                    shown = orjson.dumps(said["ack"]).decode()[:100]
                    self._refused(BadRequest(f"ack: no message of the ID {shown} waits to be acknowledged here"))
                return
        self._publisher.publish(payload)

    def ended(self) -> None:
        self._subscriber.close()
        if self._subscribing is not None:
            self._subscribing.cancel()
        subscription, self._subscription = self._subscription, None
        if subscription is not None:
            subscription.cancel().addErrback(self._cancel_failed)
        self._connection = None

    def _cancel_failed(self, failure: Failure) -> None:
        self.log.failure("Unsubscribing from topic {topic} at the broker failed", failure, topic=self._asked.topic)

    def refusal(self, error: BaseException) -> tuple[int, bytes]:
        found = problem(error)
        return found.status, faults.encode(found.fault) + b"\n"

    # --- What the publisher and the subscriber tell -----------------------------------------------------------------

    def _refused(self, error: BaseException) -> None:
        """Tell the client that a frame of its own was of no use, in the JSON of all our errors."""
        self._subscriber.send(frames.frame(frames.TEXT, faults.encode(problem(error).fault)))

    def _pause(self, paused: bool) -> None:
        if self._connection is not None:
            self._connection.pause(paused)

    def _overflowed(self) -> None:
        connection = self._connection
        self.log.info(
            "A subscriber of {topic} at {peer} is too slow: it is closed, and the broker keeps its messages",
            topic=self._asked.topic,
            peer=connection.peer if connection is not None else "?",
        )
        if connection is not None:
            connection.close(POLICY, "too slow: more messages wait than may")


def _too_long(result: object, patience: float) -> None:
    raise EngineUnavailable(f"the broker did not subscribe us within {patience:g} s: try again later")
