"""Messages without a broker between: subscribers are registered, and publishers post to each of them.

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
from sidecar.broker.local import LocalSubscriber, deliver
from sidecar.broker.outgoing import addressed
from sidecar.errors import CallerError, EngineUnavailable, NotFound, SidecarError, TooLarge, TopicInvalid
from sidecar.interfaces import IBroker, IRegistry, ISubscription, IWatch, IWatcher
from sidecar.lifecycle import PeriodicService
from sidecar.model import BackendOptions, BackendState, Caller, Change, Message, Service
from sidecar.net.client.fetcher import Fetcher
from sidecar.net.client.tls import TrustOptions
from sidecar.net.memory import MemoryBudget
from sidecar.net.reactor.admission import PATIENCE, Admission
from sidecar.waiting import Freshness
from sidecar.wire.broker import http as wire

#: Seconds that the subscribers of a topic are believed without asking again, and how many topics' are kept.
FRESH, MAX_TOPICS = 10.0, 1024
#: Characters of the longest topic or queue: as much as a registry takes as a name, less what is put around it.
MAX_NAME = 400
#: Seconds between two log lines about subscribers that did not take a message.
QUIET = 10.0


@implementer(IBroker, IWatcher)
@define(eq=False, slots=False, init=False)
class HttpBroker(service.MultiService):
    """Posts each message to whoever the registry names, in the dialect that each of them speaks, and takes posts of all
    dialects."""

    log = Logger()
    _registry: IRegistry = field()

    def __init__(
        self,
        reactor: IReactorTime,
        registry: IRegistry,
        agent: Fetcher,
        listen: str,
        max_body: int,
        hosts: tuple[str, ...] = (),
        budget: MemoryBudget | None = None,
        queue_timeout: float = PATIENCE,
    ) -> None:
        """:param listen: ``host:port`` to take messages on. :param max_body: bytes of the largest message.
        :param budget: told of what waits and of what has not come whole, None for nobody.
        :param queue_timeout: seconds that a message may wait for its turn.

        :raises ConfigError: one cannot listen there.
        """
        super().__init__()
        self._clock = reactor
        self._registry = registry
        self._agent = agent
        self._deliveries = DeliveryQueues(agent, reactor, budget)
        self._max_body = max_body
        # Base64 makes a body a third longer; the header comes on top.
        most = max_body * 4 // 3 + 64 * 1024
        admission = Admission(reactor, queue_timeout)
        self._receiver = Receiver(reactor, listen, self._received, most, hosts, budget, admission)
        self._subscriptions = Subscriptions(registry, self._receiver.address)
        self._registered: dict[LocalSubscriber, Subscription] = {}
        self._known: OrderedDict[str, tuple[float, wire.Subscribers]] = OrderedDict()
        self._fresh = Freshness()
        self._watch: IWatch | None = None
        self._told = float("-inf")
        renewing = PeriodicService(
            reactor, RENEWAL, self._renew, "renewing the registrations of subscribers", now=False
        )
        renewing.setServiceParent(self)

    def startService(self) -> None:
        self._receiver.start()
        self._watch = self._registry.watch(self)
        super().startService()

    def stopService(self) -> Deferred[None]:
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        stopping = super().stopService()
        if self._watch is not None:
            self._watch.cancel()
        await self._subscriptions.close()
        self._deliveries.stop()
        await self._receiver.stop()
        await self._agent.close()
        await stopping

    @property
    def address(self) -> tuple[str, int]:
        """The host and port that others post to."""
        return self._receiver.address

    def state(self) -> BackendState:
        registry = self._registry.state()
        detail = f"registry {registry.kind}: {registry.detail}" if registry.detail else ""
        return BackendState("http", registry.connected and bool(self.running), None, detail)

    # --- publishing -------------------------------------------------------------------------------------------------

    def publish(self, topic: str, message: Message, caller: Caller) -> Deferred[None]:
        problem = name_problem("topic", topic)
        if problem is not None:
            return fail(problem)
        if len(message.body) > self._max_body:
            return fail(TooLarge(f"{len(message.body)} bytes are over the limit of {self._max_body}"))
        if not self.running:
            return fail(EngineUnavailable("the HTTP broker is stopped: the message was not taken"))
        known = self._known_subscribers(topic)
        body = wire.encode(addressed(message, topic, str(uuid.uuid4())), topic)
        if known is not None:
            return self._post(topic, known, body)
        return Deferred.fromCoroutine(self._look_up(topic)).addCallback(lambda found: self._post(topic, found, body))

    def _known_subscribers(self, topic: str) -> wire.Subscribers | None:
        kept = self._known.get(topic)
        return kept[1] if kept is not None and kept[0] > self._clock.seconds() else None

    async def _look_up(self, topic: str) -> wire.Subscribers:
        asked = self._fresh.asked()
        asking = {dialect: self._subscribers_of(dialect, topic) for dialect in wire.Dialect}
        answers = {dialect: await each for dialect, each in asking.items()}
        found = {dialect: answer for dialect, answer in answers.items() if isinstance(answer, tuple)}
        for answer in answers.values():
            if isinstance(answer, SidecarError) and not any(found.values()):
                raise EngineUnavailable(f"the subscribers of {topic!r} cannot be looked up: {answer}")
        subscribers = wire.subscribers(topic, found)
        if self._fresh.holds(asked):
            self._known[topic] = (self._clock.seconds() + FRESH, subscribers)
            self._known.move_to_end(topic)
            if len(self._known) > MAX_TOPICS:
                self._known.popitem(last=False)
        return subscribers

    def _subscribers_of(self, dialect: wire.Dialect, topic: str) -> Deferred[tuple[Service, ...] | SidecarError]:
        """:returns: fires with the records, or with why there are none to be had."""

        async def ask() -> tuple[Service, ...] | SidecarError:
            try:
                return await self._registry.get(wire.service_name(dialect, topic))
            except (NotFound, CallerError):
                return ()
            except SidecarError as error:
                return error

        return Deferred.fromCoroutine(ask())

    def _post(self, topic: str, subscribers: wire.Subscribers, body: bytes) -> Deferred[None]:
        posting = [self._deliveries.send(target, body) for target in subscribers.everyone]
        posting += [
            Deferred.fromCoroutine(self._post_to_one(random.sample(targets, len(targets)), body))
            for targets in subscribers.queues.values()
        ]

        def sum_up(results: Any) -> None:
            errors = [result for well, result in results if not well]
            if not errors:
                return
            why = errors[0].value
            if len(errors) == len(results):
                raise EngineUnavailable(f"none of the {len(errors)} subscribers of {topic!r} took the message: {why}")
            self._report_missed(topic, len(errors), len(results), why)

        return DeferredList(posting, consumeErrors=True).addCallback(sum_up)

    async def _post_to_one(self, targets: Sequence[wire.Target], body: bytes) -> None:
        """Post to the first of a queue's members that takes it."""
        error: SidecarError | None = None
        for target in targets:
            error = await outcome(self._deliveries.send(target, body))
            if error is None:
                return
        if error is not None:
            raise error

    def _report_missed(self, topic: str, missed: int, of: int, why: object) -> None:
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
        self, topic: str, deliver: Callable[[str, Message], None], queue: str | None, caller: Caller
    ) -> Deferred[ISubscription]:
        problem = name_problem("topic", topic) or (name_problem("queue", queue) if queue is not None else None)
        if problem is not None:
            return fail(problem)
        if not self.running:
            return fail(EngineUnavailable("the HTTP broker is stopped: nothing was subscribed"))
        subscriber = LocalSubscriber(topic, queue, deliver, self._unsubscribed, caller)
        return Deferred.fromCoroutine(self._subscribe(subscriber))

    async def _subscribe(self, subscriber: LocalSubscriber) -> ISubscription:
        topic = subscriber.topic
        try:
            self._registered[subscriber] = await self._subscriptions.subscribe(subscriber)
        except CallerError as error:
            raise TopicInvalid(f"topic {topic[:80]!a}: the registry cannot hold it: {error}") from error
        finally:
            self._forget_subscribers(topic)
        taken: ISubscription = subscriber
        return taken

    def _unsubscribed(self, subscriber: LocalSubscriber) -> Deferred[None]:
        subscription = self._registered.pop(subscriber, None)
        if subscription is None:
            return succeed(None)
        topic = subscriber.topic
        self._forget_subscribers(topic)
        leaving = Deferred.fromCoroutine(self._subscriptions.unsubscribe(subscription, subscriber))
        return leaving.addCallback(lambda _: self._forget_subscribers(topic))

    def _renew(self) -> Deferred[None]:
        return Deferred.fromCoroutine(self._subscriptions.renew())

    # --- what comes in ----------------------------------------------------------------------------------------------

    def _received(self, topic: str, identity: str, message: Message) -> None:
        deliver(self._subscriptions.members(identity, topic), topic, message)

    def changed(self, change: Change) -> None:
        """The subscribers of a topic may be others now."""
        self._forget_subscribers(change.service.name)
        self._forget_subscribers(change.service.name.removeprefix("topic:"))
        for node in change.service.nodes:
            self._forget_subscribers(node.metadata.get("topic", ""))

    def invalidated(self, name: str) -> None:
        """Any subscriber that is registered under ``name`` may have come or gone."""
        self._fresh.changed()
        for topic in list(self._known):
            if any(wire.service_name(dialect, topic) == name for dialect in wire.Dialect):
                del self._known[topic]

    def _forget_subscribers(self, topic: str) -> None:
        self._fresh.changed()
        self._known.pop(topic, None)


