"""Messages over Redis as go-micro's plugin passes them: the channel is the topic, the payload go-micro's message JSON.

The plugin knows no queue groups: every subscriber of Redis hears all. So the members of a group share its messages
within one sidecar, and another sidecar's members of the same group get them too.

:source: go-micro/plugins ``v4/broker/redis/redis.go@v1.2.0``
"""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Callable

from twisted.application import service
from twisted.internet.defer import Deferred, fail, succeed
from twisted.python.failure import Failure
from zope.interface import implementer

from sidecar.broker.local import LocalSubscriber, deliver
from sidecar.broker.outgoing import addressed
from sidecar.broker.topics import Topics
from sidecar.errors import EngineUnavailable, TopicInvalid
from sidecar.interfaces import IBroker, ISubscription
from sidecar.model import BackendOptions, BackendState, Caller, Message
from sidecar.net.errors import Unavailable
from sidecar.net.redis.access import RedisAccess
from sidecar.net.redis.client import RedisClient
from sidecar.wire import messages

#: Characters of the longest topic or queue name. Redis itself would take half a gigabyte.
MAX_NAME = 1024


@implementer(IBroker)
class RedisBroker(service.MultiService):
    """Publishes to Redis and waits for its answer; subscriptions stand through outages and come back by themselves."""

    def __init__(self, reactor: object, access: RedisAccess) -> None:
        """:param reactor: for the way back from the client's thread."""
        super().__init__()
        self._client = RedisClient(reactor, access, "microsidecar", self._arrived)
        self._topics: Topics[LocalSubscriber] = Topics()
        #: By topic: how many subscribers there are, those included that wait for Redis's word.
        self._count: Counter[str] = Counter()
        self._client.setServiceParent(self)

    def publish(self, topic: str, message: Message, caller: Caller) -> Deferred[None]:
        problem = _name_problem("topic", topic)
        if problem is not None:
            return fail(problem)
        if not self.running:
            return fail(EngineUnavailable("the Redis broker is stopped: the message was not taken"))
        payload = messages.encode(addressed(message, topic, str(uuid.uuid4())))
        return self._client.publish(topic.encode(), payload).addErrback(_unavailable)

    def subscribe(
        self, topic: str, deliver: Callable[[str, Message], None], queue: str | None, caller: Caller
    ) -> Deferred[ISubscription]:
        """With no server in reach it is taken all the same, and is live when one answers."""
        problem = _name_problem("topic", topic) or (_name_problem("queue", queue) if queue is not None else None)
        if problem is not None:
            return fail(problem)
        if not self.running:
            return fail(EngineUnavailable("the Redis broker is stopped: nothing was subscribed"))
        subscriber = LocalSubscriber(topic, queue, deliver, self._unsubscribed, caller)
        self._count[topic] += 1

        def subscribed(_: None) -> ISubscription:
            place: ISubscription = subscriber
            self._topics.add(topic, queue, subscriber)
            return place

        def given_up(failure: Failure) -> Failure:
            subscriber.live = False
            self._one_less(topic)
            return failure

        # Subscribed already, it waits for Redis's word once more: what was published before is not for the newcomer.
        return self._client.subscribe(topic.encode()).addCallbacks(subscribed, given_up)

    def state(self) -> BackendState:
        return BackendState("redis", connected=self._client.connected, detail=self._client.detail)

    def _unsubscribed(self, subscriber: LocalSubscriber) -> Deferred[None]:
        self._topics.remove(subscriber.topic, subscriber.queue, subscriber)
        return self._one_less(subscriber.topic)

    def _one_less(self, topic: str) -> Deferred[None]:
        self._count[topic] -= 1
        if self._count[topic]:
            return succeed(None)
        del self._count[topic]
        return self._client.unsubscribe(topic.encode())

    def _arrived(self, channel: bytes, payload: bytes) -> None:
        topic = channel.decode("utf-8", "replace")
        # Whoever has the server's address publishes there, in forms of their own.
        deliver(self._topics.recipients(topic), topic, messages.decode_any(payload, topic))


def _unavailable(failure: Failure) -> None:
    failure.trap(Unavailable)
    raise EngineUnavailable(str(failure.value)) from failure.value


def _name_problem(what: str, name: str) -> TopicInvalid | None:
    if not name:
        return TopicInvalid(f"{what}: must not be empty")
    if len(name) > MAX_NAME:
        return TopicInvalid(f"{what}: {len(name)} characters, at most {MAX_NAME} are allowed")
    try:
        name.encode()
    except UnicodeEncodeError:
        return TopicInvalid(f"{what} {ascii(name)[:80]}: is not Unicode")
    return None


def build(options: BackendOptions) -> IBroker:
    """The entry point ``microsidecar.brokers: redis``.

    :raises InvalidSetting: redis-py is missing, or an address, a certificate or a credential is no good.
    """
    broker: IBroker = RedisBroker(options.reactor, RedisAccess.from_options(options))
    return broker
