"""The serving side of HTTP/2 without TLS, for unary exchanges, and the switch that tells it from HTTP/1.1.

A v2 go-micro client speaks gRPC to every node, whatever the registry says of it; so the port that answers go-micro
calls for an app has to hear both.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.exceptions
import h2.settings
from attrs import define, field, frozen
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IProtocol
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure

from sidecar.net.http2.stream import Headers

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

#: Streams that one peer may have open at once, and the answer bytes that may wait for its window.
MAX_STREAMS = 256


@frozen
class Http2Answer:
    """:ivar body: "" for a trailers-only answer, whose status then stands in ``trailers`` alone."""

    headers: Headers
    body: bytes
    trailers: Headers


#: Seconds without a byte after which a request that has not ended is asked about: without any body yet, and with some.
UNBEGUN, UNENDED = 1.0, 0.25

#: Told of a request that has not ended, the headers, the body so far and whether no more came for a while: an answer
#: where it is never to be served, however it goes on.
Refuse = Callable[[dict[str, str], "bytes | bytearray", bool], "Http2Answer | None"]

#: Serves one request: headers in lower case, body; the Deferred is cancelled when the peer resets the stream.
Serve = Callable[[dict[str, str], bytes], "Deferred[Http2Answer]"]


@define(eq=False)
class _Exchange:
    headers: dict[str, str]
    body: bytearray = field(factory=bytearray)
    serving: Deferred[Any] | None = None
    waiting: IDelayedCall | None = None
    unsent: bytes = b""
    trailers: Headers = ()


class Http2ServerConnection(Protocol):
    """One peer's connection: many exchanges, each answered when it is ready."""

    log = Logger()
    transport: Any

    def __init__(self, clock: Any, serve: Serve, max_body: int, idle: float, refuse: Refuse | None = None) -> None:
        """:param max_body: bytes of the largest request. :param idle: seconds without an exchange, then GOAWAY.
        :param refuse: asked about requests that have not ended, None where all are waited for."""
        self._clock = clock
        self._serve = serve
        self._max_body = max_body
        self._idle = idle
        self._refuse = refuse
        self._timer: IDelayedCall | None = None
        self._exchanges: dict[int, _Exchange] = {}
        self._h2 = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False, header_encoding="latin-1"))

    # --- Twisted's side ---------------------------------------------------------------------------------------------

    def connectionMade(self) -> None:
        self._h2.local_settings = h2.settings.Settings(
            client=False,
            initial_values={
                h2.settings.SettingCodes.MAX_CONCURRENT_STREAMS: MAX_STREAMS,
                h2.settings.SettingCodes.MAX_HEADER_LIST_SIZE: 64 * 1024,
                h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: 1024 * 1024,
            },
        )
        self._h2.initiate_connection()
        self._flush()
        self._timer = self._clock.callLater(self._idle, self._look)

    def dataReceived(self, data: bytes) -> None:
        try:
            events = self._h2.receive_data(data)
        except h2.exceptions.ProtocolError:
            self._flush()
            self.transport.loseConnection()
            return
        for event in events:
            self._happened(event)
        if self._refuse is not None:
            for id, exchange in list(self._exchanges.items()):
                if exchange.serving is None and exchange.body:
                    self._judge(id, exchange, False)
        self._flush()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        exchanges, self._exchanges = self._exchanges, {}
        for exchange in exchanges.values():
            self._stop_waiting(exchange)
            if exchange.serving is not None:
                exchange.serving.cancel()

    def close(self) -> None:
        """Take nothing new; what is under way is still answered."""
        self._h2.close_connection()
        self._flush()
        if not self._exchanges:
            self.transport.loseConnection()

    def _look(self) -> None:
        self._timer = self._clock.callLater(self._idle, self._look)
        if not self._exchanges:
            self.close()

    # --- What the peer says -----------------------------------------------------------------------------------------

    def _happened(self, event: h2.events.Event) -> None:
        if isinstance(event, h2.events.RequestReceived):
            headers = {str(name): str(value) for name, value in event.headers}
            begun = self._exchanges[event.stream_id] = _Exchange(headers)
            self._wait(event.stream_id, begun, UNBEGUN)
        elif isinstance(event, h2.events.DataReceived):
            self._h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            exchange = self._exchanges.get(event.stream_id)
            if exchange is not None:
                exchange.body += event.data
                self._wait(event.stream_id, exchange, UNENDED)
                if len(exchange.body) > self._max_body:
                    self._stop_waiting(self._exchanges.pop(event.stream_id))
                    self._h2.reset_stream(event.stream_id, h2.errors.ErrorCodes.ENHANCE_YOUR_CALM)
        elif isinstance(event, h2.events.StreamEnded):
            self._complete(event.stream_id)
        elif isinstance(event, h2.events.StreamReset):
            exchange = self._exchanges.pop(event.stream_id, None)
            if exchange is not None:
                self._stop_waiting(exchange)
                if exchange.serving is not None:
                    exchange.serving.cancel()
        elif isinstance(event, h2.events.WindowUpdated):
            for id, exchange in list(self._exchanges.items()):
                if exchange.unsent:
                    self._pump(id, exchange)
        elif isinstance(event, h2.events.ConnectionTerminated) and not self._exchanges:
            self.transport.loseConnection()

    def _complete(self, id: int) -> None:
        exchange = self._exchanges.get(id)
        if exchange is None:
            return
        self._stop_waiting(exchange)
        exchange.serving = self._serve(exchange.headers, bytes(exchange.body))
        exchange.serving.addCallbacks(self._answer, self._failed, callbackArgs=(id,), errbackArgs=(id,))

    # --- Requests that do not end ------------------------------------------------------------------------------------

    def _wait(self, id: int, exchange: _Exchange, seconds: float) -> None:
        if self._refuse is None:
            return
        self._stop_waiting(exchange)
        exchange.waiting = self._clock.callLater(seconds, self._waited, id, exchange)

    def _stop_waiting(self, exchange: _Exchange) -> None:
        if exchange.waiting is not None and exchange.waiting.active():
            exchange.waiting.cancel()
        exchange.waiting = None

    def _waited(self, id: int, exchange: _Exchange) -> None:
        self._judge(id, exchange, True)
        self._flush()

    def _judge(self, id: int, exchange: _Exchange, idle: bool) -> None:
        """Answer a request that is never to be served before it ends, and ask its sender to send no more."""
        answer = self._refuse(exchange.headers, exchange.body, idle) if self._refuse is not None else None
        if answer is None or self._exchanges.get(id) is not exchange or exchange.serving is not None:
            return
        self._stop_waiting(exchange)
        del self._exchanges[id]
        try:
            self._h2.send_headers(id, [*answer.headers, *answer.trailers], end_stream=True)
            self._h2.reset_stream(id, h2.errors.ErrorCodes.NO_ERROR)
        except h2.exceptions.ProtocolError:
            pass  # the peer closed the stream meanwhile

    # --- What we say ------------------------------------------------------------------------------------------------

    def _answer(self, answer: Http2Answer, id: int) -> None:
        exchange = self._exchanges.get(id)
        if exchange is None:
            return
        try:
            if answer.body:
                self._h2.send_headers(id, answer.headers)
                exchange.unsent, exchange.trailers = answer.body, answer.trailers
                self._pump(id, exchange)
            else:
                self._h2.send_headers(id, [*answer.headers, *answer.trailers], end_stream=True)
                self._exchanges.pop(id)
        except h2.exceptions.ProtocolError:
            self._exchanges.pop(id, None)  # the peer closed the stream while we worked: nobody is left to hear
        self._flush()

    def _failed(self, failure: Failure, id: int) -> None:
        if self._exchanges.pop(id, None) is not None:
            self.log.failure("an exchange over HTTP/2 was not answered", failure)
            self._h2.reset_stream(id, h2.errors.ErrorCodes.INTERNAL_ERROR)
            self._flush()

    def _pump(self, id: int, exchange: _Exchange) -> None:
        while exchange.unsent:
            window = min(self._h2.local_flow_control_window(id), self._h2.max_outbound_frame_size)
            if window <= 0:
                return
            self._h2.send_data(id, exchange.unsent[:window])
            exchange.unsent = exchange.unsent[window:]
        self._h2.send_headers(id, exchange.trailers, end_stream=True)
        self._exchanges.pop(id, None)

    def _flush(self) -> None:
        data = self._h2.data_to_send()
        if data and self.transport is not None:
            self.transport.write(data)


