"""A gRPC server of a few lines over h2, which behaves well or badly as its ``manners`` say."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import h2.config
import h2.connection
import h2.events
import h2.settings
from attrs import define, field
from twisted.internet import protocol
from twisted.python.failure import Failure

from sidecar.wire import grpc


@define(eq=False)
class Exchange:
    """One call as the server sees it. ``answer``, ``refuse`` and ``message`` speak back."""

    server: GrpcServer
    id: int
    headers: dict[str, str]
    messages: list[bytes] = field(factory=list)
    half_closed: bool = False
    trailers: list[tuple[str, str]] | None = None
    deframer: grpc.Deframer = field(factory=lambda: grpc.Deframer(1 << 30))

    @property
    def method(self) -> str:
        return self.headers[":path"].rpartition("/")[2]

    def message(self, body: bytes) -> None:
        """Send one message of the answer."""
        self.server.begin(self)
        self.server.data(self, grpc.frame(body))

    def answer(self, body: bytes) -> None:
        self.message(body)
        self.finish()

    def finish(self, *trailers: tuple[str, str]) -> None:
        """End the stream, well unless ``trailers`` say otherwise."""
        self.server.begin(self)
        self.trailers = list(trailers) or [("grpc-status", "0")]
        self.server.data(self, b"")

    def refuse(self, *trailers: tuple[str, str]) -> None:
        """A trailers-only answer."""
        self.server.h2.send_headers(
            self.id, [(":status", "200"), ("content-type", "application/grpc+json"), *trailers], end_stream=True
        )
        self.server.flush()


class GrpcServer(protocol.Protocol):
    """One connection of the double."""

    transport: Any

    def __init__(self, factory: GrpcDouble) -> None:
        self.factory: Any = factory
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False, header_encoding="utf-8"))
        self.exchanges: dict[int, Exchange] = {}
        self.begun: set[int] = set()
        self.blocked: dict[int, bytes] = {}
        self.pings = 0

    def connectionMade(self) -> None:
        self.factory.connections.append(self)
        self.factory.opened += 1
        if self.factory.max_streams:
            self.h2.local_settings = h2.settings.Settings(
                client=False,
                initial_values={h2.settings.SettingCodes.MAX_CONCURRENT_STREAMS: self.factory.max_streams},
            )
        self.h2.initiate_connection()
        self.flush()

    def connectionLost(self, reason: Failure = protocol.connectionDone) -> None:
        self.factory.connections.remove(self)

    def dataReceived(self, data: bytes) -> None:
        if self.factory.deaf:
            return
        for event in self.h2.receive_data(data):
            if isinstance(event, h2.events.RequestReceived):
                headers = {str(k): str(v) for k, v in event.headers}
                self.exchanges[event.stream_id] = Exchange(self, event.stream_id, headers)
            elif isinstance(event, h2.events.DataReceived):
                self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                exchange = self.exchanges[event.stream_id]
                for message in exchange.deframer.feed(event.data):
                    exchange.messages.append(message)
                    self.factory.on_message(exchange, message)
            elif isinstance(event, h2.events.StreamEnded):
                self.exchanges[event.stream_id].half_closed = True
                self.factory.on_call(self.exchanges[event.stream_id])
            elif isinstance(event, h2.events.StreamReset):
                self.factory.resets.append(event.stream_id)
                self.blocked.pop(event.stream_id, None)
            elif isinstance(event, h2.events.PingReceived):
                self.pings += 1
            elif isinstance(event, h2.events.WindowUpdated):
                for id in list(self.blocked):
                    self.data(self.exchanges[id], b"")
        self.flush()

    def begin(self, exchange: Exchange) -> None:
        if exchange.id not in self.begun:
            self.begun.add(exchange.id)
            self.h2.send_headers(exchange.id, [(":status", "200"), ("content-type", "application/grpc+json")])

    def data(self, exchange: Exchange, data: bytes) -> None:
        data = self.blocked.pop(exchange.id, b"") + data
        while data:
            window = min(self.h2.local_flow_control_window(exchange.id), self.h2.max_outbound_frame_size)
            if window <= 0:
                self.blocked[exchange.id] = data
                break
            self.h2.send_data(exchange.id, data[:window])
            data = data[window:]
        if exchange.trailers is not None and exchange.id not in self.blocked:
            self.h2.send_headers(exchange.id, exchange.trailers, end_stream=True)
            exchange.trailers = None
        self.flush()

    def goaway(self, last: int) -> None:
        self.h2.close_connection(last_stream_id=last)
        self.flush()

    def flush(self) -> None:
        self.transport.write(self.h2.data_to_send())


def _ignore(exchange: Exchange, message: bytes = b"") -> None:
    """The double's default: hear it, say nothing."""


class GrpcDouble(protocol.Factory):
    """The listening side.

    :ivar on_call: called when a client ended its side; answers. :ivar on_message: called for each message.
    :ivar deaf: read nothing, as a hung process would.
    """

    noisy = False

    def __init__(self) -> None:
        self.connections: list[GrpcServer] = []
        self.opened = 0
        self.resets: list[int] = []
        self.max_streams = 0
        self.deaf = False
        self.on_call: Callable[[Exchange], None] = _ignore
        self.on_message: Callable[[Exchange, bytes], None] = _ignore

    def buildProtocol(self, addr: Any) -> GrpcServer:
        return GrpcServer(self)
