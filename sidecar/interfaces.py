"""The seams, as zope interfaces. Seconds are floats. Every Deferred can be cancelled."""

# zope's interfaces take neither self nor bodies; mypy-zope reads them so.
# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from twisted.internet.defer import Deferred
from zope.interface import Attribute, Interface

from sidecar.errors import SidecarError
from sidecar.model import (
    UNSAID,
    Attempt,
    BackendState,
    Call,
    Caller,
    CallPolicy,
    Cause,
    Change,
    Message,
    Node,
    Outcome,
    PublishOptions,
    Reply,
    Service,
    SubscribeOptions,
)


class IWatcher(Interface):
    """Whoever is told of changes. Neither method is ever called inside the call that caused the change, and what one
    raises is logged and keeps nobody else from hearing."""

    def changed(change: Change) -> None:
        """Nodes of a service came, altered or went."""

    def invalidated(name: str) -> None:
        """Forget what you know of the service ``name`` and ask again: it may have changed, and nobody can say how."""


class IWatch(Interface):
    """A standing interest in changes."""

    def cancel() -> None:
        """Be told no more. Doing it twice is no error."""


class IRegistry(Interface):
    """Where services are found. Backends are also ``twisted.application.service.IService``."""

    def register(service: Service, ttl: float | None, caller: Caller, cause: Cause = UNSAID) -> Deferred[None]:
        """Register every node of ``service``; again renews.

        :param ttl: seconds until the nodes expire unless renewed, or None for ever.
        :param caller: who asks for it. :param cause: why, for those who watch.
        :returns: fires with None when the engine took it.
        :raises EngineUnavailable: it did not; nothing is kept of a first registration.
        """

    def deregister(service: Service, caller: Caller, cause: Cause = UNSAID) -> Deferred[None]:
        """Take the nodes of ``service`` (known by name and node id) out. Unknown ones are no error.

        :param caller: who asks for it. :param cause: why, for those who watch: a check that failed, a drain.
        :raises EngineUnavailable: they are still there.
        """

    def get(name: str) -> Deferred[tuple[Service, ...]]:
        """:returns: fires with one Service a version. :raises NotFound: there is none of that name."""

    def list() -> Deferred[tuple[str, ...]]:
        """:returns: fires with the names of all services, sorted."""

    def watch(watcher: IWatcher) -> IWatch:
        """Tell ``watcher`` of each change of any service that this registry follows: all of them where the engine tells
        of all, and at least each one that was ever asked for by ``get`` (found or not).

        Where the engine cannot say what changed, ``watcher`` is told which name to forget.
        """

    def state() -> BackendState:
        """How it stands with its engine, now."""


class ISubscription(Interface):
    """A place among the subscribers of a topic."""

    def cancel() -> Deferred[None]:
        """Leave. ``deliver`` is not called again. Doing it twice is no error."""


class IBroker(Interface):
    """Where messages pass. Backends are also ``twisted.application.service.IService``."""

    def publish(topic: str, message: Message, caller: Caller) -> Deferred[None]:
        """:param caller: who publishes.
        :returns: fires when the message was handed over. :raises EngineUnavailable: it was not.
        :raises TopicInvalid: this broker cannot carry the topic."""

    def subscribe(
        topic: str, deliver: Callable[[str, Message], None], queue: str | None, caller: Caller
    ) -> Deferred[ISubscription]:
        """Have ``deliver(topic, message)`` called for each message, or, with ``queue``, for this member's share.

        ``deliver`` is never called inside ``publish`` or ``subscribe``; what it raises is logged and hurts nobody else.

        :param caller: for whom the messages are.
        """

    def state() -> BackendState:
        """How it stands with its engine, now."""


class IDelivery(Interface):
    """A message that is still the broker's until somebody says that it was taken."""

    topic: str = Attribute("What it was published to.")
    message: Message = Attribute("The message.")
    redelivered: bool = Attribute("Whether it was delivered before, to whomever, and not acknowledged.")

    def ack() -> None:
        """It was taken: the broker may forget it. After the broker gave it to somebody else this does nothing."""

    def requeue() -> None:
        """It was not taken: it is delivered again, to whoever is there."""


