"""Streams into apps that speak plain HTTP: a WebSocket to ``/<Type>/<Method>``, one message a frame either way."""

from __future__ import annotations

import re
from collections import deque
from typing import Any

from autobahn.twisted.websocket import WebSocketClientFactory, WebSocketClientProtocol
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IPushProducer
from twisted.python.failure import Failure
from txaio import tx
from zope.interface import implementer

from sidecar.errors import CallError, ConnectFailed, ConnectionLost, NotSent, Overloaded, ServiceFault
from sidecar.interfaces import IStream, IStreamListener, IStreamTransport
from sidecar.model import Call, Fault, Node
from sidecar.net.client.connector import connect
from sidecar.wire import faults, headers, plainhttp

#: Seconds to connect, and to be let in.
CONNECT, HANDSHAKE = 2.0, 10.0
#: Bytes that may wait for an app that does not read.
UNSENT = 16 * 1024 * 1024

#: What close codes mean, where their reason says nothing (RFC 6455, 7.4.1).
_STATUS = {1003: 415, 1007: 400, 1008: 403, 1009: 413, 1011: 500, 1012: 503, 1013: 503}
_CODED = re.compile(r"([45]\d\d) (.*)", re.S)


@implementer(IStreamTransport)
class AppStreams:
    """Opens them. A handshake that the app refuses is ``NotSent``: the call may go another way."""

    def __init__(self, reactor: Any, max_message: int) -> None:
        """:param max_message: bytes of the largest message from an app."""
        self._reactor = reactor
        self._max_message = max_message

    def open(self, node: Node, call: Call, listener: IStreamListener) -> Deferred[IStream]:
        stream = _AppStream(call, listener)
        url = f"ws://{node.hostport}{plainhttp.asked(node, call).target}"
        lines = headers.of_call(call).decode("latin-1").splitlines()
        named = dict(line.split(": ", 1) for line in lines if ": " in line)
        factory = _Factory(self._reactor, url, named, stream, self._max_message)
        connector = connect(self._reactor, node.address, node.port, factory, CONNECT)
        stream.opened = Deferred(lambda _: stream.give_up(connector))
        return stream.opened


@implementer(IStream)
class _AppStream:
    """One stream. Its end from our side is none of the WebSocket's: the app may have more to say."""

    def __init__(self, call: Call, listener: IStreamListener) -> None:
        self._service = call.service
        self._binary = "json" not in call.content_type
        self._listener: IStreamListener | None = listener
        self.opened: Deferred[IStream] | None = None
        self.socket: _Socket | None = None

    # --- IStream ------------------------------------------------------------------------------------------------------

    def send(self, payload: bytes) -> None:
        socket = self.socket
        if socket is None or self._listener is None:
            return
        if socket.unsent + len(payload) > UNSENT:
            raise Overloaded(f"{self._service}: {socket.unsent} bytes wait for the app to read them")
        socket.pass_on(payload, self._binary)

    def end(self) -> None:
        """Nothing is told: a WebSocket has one end, after which the app could not answer."""

    def pause(self) -> None:
        if self.socket is not None:
            self.socket.transport.pauseProducing()

    def resume(self) -> None:
        if self.socket is not None:
            self.socket.transport.resumeProducing()

    def close(self) -> None:
        self._listener = None
        if self.socket is not None:
            self.resume()
            self.socket.sendClose(1000)

    # --- What the connection tells ------------------------------------------------------------------------------------

    def give_up(self, connector: Any) -> None:
        self._listener = None
        if self.socket is not None:
            self.socket.dropConnection(abort=True)
        else:
            connector.disconnect()

    def let_in(self) -> None:
        opened, self.opened = self.opened, None
        if opened is not None:
            opened.callback(self)

    def message(self, payload: bytes) -> None:
        if self._listener is not None:
            self._listener.message(payload)

    def not_opened(self, error: CallError) -> None:
        opened, self.opened = self.opened, None
        if opened is not None and not opened.called:
            opened.errback(error)

    def over(self, code: int | None, reason: str) -> None:
        listener, self._listener = self._listener, None
        if self.opened is not None:
            self.not_opened(NotSent(f"{self._service}: no WebSocket: {reason or 'the connection was closed'}"))
        elif listener is None:
            pass
        elif code in (1000, 1001, 1005):
            listener.stream_ended()
        elif code in (None, 1006):
            listener.failed(ConnectionLost(f"{self._service}: the app's WebSocket broke: {reason or 'no close'}"))
        else:
            listener.failed(ServiceFault(self._fault(code or 0, reason), enveloped=True))

    def _fault(self, code: int, reason: str) -> Fault:
        """What the app's close code and reason say: go-micro's error, a status and words, or words."""
        if reason.startswith("{") and (said := faults.parse(reason)).code:
            return said
        coded = _CODED.fullmatch(reason)
        if coded is not None:
            return Fault(self._service, int(coded[1]), coded[2], faults.reason(int(coded[1])))
        status = code - 4000 if 4400 <= code <= 4599 else _STATUS.get(code, 500)
        return Fault(self._service, status, reason or f"the app closed with {code}", faults.reason(status))


@implementer(IPushProducer)
class _Socket(WebSocketClientProtocol):
    """The connection. :ivar unsent: bytes of messages that wait for the app to read."""

    factory: _Factory
    transport: Any  # Twisted's interfaces do not tell a TCP transport's abilities
    unsent = 0

    def __init__(self) -> None:
        super().__init__()
        self._slow = False
        self._waiting: deque[tuple[bytes, bool]] = deque()

    def pass_on(self, payload: bytes, binary: bool) -> None:
        if self._slow:
            self._waiting.append((payload, binary))
            self.unsent += len(payload)
        else:
            self.sendMessage(payload, isBinary=binary)

    def pauseProducing(self) -> None:
        self._slow = True

    def resumeProducing(self) -> None:
        self._slow = False
        while self._waiting and not self._slow:
            payload, binary = self._waiting.popleft()
            self.unsent -= len(payload)
            self.sendMessage(payload, isBinary=binary)

    def stopProducing(self) -> None:
        self._waiting.clear()

    def onConnecting(self, transport_details: Any) -> None:
        self.transport.setTcpNoDelay(True)
        self.transport.registerProducer(self, True)
        self.factory.stream.socket = self

    def onOpen(self) -> None:
        self.factory.stream.let_in()

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        self.factory.stream.message(payload)

    def onClose(self, wasClean: bool, code: int | None, reason: str | None) -> None:
        self.factory.stream.over(code, reason or "")


class _Factory(WebSocketClientFactory):
    """Makes one connection."""

    noisy = False
    protocol = _Socket  # type: ignore[assignment]  # Factory wants it to know Factory, it knows us
    log = tx.make_logger(level="critical")

    def __init__(self, reactor: Any, url: str, named: dict[str, str], stream: _AppStream, max_message: int) -> None:
        tx.config.loop = reactor
        super().__init__(url, headers=named, useragent="microsidecar", reactor=reactor)
        if ":" in self.host:
            self.host = f"[{self.host}]"  # Autobahn writes it into the Host header as it stands
        self.stream = stream
        self.setProtocolOptions(
            openHandshakeTimeout=HANDSHAKE,
            closeHandshakeTimeout=2,
            maxFramePayloadSize=max_message,
            maxMessagePayloadSize=max_message,
            autoPingInterval=25,
            autoPingTimeout=25,
        )

    def clientConnectionFailed(self, connector: Any, reason: Failure) -> None:
        self.stream.not_opened(ConnectFailed(f"no connection to the app: {reason.getErrorMessage()}"))