class Switch(Protocol):
    """Reads the first bytes of a connection and hands it to whom they are meant for."""

    transport: Any

    def __init__(self, choose: Callable[[bool], IProtocol | None]) -> None:
        """:param choose: given whether the peer speaks HTTP/2, the protocol that serves it; None refuses."""
        self._choose = choose
        self._head = b""
        self._chosen: IProtocol | None = None

    def dataReceived(self, data: bytes) -> None:
        if self._chosen is not None:
            self._chosen.dataReceived(data)
            return
        self._head += data
        if len(self._head) < len(PREFACE) and PREFACE.startswith(self._head):
            return
        self._chosen = self._choose(self._head.startswith(PREFACE))
        if self._chosen is None:
            self.transport.loseConnection()
            return
        self._chosen.makeConnection(self.transport)
        head, self._head = self._head, b""
        self._chosen.dataReceived(head)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self._chosen is not None:
            self._chosen.connectionLost(reason)


class SwitchFactory(Factory):
    """Serves HTTP/1.1 and HTTP/2 on one port. :ivar connections: those that speak HTTP/2, for the drain."""

    noisy = False

    def __init__(self, http1: Factory, http2: Callable[[], Http2ServerConnection]) -> None:
        self._http1 = http1
        self._http2 = http2

    def doStart(self) -> None:
        super().doStart()
        self._http1.doStart()

    def doStop(self) -> None:
        self._http1.doStop()
        super().doStop()

    def buildProtocol(self, addr: Any) -> Switch:
        return Switch(lambda http2: self._http2() if http2 else self._http1.buildProtocol(addr))
