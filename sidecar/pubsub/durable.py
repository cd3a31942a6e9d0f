"""A subscriber whose messages are the broker's until they were taken: acknowledged by it, or written to it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from itertools import count

from attrs import define, field
from twisted.internet.interfaces import IPushProducer
from zope.interface import implementer

from sidecar.interfaces import IDelivery
from sidecar.net.memory import MemoryBudget
from sidecar.pubsub.counters import PubSubCounters, TopicTraffic
from sidecar.pubsub.outbox import OVERHEAD, OutboxLimits
from sidecar.pubsub.subscriber import SubscribeRequest
from sidecar.wire import messages
from sidecar.wire.ws import frames

#: Digits at the beginning of the ids of one connection, which no other's has.
_connections = count(1)


def _discard(_: bytes) -> None:
    """Takes what is written before the connection is open, or after it: nothing ever is."""


@implementer(IPushProducer)
@define(eq=False)
class DurableSubscriber:
    """Behind a connection, whose transport tells it to pause while it has enough.

    What waits here is never dropped: it is the broker's still. The broker bounds how many messages that are; with more
    bytes than the outbox may hold the connection is closed, and they go back.

    :ivar overflowed: called when too many bytes wait.
    :ivar budget: told of what waits, None for nobody.
    """

    asked: SubscribeRequest
    _limits: OutboxLimits
    _counters: PubSubCounters
    overflowed: Callable[[], None]
    _budget: MemoryBudget | None = None
    _prefix: int = field(factory=lambda: next(_connections), init=False)
    _numbers: count[int] = field(factory=lambda: count(1), init=False)
    #: By the id that the client knows: what it was given and did not acknowledge.
    _unacknowledged: dict[str, IDelivery] = field(factory=dict, init=False)
    _waiting: deque[tuple[bytes, IDelivery | None]] = field(factory=deque, init=False)
    _waiting_bytes: int = field(default=0, init=False)
    _write: Callable[[bytes], object] = field(default=_discard, init=False)
    _paused: bool = field(default=True, init=False)
    _closed: bool = field(default=False, init=False)
    _traffic: TopicTraffic = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._traffic = self._counters.topic(self.asked.topic)

    def open(self, write: Callable[[bytes], object]) -> None:
        """From now on ``write`` takes bytes. What came before goes first."""
        self._write = write
        self.resumeProducing()

    def close(self) -> None:
        """Take and write nothing more. What was not acknowledged is the broker's."""
        self._closed = True
        self._write = _discard
        self._unacknowledged.clear()
        self._waiting.clear()
        self._tell()

    @property
    def lag(self) -> int:
        """Messages that it was not given yet, or did not acknowledge."""
        return len(self._waiting) + len(self._unacknowledged)

    def take(self, delivery: IDelivery) -> None:
        """Called by the broker."""
        if self._closed:
            return
        if self.asked.options.ack:
            id = f"{self._prefix:x}-{next(self._numbers):x}"
            self._unacknowledged[id] = delivery
            self.send(frames.frame(frames.TEXT, messages.envelope(delivery.message, id)))
        else:
            self.send(self.asked.make_frame(delivery.message), delivery)

    def ack(self, id: object) -> bool:
        """The client took a message. :returns: whether there is one of that id that it had not acknowledged."""
        delivery = self._unacknowledged.pop(id, None) if isinstance(id, str) else None
        if delivery is None:
            return False
        delivery.ack()
        return True

    def send(self, frame: bytes, delivery: IDelivery | None = None) -> None:
        """Write a frame, now or when it can be written. :param delivery: what is taken as soon as it was."""
        if not self._paused and not self._waiting:
            self._write_one(frame, delivery)
            return
        self._waiting.append((frame, delivery))
        self._waiting_bytes += len(frame)
        if not self._closed and (self._waiting_bytes > self._limits.size or not self._tell()):
            self.shed()

    def _tell(self) -> bool:
        """Tell the budget of all what waits. :returns: whether it may."""
        size = self._waiting_bytes + OVERHEAD * len(self._waiting) if self._waiting else 0
        return self._budget is None or self._budget.changed(self, size, "messages")

    def shed(self) -> None:
        """Too much waits, here or, as the budget says, for all together."""
        self._counters.closed += 1
        self.close()
        self.overflowed()

    def _write_one(self, frame: bytes, delivery: IDelivery | None) -> None:
        self._write(frame)
        self._counters.delivered += 1
        self._traffic.delivered += 1
        if delivery is not None:
            delivery.ack()

    # --- What the transport tells: IPushProducer --------------------------------------------------------------------

    def pauseProducing(self) -> None:
        self._paused = True

    def resumeProducing(self) -> None:
        if self._closed:
            return
        self._paused = False
        while self._waiting and not self._paused:
            frame, delivery = self._waiting.popleft()
            self._waiting_bytes -= len(frame)
            self._write_one(frame, delivery)
        self._tell()

    def stopProducing(self) -> None:
        self.close()
