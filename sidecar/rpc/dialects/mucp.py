"""Calls to nodes that speak go-micro's own protocol over HTTP/1.1: the default of every generation but one."""

from __future__ import annotations

import os
import secrets
from typing import Any, Final

from attrs import define, field
from zope.interface import implementer

from sidecar.errors import BadAnswer, ServiceFault
from sidecar.interfaces import IExchange, IExchangeListener, ITransport
from sidecar.model import Call, Node, Reply
from sidecar.net.client.connection import ClientConnection
from sidecar.net.client.pool import Pool
from sidecar.rpc.dialects.pooled import Destination, PooledExchange, PooledTransport
from sidecar.wire import headers
from sidecar.wire.mucp import jsonrpc, protorpc, request
from sidecar.wire.rpc import JSON, PROTOBUF

#: Request templates that are kept for one node: one for each method that is called there.
_MAX_TEMPLATES: Final = 512


@define(eq=False)
class MucpDestination(Destination):
    """What is known of one node for as long as we hold a connection to it.

    :ivar lean: it is of 2016 to 2018, reads none of the Micro headers and pays dearly for each header.
    :ivar judged: it gave the id back as a number, as those do, and it was looked whether it is one of them.
    :ivar templates: requests with holes, by content type, service and method.
    """

    lean: bool = False
    judged: bool = False
    templates: dict[tuple[str, str, str], request.RequestTemplate] = field(factory=dict)


@implementer(IExchange)
class MucpExchange(PooledExchange[MucpDestination]):
    """One request on its way to one node."""

    __slots__ = ("_id", "_protobuf")

    def __init__(
        self, destination: MucpDestination, listener: IExchangeListener, id: bytes, data: bytes, protobuf: bool
    ) -> None:
        # Written out, since calling the base class costs as much as the rest of this.
        self._destination = destination
        self._listener = listener
        self._id = id
        self._data = data
        self._protobuf = protobuf
        self._connection = None
        self._taken = None
        self._sent = None

    def answered(self, connection: ClientConnection, status: int, body: bytes) -> None:
        listener = self._listener
        if listener is None:
            return
        self._listener = None
        destination = self._destination
        try:
            if status != 200:
                raise jsonrpc.refused(status, body)
            if self._protobuf:
                reply = Reply(protorpc.result(body, connection.header), PROTOBUF)
            else:
                result, echoed = jsonrpc.result(body, self._id, connection.header)
                if echoed is not destination.lean:
                    self._judge(destination, connection, echoed)
                reply = Reply(result)
        except (ServiceFault, BadAnswer) as error:
            # Servers of several generations close after an error, some a moment after it.
            connection.reusable = False
            destination.pool.release(connection)
            listener.attempt_failed(error)
            return
        destination.pool.release(connection)
        listener.attempt_replied(reply)

    def _judge(self, destination: MucpDestination, connection: ClientConnection, echoed: bool) -> None:
        """See of which age a node is. :param echoed: it gave the id back as a number."""
        if not echoed:
            destination.lean = destination.judged = False
            destination.templates.clear()
        elif not destination.judged:
            # An app that somebody wrote by hand may do so, and reads the Micro headers. The sure sign is that an old
            # node's answer begins as a copy of the request's headers: ours has one that no other request ever had.
            destination.judged = True
            id = connection.header(b"x-micro-id")
            destination.lean = id is not None and id.endswith(b"-" + self._id) and b"X-Micro-Id: " + id in self._data
            if destination.lean:
                destination.templates.clear()


@implementer(ITransport)
class MucpTransport(PooledTransport[MucpDestination]):
    """Speaks the one form of request that servers of every generation understand, over pooled connections."""

    def __init__(self, reactor: Any, max_body: int, *settings: Any, **named: Any) -> None:
        """As for :class:`~sidecar.rpc.dialects.pooled.PooledTransport`."""
        super().__init__(reactor, max_body, *settings, **named)
        # Ids are unique over all processes that ever spoke to a node: it may still hold one of an earlier life.
        self._prefix = b"%s-%x-" % (secrets.token_hex(4).encode("ascii"), os.getpid())
        self._count = 0

    def exchange(self, node: Node, call: Call, timeout: float, listener: IExchangeListener) -> MucpExchange:
        destination = self._destinations.get((node.address, node.port, self._tls.name(node)))
        if destination is None:
            destination = self._meet(node)
        template = destination.templates.get((call.content_type, call.service, call.method))
        if template is None:
            template = self._template(destination, call)
        self._count = number = self._count + 1
        id = b"%d" % number
        metadata = headers.of_call(call) if call.metadata else call.lines
        data = template.fill(number, id, timeout, metadata, call.request)
        return MucpExchange(destination, listener, id, data, call.content_type != JSON)

    def _make(self, host: bytes, pool: Pool, address: tuple[str, int]) -> MucpDestination:
        return MucpDestination(host, pool, self._reactor.seconds, self._times, address)

    def _template(self, destination: MucpDestination, call: Call) -> request.RequestTemplate:
        made = request.template(
            destination.host, call.service, call.method, call.content_type, self._prefix, destination.lean
        )
        if len(destination.templates) >= _MAX_TEMPLATES:
            destination.templates.clear()
        destination.templates[(call.content_type, call.service, call.method)] = made
        return made
