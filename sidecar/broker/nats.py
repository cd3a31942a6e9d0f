"""Messages over NATS: the subject is the topic, the payload go-micro's message JSON, a queue is a NATS queue group.

:source: micro/go-micro ``broker/nats/nats.go@v6.10.0``
"""

from __future__ import annotations

import uuid
from collections.abc import Callable

from attrs import define, field
from twisted.application import service
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from sidecar.broker.outgoing import addressed
from sidecar.errors import BadRequest, EngineUnavailable, TopicInvalid
from sidecar.interfaces import IBroker, ISubscription
from sidecar.model import BackendOptions, BackendState, Message
from sidecar.net.nats.access import NatsServers
from sidecar.net.nats.client import Interest, NatsClient
from sidecar.wire import messages

#: Bytes of the longest subject or queue: a NATS server's control line (4,096) has to hold both.
MAX_NAME = 1024
#: Seconds between two log lines about messages that cannot be read.
QUIET = 10.0


@define(eq=False)
class _Ears:
    """Those here who hear one NATS subscription.

    :ivar members: a tuple, replaced on each change, so that a delivery may cause changes while it runs.
    """

    interest: Interest
    members: tuple[_Subscriber, ...] = ()


@implementer(ISubscription)
@define(eq=False)
class _Subscriber:
    """One subscriber's place. :ivar live: whether it still wants messages."""

    topic: str
    deliver: Callable[[str, Message], None]
    _leave: Callable[[_Subscriber], Deferred[None]]
    live: bool = True

    def cancel(self) -> Deferred[None]:
        if not self.live:
            return succeed(None)
        self.live = False
        return self._leave(self)


@implementer(IBroker)
@define(eq=False, slots=False, init=False)
class NatsBroker(service.MultiService):
    """Publishes to NATS and confirms each message; subscriptions stand through outages and come back by themselves.

    However many subscribers one topic has here, each message crosses the connection to NATS once. The members of a
    queue are each known to NATS, so that its share counts them all.
    """

    log = Logger()
    _plain: dict[str, _Ears] = field()

    def __init__(self, clock: IReactorTime, link: NatsClient) -> None:
        """:param link: becomes part of this service."""
        super().__init__()
        self._clock = clock
        self._link = link
        self._plain = {}
        self._ears: dict[_Subscriber, _Ears] = {}
        self._told_malformed = float("-inf")
        self._malformed = 0
        link.setServiceParent(self)

    def publish(self, topic: str, message: Message) -> Deferred[None]:
        problem = name_problem("topic", topic)
        if problem is not None:
            return fail(problem)
        if not self.running:
            return fail(EngineUnavailable("the NATS broker is stopped: the message was not taken"))
        return self._link.publish(topic, messages.encode(addressed(message, topic, str(uuid.uuid4()))))

    def subscribe(
        self, topic: str, deliver: Callable[[str, Message], None], queue: str | None
    ) -> Deferred[ISubscription]:
        """With no server in reach it is taken all the same, and is live when one answers."""
        problem = name_problem("topic", topic) or (name_problem("queue", queue) if queue is not None else None)
        if problem is not None:
            return fail(problem)
        if not self.running:
            return fail(EngineUnavailable("the NATS broker is stopped: nothing was subscribed"))
        subscriber = _Subscriber(topic, deliver, self._left)
        ears = self._plain.get(topic) if queue is None else None
        if ears is None:
            ears = self._new_ears(topic, queue or "")
            if queue is None:
                self._plain[topic] = ears
        ears.members = (*ears.members, subscriber)
        self._ears[subscriber] = ears

        def held(_: None) -> ISubscription:
            taken: ISubscription = subscriber
            return taken

        def refused(failure: Failure) -> Failure:
            subscriber.cancel()
            return failure

        # Held already, it still waits for the server's word: what was published before is not heard then.
        return self._link.hold(ears.interest).addCallbacks(held, refused)

    def state(self) -> BackendState:
        return BackendState("nats", connected=self._link.connected, detail=self._link.detail)

    def _new_ears(self, topic: str, queue: str) -> _Ears:
        def arrived(subject: str, reply: str, payload: bytes) -> None:
            self._arrived(ears, payload)

        ears = _Ears(Interest(topic, arrived, queue))
        return ears

    def _arrived(self, ears: _Ears, payload: bytes) -> None:
        topic = ears.interest.subject
        try:
            message = messages.decode(payload)
        except BadRequest as error:
            self._complain(topic, error)
            return
        for subscriber in ears.members:
            if not subscriber.live:
                continue  # another subscriber of this very message has cancelled it
            try:
                subscriber.deliver(topic, message)
            except Exception:
                self.log.failure("A subscriber of {topic} failed on a message; the others get it", topic=topic)

    def _left(self, subscriber: _Subscriber) -> Deferred[None]:
        ears = self._ears.pop(subscriber)
        ears.members = tuple(other for other in ears.members if other is not subscriber)
        if ears.members:
            return succeed(None)
        if self._plain.get(subscriber.topic) is ears:
            del self._plain[subscriber.topic]
        return self._link.drop(ears.interest)

    def _complain(self, topic: str, error: BadRequest) -> None:
        self._malformed += 1
        now = self._clock.seconds()
        if now - self._told_malformed >= QUIET:
            self._told_malformed = now
            self.log.warn(
                "A message on {topic} is skipped: {error} ({count} so far)",
                topic=topic,
                error=error,
                count=self._malformed,
            )


def name_problem(what: str, name: str) -> TopicInvalid | None:
    """Why ``name`` cannot be a NATS subject (or queue group), or None."""
    if not name:
        return TopicInvalid(f"{what}: must not be empty")
    if any(character.isspace() or not character.isprintable() for character in name):
        return TopicInvalid(f"{what} {_shown(name)}: NATS subjects hold no spaces and no control characters")
    if len(name.encode("utf-8", "surrogatepass")) > MAX_NAME:
        return TopicInvalid(f"{what} {_shown(name)}: is longer than {MAX_NAME} bytes")
    if what == "queue":
        return None
    if "*" in name or ">" in name:
        return TopicInvalid(f"{what} {_shown(name)}: * and > are wildcards of NATS; name one topic")
    if not all(name.split(".")):
        return TopicInvalid(f"{what} {_shown(name)}: NATS subjects have no empty part before, between or after dots")
    if name.startswith("$"):
        return TopicInvalid(f"{what} {_shown(name)}: subjects that begin with $ are NATS's own")
    return None


def _shown(name: str) -> str:
    return ascii(name if len(name) <= 80 else name[:80] + "...")


def build(options: BackendOptions) -> IBroker:
    """The entry point ``microsidecar.brokers: nats``.

    :raises ConfigError: an address, a certificate or the credentials file cannot be used.
    """
    link = NatsClient(options.reactor, NatsServers.from_options(options), "microsidecar broker")
    broker: IBroker = NatsBroker(options.reactor, link)
    return broker
