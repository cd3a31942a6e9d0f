"""The other side of a subscriber's connection: what it says is published, and what could not be is told to it."""

from __future__ import annotations

from collections.abc import Callable

from attrs import define
from twisted.python.failure import Failure

from sidecar.interfaces import IBroker
from sidecar.model import Message
from sidecar.pubsub.counters import PubSubCounters
from sidecar.wire import messages

#: Messages of one publisher that the broker has not answered for yet. With more it is not listened to for a while.
UNDER_WAY = 512


@define(eq=False)
class Publisher:
    """Publishes to one topic.

    :ivar stated: the content type of all that it publishes, or None to look at each message.
    :ivar refused: called with what went wrong for each message that the broker did not take.
    :ivar hold: called with True when the broker is behind, so that nothing more is read, and with False when it is not.
    """

    _broker: IBroker
    _topic: str
    _stated: str | None
    _ids: Callable[[], str]
    _refused: Callable[[BaseException], None]
    _hold: Callable[[bool], None]
    _tally: PubSubCounters
    _under_way: int = 0
    _held: bool = False

    def publish(self, body: bytes) -> None:
        """Hand a message over, its body as it came."""
        kind = self._stated or messages.content_type(body)
        header = {messages.CONTENT_TYPE: kind, messages.TOPIC: self._topic, messages.ID: self._ids()}
        publishing = self._broker.publish(self._topic, Message(header, body))
        if publishing.called and not publishing.paused and publishing.result is None:
            self._tally.published += 1  # taken at once, as the memory broker does: callbacks would cost more than it
            return
        self._under_way += 1
        publishing.addCallbacks(self._taken, self._failed)
        if self._under_way >= UNDER_WAY and not self._held:
            self._held = True
            self._hold(True)

    def _taken(self, _: object) -> None:
        self._tally.published += 1
        self._answered()

    def _failed(self, failure: Failure) -> None:
        self._tally.failed += 1
        self._answered()
        assert failure.value is not None
        self._refused(failure.value)

    def _answered(self) -> None:
        self._under_way -= 1
        if self._held and self._under_way <= UNDER_WAY // 2:
            self._held = False
            self._hold(False)
