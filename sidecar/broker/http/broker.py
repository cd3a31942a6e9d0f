"""Messages without a broker between: subscribers stand in the registry, publishers post to each of them.

:source: micro/go-micro ``broker/http_broker.go@v1.18.0``, ``broker/http.go@v6.10.0``
"""

from __future__ import annotations

import random
import uuid
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any

from attrs import define, field
from twisted.application import service
from twisted.internet.defer import Deferred, DeferredList, fail, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from zope.interface import implementer

from sidecar.broker.http.delivery import DeliveryQueues
from sidecar.broker.http.receiver import Receiver
from sidecar.broker.http.subscriptions import RENEWAL, Subscription, Subscriptions, outcome
from sidecar.broker.outgoing import addressed
from sidecar.errors import CallerError, EngineUnavailable, NotFound, SidecarError, TooLarge, TopicInvalid
from sidecar.interfaces import IBroker, IRegistry, ISubscription, IWatch
from sidecar.lifecycle import PeriodicService
from sidecar.model import BackendOptions, BackendState, Change, Message, Service
from sidecar.net.client.fetcher import Fetcher
from sidecar.net.client.tls import TrustOptions
from sidecar.wire import httpbroker as wire

#: Seconds that the audience of a topic is believed without asking again, and how many topics' are kept.
FRESH, MAX_TOPICS = 10.0, 1024
#: Characters of the longest topic or queue: as much as a registry takes as a name, less what is put around it.
MAX_NAME = 400
#: Seconds between two log lines about subscribers that did not take a message.
QUIET = 10.0


@implementer(ISubscription)
@define(eq=False)
class _Subscriber:
    """One subscriber's place. :ivar live: whether it still wants messages."""

    deliver: Callable[[str, Message], None]
    _leave: Callable[[_Subscriber], Deferred[None]]
    live: bool = True
    desk: Subscription[_Subscriber] | None = None

    def cancel(self) -> Deferred[None]:
        if not self.live:
            return succeed(None)
        self.live = False
        return self._leave(self)


