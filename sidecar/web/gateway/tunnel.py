"""A client's connection after 101: bytes pass both ways as they are."""

from __future__ import annotations

from typing import Any

from twisted.internet.interfaces import IPushProducer
from twisted.internet.protocol import Protocol, connectionDone
from twisted.protocols.policies import ProtocolWrapper
from twisted.python.failure import Failure
from zope.interface import implementer

from sidecar.rpc.proxy.request import IForwarded


@implementer(IPushProducer)
class Tunnel(Protocol):
    """The client's end. The node's is the exchange."""

    transport: Any

    def __init__(self, exchange: IForwarded) -> None:
        self._exchange: IForwarded | None = exchange

    def take(self, transport: Any) -> None:
        """Take a connection over from the HTTP channel."""
        if isinstance(transport, ProtocolWrapper):
            transport.wrappedProtocol = self
        else:
            transport.protocol = self
        self.makeConnection(transport)
        transport.registerProducer(self, True)

    def write(self, data: bytes) -> None:
        """Something for the client."""
        self.transport.write(data)

    def close(self) -> None:
        """The node has closed: so do we, after what was written."""
        self._exchange = None
        self.transport.unregisterProducer()
        self.transport.loseConnection()

    def pause(self) -> None:
        """The node is slow."""
        self.transport.pauseProducing()

    def resume(self) -> None:
        """It is not any more."""
        self.transport.resumeProducing()

    def dataReceived(self, data: bytes) -> None:
        if self._exchange is not None:
            self._exchange.write(data, True)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            exchange.close()

    def pauseProducing(self) -> None:
        if self._exchange is not None:
            self._exchange.pause()

    def resumeProducing(self) -> None:
        if self._exchange is not None:
            self._exchange.resume()

    def stopProducing(self) -> None:
        """The client is lost, which is told otherwise."""
