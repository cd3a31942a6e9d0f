"""One exchange on an HTTP/2 connection, as its owner sees it: send data, receive headers, data and trailers."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any, Protocol

import h2.errors
from attrs import define, field, frozen

from sidecar.net.errors import NetError, QueueFull

Headers = Sequence[tuple[str, str]]


@frozen
class Http2Limits:
    """:ivar idle: seconds without a stream after which a connection closes itself. :ivar ping: seconds between
    keep-alive pings while streams are open. :ivar ping_patience: seconds to wait for the answer to one.
    :ivar waiting: streams that may wait for the peer's limit on concurrent ones. :ivar unsent: bytes of a stream's
    data that may wait for the peer's window."""

    idle: float = 60.0
    ping: float = 20.0
    ping_patience: float = 10.0
    waiting: int = 1024
    unsent: int = 16 * 1024 * 1024


class StreamReceiver(Protocol):
    """What a stream tells its owner. Exactly one of ``ended`` and ``failed`` comes, last."""

    def headers_received(self, headers: list[tuple[str, str]]) -> None: ...

    def data_received(self, data: bytes) -> None: ...

    def trailers_received(self, headers: list[tuple[str, str]]) -> None: ...

    def ended(self) -> None: ...

    def failed(self, error: NetError) -> None: ...


class StreamConnection(Protocol):
    """What a stream is on. :ivar peer: ``host:port``, for messages."""

    limits: Http2Limits
    peer: str

    def pump(self, stream: Stream) -> None: ...

    def acknowledge(self, stream: Stream) -> None: ...

    def cancel(self, stream: Stream) -> None: ...


@define(eq=False)
class Stream:
    """One exchange. Made by :meth:`sidecar.net.http2.client.Http2Connection.open`."""

    connection: StreamConnection
    receiver: StreamReceiver
    headers: Headers
    id: int = 0
    answered: bool = False
    over: bool = False
    unsent: deque[bytes] = field(factory=deque)
    unsent_bytes: int = 0
    ending: bool = False
    half_closed: bool = False
    paused: bool = False
    unacknowledged: int = 0

    def send(self, data: bytes, end: bool = False) -> None:
        """Send ``data`` as the peer's window allows. :param end: nothing follows.
        :raises QueueFull: more than ``Http2Limits.unsent`` bytes wait for the peer already."""
        if self.over:
            return
        if self.unsent_bytes + len(data) > self.connection.limits.unsent:
            raise QueueFull(f"{self.unsent_bytes} bytes wait for {self.connection.peer} to read them")
        if data:
            self.unsent.append(data)
            self.unsent_bytes += len(data)
        self.ending = self.ending or end
        self.connection.pump(self)

    def pause(self) -> None:
        """Let the peer's window run out, so that it has to wait."""
        self.paused = True

    def resume(self) -> None:
        """Open the peer's window again."""
        self.paused = False
        if self.unacknowledged and not self.over:
            self.connection.acknowledge(self)

    def cancel(self) -> None:
        """Tell the peer that nobody listens any more. The receiver hears nothing further."""
        self.connection.cancel(self)


def texts(headers: Any) -> list[tuple[str, str]]:
    """Headers as h2 gives them, which is as it likes."""
    return [
        (name.decode("latin-1") if isinstance(name, bytes) else name,
         value.decode("latin-1") if isinstance(value, bytes) else value)
        for name, value in headers
    ]  # fmt: skip


def code_name(code: h2.errors.ErrorCodes | int | None) -> str:
    """What an error code is called, or its number."""
    return code.name if isinstance(code, h2.errors.ErrorCodes) else str(code)
