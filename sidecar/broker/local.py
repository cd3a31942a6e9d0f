"""Subscribers in this process, and how a message that reached it is delivered to them: the same for every broker."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from attrs import define
from twisted.internet.defer import Deferred, succeed
from twisted.logger import Logger
from zope.interface import implementer

from sidecar.interfaces import ISubscription
from sidecar.model import ANONYMOUS, Caller, Message

_log = Logger()


@implementer(ISubscription)
@define(eq=False)
class LocalSubscriber:
    """One subscriber of a topic in this process.

    :ivar queue: the queue group that it shares messages with, None where it gets all of them.
    :ivar deliver: called with topic and message. :ivar caller: for whom it was subscribed.
    :ivar _cancelled: called once, when it wants no more messages. :returns: fires when the engine knows.
    :ivar live: whether it still wants messages.
    """

    topic: str
    queue: str | None
    deliver: Callable[[str, Message], None]
    _cancelled: Callable[[LocalSubscriber], Deferred[None]]
    caller: Caller = ANONYMOUS
    live: bool = True

    def cancel(self) -> Deferred[None]:
        if not self.live:
            return succeed(None)
        self.live = False
        return self._cancelled(self)


@define(eq=False)
class LocalSubscribers:
    """The subscribers in this process that share one subscription at an engine.

    :ivar members: a tuple, replaced on each change, so that a delivery may cause changes while it runs.
    """

    members: tuple[LocalSubscriber, ...] = ()

    def add(self, subscriber: LocalSubscriber) -> None:
        self.members = (*self.members, subscriber)

    def remove(self, subscriber: LocalSubscriber) -> bool:
        """:returns: whether that was the last one."""
        self.members = tuple(other for other in self.members if other is not subscriber)
        return not self.members

    def deliver(self, topic: str, message: Message) -> None:
        """Deliver to all of them."""
        deliver(self.members, topic, message)


def deliver(subscribers: Iterable[LocalSubscriber], topic: str, message: Message) -> None:
    """Call each subscriber with the message. What one of them raises is logged and keeps it from nobody else."""
    for subscriber in subscribers:
        # Another subscriber of this very message may have cancelled this one.
        if not subscriber.live:
            continue
        try:
            subscriber.deliver(topic, message)
        except Exception:
            _log.failure("A subscriber of {topic} failed on a message; the others get it", topic=topic)