def name_problem(what: str, name: str) -> TopicInvalid | None:
    """Why no registry can hold ``name`` as a topic (or queue), or None."""
    shown = ascii(name if len(name) <= 80 else name[:80] + "...")
    if not name:
        return TopicInvalid(f"{what}: must not be empty")
    if len(name) > MAX_NAME:
        return TopicInvalid(f"{what} {shown}: {len(name)} characters, at most {MAX_NAME} are allowed")
    if not name.isprintable() or name != name.strip() or name in (".", ".."):
        return TopicInvalid(f"{what} {shown}: a registry cannot hold it: control characters, space around it, or dots")
    if what == "queue" and name == wire.BROADCAST:
        return TopicInvalid(f"{what} {shown}: this name means no queue")
    return None


def build(options: BackendOptions) -> IBroker:
    """The entry point ``microsidecar.brokers: http``.

    :raises ConfigError: one cannot listen there.
    """
    listen = options.listen or next(iter(options.addresses), "127.0.0.1:0")
    trust = TrustOptions(options.ca_file, options.cert_file, options.key_file)
    agent = Fetcher(options.reactor, max_body=64 * 1024, tls=trust, rules=options.rules)
    bounds = (options.max_body, options.hosts, options.budget, options.queue_timeout)
    broker: IBroker = HttpBroker(options.reactor, options.registry, agent, listen, *bounds)
    return broker
