"""The embedded broker: messages pass within this process, batched by reactor turn."""

from __future__ import annotations

from collections.abc import Callable

from attrs import define, field
from twisted.application import service
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.interfaces import IReactorTime
from zope.interface import implementer

from sidecar.broker.local import LocalSubscriber, deliver
from sidecar.broker.topics import Topics
from sidecar.errors import EngineUnavailable, TopicInvalid
from sidecar.interfaces import IBroker, ISubscription
from sidecar.model import BackendOptions, BackendState, Caller, Message

#: What may wait for the next reactor turn. One turn reads at most 64 KiB from each connection, so this is only
#: met by a publisher that never lets the reactor run.
MAX_WAITING_MESSAGES = 262_144
MAX_WAITING_BYTES = 256 * 1024 * 1024

#: Characters of the longest topic or queue name.
MAX_NAME = 1024


@implementer(IBroker)
@define(eq=False, slots=False, init=False)
class MemoryBroker(service.Service):
    """Topics and queue groups in this process. Messages reach their subscribers in the reactor's next turn."""

    _topics: Topics[LocalSubscriber] = field()

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._topics = Topics()
        self._waiting: list[tuple[str, Message]] = []
        self._waiting_bytes = 0
        self._closed = False

    def startService(self) -> None:
        super().startService()
        self._closed = False

    def stopService(self) -> None:
        """Refuse new messages; those that were taken still reach their subscribers."""
        super().stopService()
        self._closed = True

    def publish(self, topic: str, message: Message, caller: Caller) -> Deferred[None]:
        problem = _name_problem("topic", topic)
        if problem is not None:
            return fail(problem)
        if self._closed:
            return fail(EngineUnavailable("the memory broker is stopped: the message was not taken"))
        if topic not in self._topics:
            return succeed(None)
        if len(self._waiting) >= MAX_WAITING_MESSAGES or self._waiting_bytes >= MAX_WAITING_BYTES:
            return fail(
                EngineUnavailable(
                    f"the memory broker already holds {len(self._waiting)} messages ({self._waiting_bytes} bytes) "
                    "for delivery: the message was not taken, try again later"
                )
            )
        if not self._waiting:
            self._clock.callLater(0, self._deliver)
        self._waiting.append((topic, message))
        self._waiting_bytes += len(message.body)
        return succeed(None)

    def subscribe(
        self, topic: str, deliver: Callable[[str, Message], None], queue: str | None, caller: Caller
    ) -> Deferred[ISubscription]:
        problem = _name_problem("topic", topic) or (_name_problem("queue", queue) if queue is not None else None)
        if problem is not None:
            return fail(problem)
        if self._closed:
            return fail(EngineUnavailable("the memory broker is stopped: nothing was subscribed"))
        subscriber = LocalSubscriber(topic, queue, deliver, self._unsubscribed, caller)
        self._topics.add(topic, queue, subscriber)
        return succeed(subscriber)

    def state(self) -> BackendState:
        return BackendState("memory", connected=not self._closed, detail="stopped" if self._closed else "")

    def _unsubscribed(self, subscriber: LocalSubscriber) -> Deferred[None]:
        self._topics.remove(subscriber.topic, subscriber.queue, subscriber)
        return succeed(None)

    def _deliver(self) -> None:
        waiting, self._waiting, self._waiting_bytes = self._waiting, [], 0
        for topic, message in waiting:
            deliver(self._topics.recipients(topic), topic, message)


def _name_problem(what: str, name: str) -> TopicInvalid | None:
    if not name:
        return TopicInvalid(f"{what}: must not be empty")
    if len(name) > MAX_NAME:
        return TopicInvalid(f"{what}: {len(name)} characters, at most {MAX_NAME} are allowed")
    if "\0" in name or "\r" in name or "\n" in name:
        return TopicInvalid(f"{what}: must not contain NUL or line breaks")
    return None


def build(options: BackendOptions) -> IBroker:
    """The entry point ``microsidecar.brokers: memory``."""
    broker: IBroker = MemoryBroker(options.reactor)
    return broker
