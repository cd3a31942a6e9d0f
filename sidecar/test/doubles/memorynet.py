"""HTTP between parts of this process: servers listen and clients ask without a socket between them, on a Clock."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from http.client import HTTPResponse
from io import BytesIO
from typing import Any
from urllib.parse import urlsplit

from attrs import define, field
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, succeed
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.python.failure import Failure
from twisted.web.http_headers import Headers

from sidecar.net.client.fetcher import Response
from sidecar.net.errors import RequestFailed


@define(eq=False)
class MemoryPort:
    """A port that listens. :ivar factory: makes what serves a connection."""

    network: MemoryNetwork
    number: int
    factory: Any

    def stopListening(self) -> Deferred[None]:
        self.network.ports.pop(self.number, None)
        self.factory.doStop()
        return succeed(None)


class MemoryNetwork(MemoryReactorClock):
    """A reactor in virtual time, whose adopted ports are reached by :class:`MemoryAgent` alone.

    :ivar ports: those that listen, by number.
    """

    def __init__(self) -> None:
        super().__init__()
        self.ports: dict[int, MemoryPort] = {}

    def adoptStreamPort(self, fileDescriptor: int, addressFamily: Any, factory: Any) -> Any:
        with socket.socket(fileno=os.dup(fileDescriptor)) as bound:
            number = bound.getsockname()[1]
        factory.doStart()
        port = self.ports[number] = MemoryPort(self, number, factory)
        return port


class _Transport(StringTransport):
    def loseConnection(self) -> None:
        """The client goes anyway, once it has its answer."""


@define(eq=False)
class MemoryAgent:
    """Asks servers on a :class:`MemoryNetwork`, as :class:`sidecar.net.client.fetcher.Fetcher` asks others: an answer
    comes in a later turn.

    :ivar requests: method and URL of each, in order.
    """

    network: MemoryNetwork
    requests: list[str] = field(factory=list)

    async def request(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
        timeout: float | None = None,
        max_body: int | None = None,
    ) -> Response:
        self.requests.append(f"{method} {url}")
        await self._turn()
        parts = urlsplit(url)
        port = self.network.ports.get(parts.port or 80)
        if port is None:
            raise RequestFailed(f"{method} {url}: nobody listens there")
        answer = _exchange(
            port.factory, method, parts.netloc, f"{parts.path or '/'}?{parts.query}", headers or {}, body
        )
        await self._turn()
        return answer

    async def close(self) -> None:
        """There is nothing to close."""

    def _turn(self) -> Deferred[None]:
        turn: Deferred[None] = Deferred()
        self.network.callLater(0, turn.callback, None)
        return turn


def _exchange(factory: Any, method: str, host: str, target: str, headers: Mapping[str, str], body: bytes) -> Response:
    protocol = factory.buildProtocol(IPv4Address("TCP", "127.0.0.1", 12345))
    transport = _Transport()
    protocol.makeConnection(transport)
    fields = {"Host": host, "Content-Length": str(len(body)), **headers}
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    protocol.dataReceived(f"{method} {target} HTTP/1.1\r\n{head}\r\n".encode() + body)
    read = HTTPResponse(_Socket(transport.value()), method=method)  # type: ignore[arg-type]  # all that it uses
    read.begin()
    received = Headers()
    for name, value in read.getheaders():
        received.addRawHeader(name, value)
    answer = Response(read.status, received, read.read())
    protocol.connectionLost(Failure(ConnectionResetError()))
    return answer


class _Socket:
    def __init__(self, data: bytes) -> None:
        self._data = data

    def makefile(self, *_: object) -> BytesIO:
        return BytesIO(self._data)
