"""The seams, as zope interfaces. Seconds are floats. Every Deferred can be cancelled."""

# zope's interfaces take neither self nor bodies; mypy-zope reads them so.
# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

from collections.abc import Callable, Iterator

from twisted.internet.defer import Deferred
from zope.interface import Interface

from sidecar.model import UNSAID, BackendState, Call, Caller, CallPolicy, Cause, Change, Message, Node, Reply, Service


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


class ITransport(Interface):
    """One attempt at one node, in the dialect that the node speaks."""

    def send(node: Node, call: Call, timeout: float) -> Deferred[Reply]:
        """:param timeout: seconds from now, connecting included.
        :raises CallError: one of its kinds, which tells whether the request can have run."""


class ISelector(Interface):
    """Which node next."""

    def choose(name: str) -> Iterator[Node] | Deferred[Iterator[Node]]:
        """The nodes of ``name`` in the order to try them; at once where the nodes are cached.

        :raises NotFound: no such service. :raises NoNodes: it has none."""

    def mark(node: Node, error: Exception | None) -> None:
        """Tell how an attempt at ``node`` ended."""


class IClient(Interface):
    """Calls services: chooses, attempts, retries."""

    def call(call: Call, policy: CallPolicy) -> Deferred[Reply]:
        """:raises NotFound: no such service. :raises CallError: one of its kinds, with the attempts."""


class IAppHealth(Interface):
    """What the healthchecker knows of the app."""

    def healthy() -> bool | None:
        """True or False by the last checks, None where the app is not checked (or not yet)."""

    def status() -> int | None:
        """The HTTP status that the app answered to the last check, None where it answered nothing."""

    def explain() -> str:
        """The last finding in words, for /health and /stats."""
