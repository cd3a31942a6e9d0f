"""How nodes and apps are called, by the settings: one transport a dialect, and whether they speak TLS."""

from __future__ import annotations

import secrets
from functools import partial
from typing import TYPE_CHECKING, Any

from attrs import frozen
from twisted.application import service

from sidecar.daemon.cmdline.settings import Settings
from sidecar.net.client.connector import connect
from sidecar.net.client.pool import PoolOccupancy
from sidecar.net.memory import MemoryBudget
from sidecar.rpc.dialects.bynode import Dialects
from sidecar.rpc.dialects.grpc import CONNECT, GrpcTransport
from sidecar.rpc.dialects.grpcstream import GrpcStreams
from sidecar.rpc.dialects.mucp import MucpTransport
from sidecar.rpc.dialects.mucpstream import MucpStreams
from sidecar.rpc.dialects.nodetls import WITHOUT_TLS, NodeTls
from sidecar.rpc.dialects.plainhttp import PlainHttpTransport
from sidecar.rpc.proxy.transport import ForwardTransport

if TYPE_CHECKING:
    from sidecar.net.client.credentials import ClientCredentials


@frozen
class Transports:
    """All of them.

    :ivar tls: which nodes are called by TLS, and with what. :ivar nodes: calls nodes, each in its dialect.
    :ivar streams: opens streams in go-micro's own protocol. :ivar grpc_streams: the same in gRPC.
    :ivar app: calls apps beside us that speak plain HTTP. :ivar probe: asks apps how they are, in gRPC.
    :ivar forward: forwards requests to nodes; None where paths of services are for calls.
    """

    tls: NodeTls
    nodes: Dialects
    streams: MucpStreams
    grpc_streams: GrpcStreams
    app: PlainHttpTransport
    probe: GrpcTransport
    forward: ForwardTransport | None = None

    @property
    def services(self) -> tuple[service.Service, ...]:
        """Those to start and stop."""
        forward = () if self.forward is None else (self.forward,)
        return (self.nodes, self.app, self.probe, *forward)

    @property
    def occupancy(self) -> PoolOccupancy:
        """How the pools of connections to nodes stand, those for calls and those for forwarded requests together."""
        return self.nodes.occupancy if self.forward is None else self.nodes.occupancy + self.forward.occupancy


def transports(
    settings: Settings, credentials: ClientCredentials | None, reactor: Any, budget: MemoryBudget
) -> Transports:
    """:param credentials: what nodes are called with by TLS, None for what the system has.
    :param budget: what may be kept for all peers together."""
    client, max_body = settings.client, settings.http.max_body
    # A call that meets a black hole has to have time left to go elsewhere.
    connect_timeout = min(CONNECT, client.request_timeout / 2)
    dial = partial(connect, rules=client.rules)
    tls = NodeTls(client.tls.mode, credentials)
    pooled = (max_body, client.pool_size, client.pool_ttl, client.max_waiting, connect_timeout, dial)
    most = max([max_body, *(app.max_body for app in settings.apps)])
    grpc = GrpcTransport(reactor, max_body, None, connect_timeout, dial, tls, budget)
    plain = PlainHttpTransport(reactor, *pooled, tls, budget)
    forward = None
    if settings.gateway.mode != "rpc":
        forward = ForwardTransport(reactor, settings.http.idle_timeout, *pooled[1:], tls)
    return Transports(
        tls,
        Dialects(MucpTransport(reactor, *pooled, tls, budget), {"grpc": grpc, "http": plain}),
        MucpStreams(reactor, max_body, secrets.token_hex(6), client.request_timeout, dial, tls, budget),
        GrpcStreams(grpc),
        # Apps beside us are asked in the clear, whatever is asked of nodes.
        PlainHttpTransport(reactor, most, *pooled[1:], WITHOUT_TLS, budget),
        GrpcTransport(reactor, max_body, None, connect_timeout, dial, WITHOUT_TLS),
        forward,
    )