class IDurableBroker(IBroker):
    """A broker that does more than pass messages on. One that cannot is an :class:`IBroker` alone."""

    abilities: frozenset[str] = Attribute(
        "Which of ``durable``, ``ack``, ``mandatory`` and ``events`` it has; ``ack`` may hold for events alone."
    )

    def consume(
        topic: str, take: Callable[[IDelivery], None], options: SubscribeOptions, caller: Caller
    ) -> Deferred[ISubscription]:
        """Have ``take(delivery)`` called for each message, as ``options`` say.

        The broker bounds how many deliveries wait to be acknowledged. Those that wait when the subscription is
        cancelled are given back. ``take`` is never called inside this.

        :raises EngineUnavailable: the engine cannot be reached. :raises TopicInvalid: it cannot carry a name, or has
            something else under it. :raises BadRequest: these options do not go together here.
        """

    def publish_with(topic: str, message: Message, options: PublishOptions, caller: Caller) -> Deferred[None]:
        """As ``publish``. :raises NoSubscriber: nobody is subscribed, and somebody had to be."""


class IExchangeListener(Interface):
    """Who is told how an attempt ended: once, unless the attempt was cancelled."""

    def attempt_waits(patience: float) -> None:
        """There was no connection at hand; told while the exchange is started, if at all.

        :param patience: seconds after which the node is slower than it ever was, so that another one is better tried;
            ``state`` of the exchange tells whether it waits still.
        """

    def attempt_replied(reply: Reply) -> None:
        """The service answered well."""

    def attempt_failed(error: SidecarError) -> None:
        """It did not: a ``CallError``, whose kind tells whether the request can have run; or another kind, where the
        call itself is wrong."""


class IExchange(Interface):
    """One attempt at one node."""

    state: str = Attribute("What it waits for now, in words: ``no connection`` or ``no answer``.")

    def start() -> None:
        """Begin. The listener may be told before this returns."""

    def cancel() -> None:
        """End it and whatever it holds. The listener is told nothing any more."""

    def before_sending(now: float) -> tuple[float, float]:
        """How long the request took to leave, or has been waiting for that.

        :param now: in the transport's seconds.
        :returns: seconds spent queued for a connection that others used, and seconds spent connecting.
        """


class ITransport(Interface):
    """Makes attempts at nodes that speak one dialect. It keeps no time: whoever asks does."""

    def exchange(node: Node, call: Call, timeout: float, listener: IExchangeListener) -> IExchange:
        """Prepare one attempt; nothing is sent before it is started.

        :param timeout: seconds that are left, for the node to know.
        :raises CallerError: the call cannot be written on the wire.
        """


class ISelector(Interface):
    """Which node next.

    Every attempt is told of by ``began`` when it begins, and by ``ended`` when it ends, once each, however it ends.
    """

    def first(name: str, version: str | None) -> Node | Deferred[Node]:
        """The node to try first; at once where the nodes are cached.

        :param version: the only one whose nodes may be chosen, None for any.
        :raises NotFound: no such service, or no node of that version. :raises NoNodes: the service has no node.
        :raises UnknownTransport: it has nodes, and none that we can reach.
        """

    def others(name: str, version: str | None, tried: Node) -> Iterator[Node]:
        """Where to go on after ``tried`` failed: one node for each other address."""

    def find(name: str, address: str, version: str | None) -> Node | Deferred[Node | None] | None:
        """The node of service ``name`` whose ``host:port`` is ``address``, None where it has none there.

        :raises NotFound: no such service, or no node of that version.
        """

    def takes_calls(node: Node) -> bool:
        """Whether ``node`` is believed to be well: it is not ejected."""

    def began(node: Node) -> None:
        """An attempt at ``node`` begins."""

    def ended(node: Node, outcome: Outcome) -> None:
        """An attempt at ``node`` that began is over."""


