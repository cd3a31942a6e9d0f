"""The way to one node that speaks gRPC: one connection, and the calls that wait for it to be made."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from attrs import define, field
from twisted.internet.error import TimeoutError
from twisted.internet.interfaces import IConnector
from twisted.internet.protocol import ClientFactory
from twisted.python.failure import Failure

from sidecar.model import Node
from sidecar.net.errors import NetError, QueueFull, Unavailable
from sidecar.net.http2.client import Http2Connection
from sidecar.net.http2.stream import Headers, Http2Limits, StreamReceiver
from sidecar.rpc.dialects.connecterror import why_not
from sidecar.rpc.dialects.connecttimes import ConnectTimes


@define(eq=False)
class GrpcDestination:
    """The way to one node: its connection, or the calls that wait for one to be made."""

    reactor: Any
    node: Node
    limits: Http2Limits
    forget: Any
    connections: set[Http2Connection]
    times: ConnectTimes
    dial: Callable[..., IConnector]
    began: float = 0.0
    connection: Http2Connection | None = None
    connector: IConnector | None = None
    waiting: list[tuple[Headers, StreamReceiver, Any]] = field(factory=list)

    def open(self, headers: Headers, receiver: StreamReceiver, began: Any) -> None:
        if self.connection is not None and self.connection.usable:
            try:
                began(self.connection.open(headers, receiver))
            except NetError as error:
                receiver.failed(error)
            return
        if len(self.waiting) >= self.limits.waiting:
            receiver.failed(QueueFull(f"{len(self.waiting)} calls wait for a connection to {self.node.hostport}"))
            return
        self.waiting.append((headers, receiver, began))
        if self.connector is None:
            key = (self.node.address, self.node.port)
            self.began = self.reactor.seconds()
            self.connector = self.dial(self.reactor, *key, _Factory(self), self.times.most)

    def connected(self, connection: Http2Connection) -> None:
        self.times.connected((self.node.address, self.node.port), self.reactor.seconds() - self.began)
        self.connector = None
        self.connection = connection
        self.connections.add(connection)
        waiting, self.waiting = self.waiting, []
        for headers, receiver, began in waiting:
            self.open(headers, receiver, began)

    def failed(self, reason: Failure) -> None:
        self.connector = None
        self.forget(self)
        if reason.check(TimeoutError):
            self.times.waited((self.node.address, self.node.port), self.reactor.seconds() - self.began)
        waiting, self.waiting = self.waiting, []
        for _, receiver, _began in waiting:
            receiver.failed(Unavailable(why_not(reason.value or reason)))

    def retired(self, connection: Http2Connection) -> None:
        if self.connection is connection:
            self.connection = None
            if self.connector is None:
                self.forget(self)

    def close(self) -> None:
        if self.connector is not None:
            self.connector.disconnect()


class _Factory(ClientFactory):
    noisy = False

    def __init__(self, destination: GrpcDestination) -> None:
        self._destination = destination

    def buildProtocol(self, addr: Any) -> Http2Connection:
        destination = self._destination
        made = _Announced(
            destination.reactor,
            destination.node.hostport,
            destination.limits,
            destination.retired,
            destination.connections.discard,
        )
        made.announce = destination.connected
        return made

    def clientConnectionFailed(self, connector: IConnector, reason: Failure) -> None:
        self._destination.failed(reason)


class _Announced(Http2Connection):
    """A connection that says when it can be used."""

    announce: Any = None

    def connectionMade(self) -> None:
        super().connectionMade()
        self.announce(self)
