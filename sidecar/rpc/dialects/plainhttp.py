"""Calls to apps that speak plain HTTP: ``POST /<Type>/<Method>``, JSON in and out, no envelope."""

from __future__ import annotations

from collections.abc import Mapping

from zope.interface import implementer

from sidecar.errors import ServiceFault
from sidecar.interfaces import IExchange, IExchangeListener, ITransport
from sidecar.model import Call, Fault, Node
from sidecar.net.client.connection import ClientConnection
from sidecar.net.client.pool import Pool
from sidecar.rpc.dialects.pooled import Destination, PooledExchange, PooledTransport
from sidecar.wire import faults, headers, plainhttp


@implementer(IExchange)
class PlainHttpExchange(PooledExchange[Destination]):
    """One request and its answer."""

    __slots__ = ("_service",)

    def __init__(self, destination: Destination, listener: IExchangeListener, data: bytes, service: str) -> None:
        """:param service: in whose name an error without an id is told."""
        super().__init__(destination, listener, data)
        self._service = service

    def answered(self, connection: ClientConnection, status: int, body: bytes) -> None:
        listener, self._listener = self._listener, None
        if listener is None:
            return
        content_type = (connection.header(b"content-type") or b"").decode("latin-1")
        self._destination.pool.release(connection)
        meant = plainhttp.answer(self._service, status, content_type, body)
        if isinstance(meant, Fault):
            enveloped = faults.parse(body.decode("utf-8", "replace")).code != 0
            listener.attempt_failed(ServiceFault(meant, enveloped=enveloped))
        else:
            listener.attempt_replied(meant)


@implementer(ITransport)
class PlainHttpTransport(PooledTransport[Destination]):
    """Posts calls to nodes, over pooled connections."""

    def exchange(self, node: Node, call: Call, timeout: float, listener: IExchangeListener) -> PlainHttpExchange:
        asked = plainhttp.asked(node, call)
        head = (
            f"{asked.verb} {asked.target} HTTP/1.1\r\nHost: {node.hostport}\r\nContent-Type: {call.content_type}\r\n"
            f"Accept: {call.content_type}\r\n{_user_agent(call.metadata)}Timeout: {int(timeout * 1e9)}\r\n"
            f"Content-Length: {len(asked.body)}\r\n"
        )
        data = b"%b%b\r\n%b" % (head.encode("latin-1"), headers.of_call(call), asked.body)
        destination = self._destinations.get((node.address, node.port, self._tls.name(node)))
        if destination is None:
            destination = self._meet(node)
        return PlainHttpExchange(destination, listener, data, call.service)

    def _make(self, host: bytes, pool: Pool, address: tuple[str, int]) -> Destination:
        return Destination(host, pool, self._reactor.seconds, self._times, address)


def _user_agent(metadata: Mapping[str, str]) -> str:
    """Our ``User-Agent`` line, unless the caller's own goes along: strict servers refuse two of them."""
    return "" if any(name.lower() == "user-agent" for name in metadata) else "User-Agent: microsidecar\r\n"