@implementer(IBroker)
@define(eq=False, slots=False, init=False)
class HttpBroker(service.MultiService):
    """Posts each message to whoever the registry names, in the flavour that each of them speaks, and takes posts of all
    flavours."""

    log = Logger()
    _registry: IRegistry = field()

    def __init__(self, reactor: IReactorTime, registry: IRegistry, agent: Fetcher, listen: str, max_body: int) -> None:
        """:param listen: ``host:port`` to take messages on. :param max_body: bytes of the largest message.

        :raises ConfigError: one cannot listen there.
        """
        super().__init__()
        self._clock = reactor
        self._registry = registry
        self._agent = agent
        self._couriers = DeliveryQueues(agent, reactor)
        self._max_body = max_body
        # Base64 makes a body a third longer; the header comes on top.
        self._mailbox = Receiver(reactor, listen, self._received, max_body * 4 // 3 + 64 * 1024)
        self._desks: Subscriptions[_Subscriber] = Subscriptions(registry, self._mailbox.place)
        self._audiences: OrderedDict[str, tuple[float, wire.Audience]] = OrderedDict()
        self._news = 0
        self._watch: IWatch | None = None
        self._told = float("-inf")
        renewing = PeriodicService(reactor, RENEWAL, self._renew, "renewing the places of subscribers", now=False)
        renewing.setServiceParent(self)

    def startService(self) -> None:
        self._mailbox.start()
        self._watch = self._registry.watch(self._changed)
        super().startService()

    def stopService(self) -> Deferred[None]:
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        stopping = super().stopService()
        if self._watch is not None:
            self._watch.cancel()
        await self._desks.close()
        self._couriers.stop()
        await self._mailbox.stop()
        await self._agent.close()
        await stopping

    @property
    def place(self) -> tuple[str, int]:
        """The host and port that others post to."""
        return self._mailbox.place

    def state(self) -> BackendState:
        registry = self._registry.state()
        detail = f"registry {registry.kind}: {registry.detail}" if registry.detail else ""
        return BackendState("http", registry.connected and bool(self.running), None, detail)

    # --- publishing -------------------------------------------------------------------------------------------------

    def publish(self, topic: str, message: Message) -> Deferred[None]:
        problem = name_problem("topic", topic)
        if problem is not None:
            return fail(problem)
        if len(message.body) > self._max_body:
            return fail(TooLarge(f"{len(message.body)} bytes are over the limit of {self._max_body}"))
        if not self.running:
            return fail(EngineUnavailable("the HTTP broker is stopped: the message was not taken"))
        known = self._known_audience(topic)
        body = wire.encode(addressed(message, topic, str(uuid.uuid4())), topic)
        if known is not None:
            return self._post(topic, known, body)
        return Deferred.fromCoroutine(self._look_up(topic)).addCallback(lambda found: self._post(topic, found, body))

    def _known_audience(self, topic: str) -> wire.Audience | None:
        kept = self._audiences.get(topic)
        return kept[1] if kept is not None and kept[0] > self._clock.seconds() else None

    async def _look_up(self, topic: str) -> wire.Audience:
        news = self._news
        asking = {flavour: self._subscribers_of(flavour, topic) for flavour in wire.FLAVOURS}
        answers = {flavour: await each for flavour, each in asking.items()}
        found = {flavour: answer for flavour, answer in answers.items() if isinstance(answer, tuple)}
        for answer in answers.values():
            if isinstance(answer, SidecarError) and not any(found.values()):
                raise EngineUnavailable(f"the subscribers of {topic!r} cannot be looked up: {answer}")
        audience = wire.audience(topic, found)
        if news == self._news:
            self._audiences[topic] = (self._clock.seconds() + FRESH, audience)
            self._audiences.move_to_end(topic)
            if len(self._audiences) > MAX_TOPICS:
                self._audiences.popitem(last=False)
        return audience

    def _subscribers_of(self, flavour: wire.Flavour, topic: str) -> Deferred[tuple[Service, ...] | SidecarError]:
        """:returns: fires with the records, or with why there are none to be had."""

        async def ask() -> tuple[Service, ...] | SidecarError:
            try:
                return await self._registry.get(wire.service_name(flavour, topic))
            except (NotFound, CallerError):
                return ()
            except SidecarError as error:
                return error

        return Deferred.fromCoroutine(ask())

    def _post(self, topic: str, audience: wire.Audience, body: bytes) -> Deferred[None]:
        posting = [self._couriers.bring(place, body) for place in audience.everyone]
        posting += [
            Deferred.fromCoroutine(self._post_to_one(random.sample(places, len(places)), body))
            for places in audience.queues.values()
        ]

        def judge(results: Any) -> None:
            errors = [result for well, result in results if not well]
            if not errors:
                return
            why = errors[0].value
            if len(errors) == len(results):
                raise EngineUnavailable(f"none of the {len(errors)} subscribers of {topic!r} took the message: {why}")
            self._tell(topic, len(errors), len(results), why)

        return DeferredList(posting, consumeErrors=True).addCallback(judge)

    async def _post_to_one(self, places: Sequence[wire.Place], body: bytes) -> None:
        """Post to the first of a queue's members that takes it."""
        trouble: SidecarError | None = None
        for place in places:
            trouble = await outcome(self._couriers.bring(place, body))
            if trouble is None:
                return
        if trouble is not None:
            raise trouble

    def _tell(self, topic: str, missed: int, of: int, why: object) -> None:
        now = self._clock.seconds()
        if now - self._told >= QUIET:
            self._told = now
            self.log.warn(
                "{missed} of {of} subscribers of {topic} did not take a message: {why}",
                missed=missed,
                of=of,
                topic=topic,
                why=why,
            )

    # --- subscribing ------------------------------------------------------------------------------------------------

    def subscribe(
        self, topic: str, deliver: Callable[[str, Message], None], queue: str | None
    ) -> Deferred[ISubscription]:
        problem = name_problem("topic", topic) or (name_problem("queue", queue) if queue is not None else None)
        if problem is not None:
            return fail(problem)
        if not self.running:
            return fail(EngineUnavailable("the HTTP broker is stopped: nothing was subscribed"))
        return Deferred.fromCoroutine(self._subscribe(topic, queue, _Subscriber(deliver, self._left)))

    async def _subscribe(self, topic: str, queue: str | None, subscriber: _Subscriber) -> ISubscription:
        try:
            subscriber.desk = await self._desks.sit(topic, queue, subscriber)
        except CallerError as error:
            raise TopicInvalid(f"topic {topic[:80]!a}: the registry cannot hold it: {error}") from error
        finally:
            self._forget_audience(topic)
        taken: ISubscription = subscriber
        return taken

    def _left(self, subscriber: _Subscriber) -> Deferred[None]:
        desk = subscriber.desk
        if desk is None:
            return succeed(None)
        self._forget_audience(desk.topic)
        return Deferred.fromCoroutine(self._desks.rise(desk, subscriber)).addCallback(
            lambda _: self._forget_audience(desk.topic)
        )

    def _renew(self) -> Deferred[None]:
        return Deferred.fromCoroutine(self._desks.renew())

    # --- what comes in ----------------------------------------------------------------------------------------------

    def _received(self, topic: str, identity: str, message: Message) -> None:
        desk = self._desks.find(identity)
        if desk is None or desk.topic != topic:
            return
        for subscriber in desk.ears:
            if not subscriber.live:
                continue  # another subscriber of this very message has cancelled it
            try:
                subscriber.deliver(topic, message)
            except Exception:
                self.log.failure("A subscriber of {topic} failed on a message; the others get it", topic=topic)

    def _changed(self, change: Change) -> None:
        """Who hears a topic may be others now."""
        self._forget_audience(change.service.name)
        self._forget_audience(change.service.name.removeprefix("topic:"))
        for node in change.service.nodes:
            self._forget_audience(node.metadata.get("topic", ""))

    def _forget_audience(self, topic: str) -> None:
        self._news += 1
        self._audiences.pop(topic, None)


def name_problem(what: str, name: str) -> TopicInvalid | None:
    """Why ``name`` cannot stand in a registry as a topic (or queue), or None."""
    shown = ascii(name if len(name) <= 80 else name[:80] + "...")
    if not name:
        return TopicInvalid(f"{what}: must not be empty")
    if len(name) > MAX_NAME:
        return TopicInvalid(f"{what} {shown}: {len(name)} characters, at most {MAX_NAME} are allowed")
    if not name.isprintable() or name != name.strip() or name in (".", ".."):
        return TopicInvalid(f"{what} {shown}: a registry cannot hold it: control characters, space around it, or dots")
    if what == "queue" and name == wire.BROADCAST:
        return TopicInvalid(f"{what} {shown}: this name stands for no queue")
    return None


def build(options: BackendOptions) -> IBroker:
    """The entry point ``microsidecar.brokers: http``.

    :raises ConfigError: one cannot listen there.
    """
    listen = options.listen or next(iter(options.addresses), "127.0.0.1:0")
    trust = TrustOptions(options.ca_file, options.cert_file, options.key_file)
    agent = Fetcher(options.reactor, max_body=64 * 1024, tls=trust)
    broker: IBroker = HttpBroker(options.reactor, options.registry, agent, listen, options.max_body)
    return broker
