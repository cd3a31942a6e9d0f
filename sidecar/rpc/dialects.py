"""One attempt at one node, in whatever dialect the node speaks.

A transport of the house offers :class:`ILeanTransport`: no Deferred, no closure. One that offers
the plain :class:`~sidecar.interfaces.ITransport` is driven through an adapter, so that a new dialect needs nothing more
than ``send``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from twisted.application import service
from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure

from sidecar.errors import BadAnswer, SidecarError
from sidecar.interfaces import ITransport
from sidecar.model import Call, Node, Reply


class Listener(Protocol):
    """Who is told how an attempt ended: once, unless it cancelled it."""

    def attempt_replied(self, reply: Reply) -> None:
        """The service answered."""

    def attempt_failed(self, error: SidecarError) -> None:
        """It did not, or answered an error (a ``CallError``), or the call itself is wrong (another kind)."""


class Exchange(Protocol):
    """One attempt. :ivar state: what it waits for, in words."""

    @property
    def state(self) -> str: ...

    def start(self) -> None:
        """Begin. The listener may be told before this returns."""

    def cancel(self) -> None:
        """End it, its connection with it. The listener is told nothing."""


class ILeanTransport(Protocol):
    """Makes exchanges."""

    def exchange(self, node: Node, call: Call, timeout: float, listener: Listener) -> Exchange:
        """:param timeout: seconds that are left, for the node to know: the listener keeps the time itself.
        :raises BadRequest: the call cannot be written on the wire."""


class Transports(service.MultiService):
    """Picks the transport by the node's ``protocol`` metadata, ``mucp`` where it says nothing that we know."""

    def __init__(self, mucp: ILeanTransport, others: Mapping[str, ITransport] | None = None) -> None:
        """:param others: by what ``protocol`` says, such as ``grpc`` and ``http``."""
        super().__init__()
        self._mucp = mucp
        self._others: dict[str, ILeanTransport] = {name: Adapted(each) for name, each in (others or {}).items()}
        for each in (mucp, *(others or {}).values()):
            if isinstance(each, service.Service):
                each.setServiceParent(self)

    def exchange(self, node: Node, call: Call, timeout: float, listener: Listener) -> Exchange:
        protocol = node.metadata.get("protocol")
        if protocol is None:
            return self._mucp.exchange(node, call, timeout, listener)
        return self._others.get(protocol, self._mucp).exchange(node, call, timeout, listener)


class Adapted:
    """An :class:`~sidecar.interfaces.ITransport` in the lean shape."""

    def __init__(self, transport: ITransport) -> None:
        self._transport = transport

    def exchange(self, node: Node, call: Call, timeout: float, listener: Listener) -> Exchange:
        return _Sending(self._transport, node, call, timeout, listener)


class _Sending:
    state = "no answer"

    def __init__(self, transport: ITransport, node: Node, call: Call, timeout: float, listener: Listener) -> None:
        self._begin = (transport, node, call, timeout)
        self._listener: Listener | None = listener
        self._sent: Deferred[Any] | None = None

    def start(self) -> None:
        transport, node, call, timeout = self._begin
        self._sent = transport.send(node, call, timeout)
        self._sent.addCallbacks(self._replied, self._failed)

    def cancel(self) -> None:
        self._listener = None
        if self._sent is not None:
            self._sent.cancel()

    def _replied(self, reply: Reply) -> None:
        listener, self._listener = self._listener, None
        if listener is not None:
            listener.attempt_replied(reply)

    def _failed(self, failure: Failure) -> None:
        listener, self._listener = self._listener, None
        if listener is None:
            failure.trap(CancelledError, SidecarError)
            return
        error = failure.value
        if not isinstance(error, SidecarError):
            error = BadAnswer(str(error) or type(error).__name__)
        listener.attempt_failed(error)
