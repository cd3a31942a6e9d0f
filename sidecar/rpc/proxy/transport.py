"""The connections that forwarded requests use."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from zope.interface import implementer

from sidecar.interfaces import ITransport
from sidecar.model import Node
from sidecar.net.client.pool import Pool
from sidecar.net.client.streamed.connection import StreamingConnection
from sidecar.net.reactor.timerwheel import TimerWheel
from sidecar.rpc.dialects.pooled import Destination, PooledTransport
from sidecar.rpc.proxy.exchange import ForwardExchange


@implementer(ITransport)
class ForwardTransport(PooledTransport[Destination]):
    """Forwards requests over pooled connections.

    :ivar open: those that are under way. :ivar wheel: wakes those on which nothing moves.
    """

    connection = StreamingConnection

    def __init__(self, reactor: Any, idle_timeout: float, *settings: Any, **named: Any) -> None:
        """:param idle_timeout: seconds between two pieces of an answer.

        As for :class:`~sidecar.rpc.dialects.pooled.PooledTransport` otherwise; there is no largest answer."""
        super().__init__(reactor, 0, *settings, **named)
        self.idle_timeout = idle_timeout
        self.wheel = TimerWheel(reactor)
        self.open: set[ForwardExchange] = set()

    def exchange(self, node: Node, call: Any, timeout: float, listener: Any) -> ForwardExchange:
        """:param call: a ``ForwardedRequest``. :param listener: a ``ForwardListener``."""
        destination = self._destinations.get((node.address, node.port, self._tls.name(node)))
        if destination is None:
            destination = self._meet(node)
        return ForwardExchange(destination, listener, call, node, self)

    def stopService(self) -> Deferred[None]:
        for each in list(self.open):
            each.stop()
        self.wheel.stop()
        return super().stopService()

    def _make(self, host: bytes, pool: Pool, address: tuple[str, int]) -> Destination:
        return Destination(host, pool, self._reactor.seconds, self._times, address)