class IFailureObserver(Interface):
    """Is told of calls that failed, and of attempts that did. One that went well costs it nothing."""

    def attempt_failed(call: Call, attempt: Attempt) -> None:
        """An attempt is over, and was not answered well."""

    def call_failed(
        call: Call, caller: Caller, policy: CallPolicy, outcome: Outcome, error: BaseException, seconds: float
    ) -> None:
        """A call is over, and its caller is told ``error``. :param seconds: that it took."""


class ICallObserver(Interface):
    """Is told of every call that the client makes: counters, receipts, tracing. One that comes while calls are under
    way hears of the ends of calls whose beginnings it did not hear.

    The ``call`` of the three is the same object. What is raised here would hurt calls: raise nothing.
    """

    detailed: bool = Attribute(
        "Whether it is told of beginnings and of attempts that were answered, too, which costs each call something; "
        "attempts that failed, and ends, are always told."
    )

    def began(call: Call, caller: Caller, policy: CallPolicy) -> None:
        """A call begins."""

    def attempted(call: Call, attempt: Attempt) -> None:
        """An attempt is over."""

    def ended(call: Call, outcome: Outcome, error: BaseException | None, seconds: float, reply: Reply | None) -> None:
        """The call is over.

        :param seconds: that it took. :param reply: what it was answered, where it was answered well.
        :param error: what its caller is told; None where it was answered well, or the caller left.
        """


class IPendingCall(Interface):
    """A call under way."""

    def cancel() -> None:
        """The caller has left: end it. Nobody is told any more. Doing it late or twice is no error."""


class IClient(Interface):
    """Calls services: chooses a node, tries it, tries others."""

    def start(
        call: Call,
        policy: CallPolicy,
        caller: Caller,
        done: Callable[[Any, Reply | None, BaseException | None], None],
        context: Any,
        observer: ICallObserver | None = None,
        pending: Any = None,
    ) -> IPendingCall:
        """Make a call.

        ``done(context, reply, error)`` is called once with one of the two, maybe before this returns; never after the
        call was cancelled. An error is ``NotFound``, a ``CallError`` with its attempts, or what is wrong with the call.

        :param caller: who asks. :param observer: is told of this call alone.
        :param pending: the class that drives it, None for the usual one.
        """


class IStreamListener(Interface):
    """Who opened a stream. One of ``stream_ended`` and ``failed`` comes, once, last."""

    def message(payload: bytes) -> None:
        """The node said this."""

    def stream_ended() -> None:
        """The node ended the stream well."""

    def failed(error: SidecarError) -> None:
        """The stream broke, or the node ended it with an error."""


class IStream(Interface):
    """A stream that is open. Calling it after its end is no error and does nothing."""

    def send(payload: bytes) -> None:
        """Send one message. :raises Overloaded: too much waits for the node to read it."""

    def end() -> None:
        """Say that no more messages come from us. The node may go on; the stream is over when it ends."""

    def pause() -> None:
        """Ask the node to wait: whoever listens cannot take more."""

    def resume() -> None:
        """Let the node go on."""

    def close() -> None:
        """Leave. The listener hears nothing further."""


class IStreamTransport(Interface):
    """Opens streams to nodes that speak one dialect."""

    def open(node: Node, call: Call, listener: IStreamListener) -> Deferred[IStream]:
        """:returns: fires when the stream is open; cancelling it gives that up.
        :raises CallError: it could not be opened; nothing can have run where it is ``ConnectFailed`` or ``NotSent``.
        """


class IAppHealth(Interface):
    """What the healthchecker knows of the app."""

    def healthy() -> bool | None:
        """True or False by the last checks, False before there were enough; None where the app is not checked."""

    def status() -> int | None:
        """The HTTP status that the app answered to the last check, None where it answered nothing."""

    def explain() -> str:
        """The last finding in words, for /health and /stats."""

    def warnings() -> tuple[str, ...]:
        """What is wrong with its registration, a sentence each; it changes nothing about its health."""
