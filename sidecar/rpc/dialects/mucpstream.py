"""Streams to nodes that speak go-micro's own protocol: whole HTTP messages either way on a connection of their own."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import count
from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IConnector, IDelayedCall
from twisted.internet.protocol import ClientFactory
from twisted.python.failure import Failure
from zope.interface import implementer

from sidecar.errors import CallError, ConnectFailed, ServiceFault
from sidecar.interfaces import IStream, IStreamListener, IStreamTransport
from sidecar.model import Call, Node
from sidecar.net.client.connector import connect
from sidecar.net.client.duplex import DuplexConnection, RawResponse
from sidecar.net.errors import NetError
from sidecar.net.memory import MemoryBudget
from sidecar.rpc.dialects.connecterror import call_error, why_not
from sidecar.rpc.dialects.nodetls import NodeTls
from sidecar.wire.mucp import streams

#: Seconds to connect to one node.
CONNECT = 2.0


@implementer(IStreamTransport)
class MucpStreams:
    """Opens streams in go-micro's own protocol."""

    def __init__(
        self,
        reactor: Any,
        max_body: int,
        prefix: str,
        patience: float = 5.0,
        connect: Callable[..., IConnector] = connect,
        tls: NodeTls | None = None,
        budget: MemoryBudget | None = None,
    ) -> None:
        """:param max_body: bytes of the largest message from a node.
        :param prefix: makes our stream ids unlike those of any other process.
        :param patience: seconds of silence after our end that end the stream: no server of this protocol tells its own
            end then, and all of them still answer.
        :param tls: says which nodes speak TLS; None for those whose metadata says so.
        :param budget: told of what waits for nodes, None for nobody."""
        self._budget = budget
        self._reactor = reactor
        self._connect = connect
        self._tls = tls or NodeTls()
        self._patience = patience
        self._max_body = max_body
        self._ids = (f"{prefix}-{number}" for number in count(1))

    def open(self, node: Node, call: Call, listener: IStreamListener) -> Deferred[IStream]:
        writer = streams.Writer(node.hostport, call, next(self._ids))
        dial = partial(self._tls.connect, self._connect, name=self._tls.name(node))
        stream = _MucpStream(self._reactor, dial, self._patience, writer, listener, self._budget)
        return stream.connect(node, self._max_body)


@implementer(IStream)
@define(eq=False)
class _MucpStream:
    """One stream."""

    _reactor: Any
    _dial: Callable[..., IConnector]
    _patience: float
    _writer: streams.Writer
    _listener: IStreamListener
    _budget: MemoryBudget | None = None
    _connection: DuplexConnection | None = field(default=None, init=False)
    _ended: bool = field(default=False, init=False)
    _silence: IDelayedCall | None = field(default=None, init=False)

    def connect(self, node: Node, max_body: int) -> Deferred[IStream]:
        connection = DuplexConnection(self._received, self._lost, max_body, self._budget)
        connecting = _Connecting(connection, self._connected)
        connecting.connector = self._dial(self._reactor, node.address, node.port, connecting, CONNECT)
        return connecting.connected

    def send(self, payload: bytes) -> None:
        if self._connection is not None and not self._ended:
            try:
                self._connection.send(self._writer.message(payload))
            except NetError as error:
                raise call_error(error) from None

    def end(self) -> None:
        if self._connection is not None and not self._ended:
            self._ended = True
            self._connection.send(self._writer.end())
            self._wait()

    def pause(self) -> None:
        if self._connection is not None:
            self._connection.pause()
            self._stop_waiting()

    def resume(self) -> None:
        if self._connection is not None:
            self._connection.resume()
            self._wait()

    def close(self) -> None:
        if self._connection is not None:
            if not self._ended:
                self._connection.send(self._writer.end())
            self._finish()

    def _connected(self, connection: DuplexConnection) -> IStream:
        self._connection = connection
        connection.send(self._writer.begin())
        return self

    def _wait(self) -> None:
        """After our end: wait for what the node still has to say."""
        self._stop_waiting()
        if self._ended:
            self._silence = self._reactor.callLater(self._patience, self._silent)

    def _stop_waiting(self) -> None:
        silence, self._silence = self._silence, None
        if silence is not None and silence.active():
            silence.cancel()

    def _silent(self) -> None:
        self._finish()
        self._listener.stream_ended()

    def _finish(self) -> None:
        self._stop_waiting()
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _received(self, response: RawResponse) -> None:
        try:
            payload = streams.read(*response)
        except (ServiceFault, CallError) as error:
            self._finish()
            self._listener.failed(error)
            return
        if payload is None:
            self._finish()
            self._listener.stream_ended()
        else:
            self._wait()
            self._listener.message(payload)

    def _lost(self, error: NetError | None) -> None:
        if self._connection is None:
            return
        self._finish()
        if error is None:
            self._listener.stream_ended()
        else:
            self._listener.failed(call_error(error))


class _Connecting(ClientFactory):
    """One try to connect, told by a Deferred whose cancelling gives it up."""

    noisy = False
    connector: IConnector | None = None

    def __init__(self, connection: DuplexConnection, made: Any) -> None:
        self._connection = connection
        self._over = False
        self.connected: Deferred[IStream] = Deferred(self._cancelled)
        connection.made = lambda: self.connected.callback(made(connection))

    def buildProtocol(self, addr: Any) -> DuplexConnection:
        return self._connection

    def clientConnectionFailed(self, connector: Any, reason: Failure) -> None:
        if not self._over:
            self.connected.errback(ConnectFailed(why_not(reason.value or reason)))

    def _cancelled(self, _: Deferred[IStream]) -> None:
        self._over = True
        self._connection.close()
        if self.connector is not None:
            self.connector.disconnect()
