"""Which transport speaks to a node, and the same transports for those in no hurry."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from twisted.application import service
from twisted.internet.defer import Deferred, fail
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from zope.interface import implementer

from sidecar.errors import CallTimeout, SidecarError
from sidecar.interfaces import IExchange, IExchangeListener, ITransport
from sidecar.model import Call, Node, Reply
from sidecar.net.client.pool import PoolOccupancy
from sidecar.rpc.dialects.pooled import PooledTransport

#: What ``protocol`` says of a node that speaks plain HTTP, and ``server`` too of one that go-micro's plugin serves.
_PLAIN_HTTP: Final = "http"


@implementer(ITransport)
class Dialects(service.MultiService):
    """Picks the transport by the node's ``protocol`` metadata, ``mucp`` where it says nothing that we know."""

    def __init__(self, mucp: ITransport, others: Mapping[str, ITransport] | None = None) -> None:
        """:param others: by what ``protocol`` says, such as ``grpc`` and ``http``."""
        super().__init__()
        self._mucp = mucp
        self._others = dict(others or {})
        for each in (mucp, *self._others.values()):
            if isinstance(each, service.Service):
                each.setServiceParent(self)

    @property
    def occupancy(self) -> PoolOccupancy:
        """How the pools of connections stand, of all transports that have one."""
        pooled = [each.occupancy for each in (self._mucp, *self._others.values()) if isinstance(each, PooledTransport)]
        return sum(pooled, PoolOccupancy())

    def exchange(self, node: Node, call: Call, timeout: float, listener: IExchangeListener) -> IExchange:
        protocol = node.metadata.get("protocol")
        if protocol is None:
            if node.metadata.get("server") != _PLAIN_HTTP:
                return self._mucp.exchange(node, call, timeout, listener)
            protocol = _PLAIN_HTTP
        return self._others.get(protocol, self._mucp).exchange(node, call, timeout, listener)


class DeferredTransport:
    """A transport whose attempts are told by Deferreds and have deadlines, for those in no hurry.

    :ivar clock: that the deadlines are kept by.
    """

    def __init__(self, transport: ITransport, clock: IReactorTime) -> None:
        self._transport = transport
        self.clock = clock

    def send(self, node: Node, call: Call, timeout: float) -> Deferred[Reply]:
        """Make one attempt.

        :param timeout: seconds from now, connecting included.
        :returns: fires with the service's answer; cancelling it ends the attempt.
        :raises CallError: one of its kinds, which tells whether the request can have run.
        """
        sending = _Sending()
        try:
            sending.exchange = self._transport.exchange(node, call, timeout, sending)
        except SidecarError as error:
            return fail(error)
        sending.deadline = self.clock.callLater(timeout, sending.expired, timeout)
        sending.exchange.start()
        return sending.reply


@implementer(IExchangeListener)
class _Sending:
    """One attempt that a Deferred tells of."""

    exchange: IExchange
    deadline: IDelayedCall

    def __init__(self) -> None:
        self.reply: Deferred[Reply] = Deferred(self._cancelled)

    def attempt_waits(self, patience: float) -> None:
        """There is nowhere else to go."""

    def attempt_replied(self, reply: Reply) -> None:
        self.deadline.cancel()
        self.reply.callback(reply)

    def attempt_failed(self, error: SidecarError) -> None:
        self.deadline.cancel()
        self.reply.errback(error)

    def expired(self, timeout: float) -> None:
        state = self.exchange.state
        self.exchange.cancel()
        self.reply.errback(CallTimeout(f"{state} in {timeout:.3g} s"))

    def _cancelled(self, _: Deferred[Reply]) -> None:
        self.deadline.cancel()
        self.exchange.cancel()
