"""The whole sidecar, put together: one function to read from top to bottom."""

from __future__ import annotations

import random
import uuid
from collections.abc import Callable
from typing import Any

from attrs import define
from twisted.application import service
from twisted.internet.defer import Deferred

from sidecar.daemon import backends, listening
from sidecar.daemon.settings import Settings
from sidecar.lifecycle import OrderedService
from sidecar.model import CallPolicy
from sidecar.net.limits import HTTPLimits
from sidecar.rpc.client import Client
from sidecar.rpc.grpc import GrpcTransport
from sidecar.rpc.plain import PlainTransport
from sidecar.rpc.selector import Selector
from sidecar.rpc.transport import MucpTransport
from sidecar.rpc.transports import Transports
from sidecar.stats.recorder import Recorder
from sidecar.web.health import HealthRoom
from sidecar.web.registry import RegistryRoom
from sidecar.web.rpc import RpcResource
from sidecar.web.site import SidecarSite
from sidecar.web.stats import StatsRoom
from sidecar.web.tree import Missing, build_tree

#: Seconds that one part may take to stop, beyond the drain's own patience.
PATIENCE = 5.0


class _NoCors:
    def apply(self, request: Any) -> None:
        pass


def assemble(settings: Settings, reactor: Any) -> service.IService:
    """The service tree, its port bound and nothing started.

    It starts from top to bottom and stops from bottom to top, each part awaited: the app leaves the registry, the port
    closes, calls in flight finish, WebSockets say goodbye, and only then does what they need go away.

    :raises ConfigError: something in the settings cannot work; nothing was registered yet.
    """
    listener = listening.bind(settings.listen, settings.tls, reactor)
    registry = backends.registries(settings, reactor)
    broker = backends.broker(settings, reactor, registry)
    chance = random.Random()
    selector = Selector(registry, settings.client.selector, chance)
    transports = _transports(settings, reactor)
    client = Client(selector, transports, reactor, chance, settings.client.any_address)
    app = _app(settings, registry, reactor)
    recorder = Recorder(reactor)
    policy = CallPolicy(settings.client.request_timeout, settings.client.retries, settings.client.retry)
    max_body = settings.http.max_body
    root = build_tree(
        cors=_NoCors(),
        registry=RegistryRoom(registry, max_body, make_id),
        rpc=RpcResource(client, policy, max_body),
        broker=Missing(),
        health=HealthRoom(app),
        stats=StatsRoom(recorder, {}) if settings.enable_stats else None,
    )
    site = SidecarSite(root, reactor, _limits(settings), settings.http.channel, recorder)
    whole = OrderedService(reactor, settings.drain_timeout + PATIENCE)
    for part in (registry, broker, selector, transports, client, recorder, Drain(site.drain, settings.drain_timeout)):
        part.setServiceParent(whole)
    listener.service(site).setServiceParent(whole)
    if app is not None:
        app.setServiceParent(whole)
    return whole


def make_id(name: str) -> str:
    """The id of a node that came without: go-micro's own custom."""
    return f"{name}-{uuid.uuid4()}"


def _limits(settings: Settings) -> HTTPLimits:
    http = settings.http
    return HTTPLimits(
        max_header=http.max_header,
        max_body=http.max_body,
        header_timeout=http.header_timeout,
        body_timeout=http.body_timeout,
        idle_timeout=http.idle_timeout,
    )


def _transports(settings: Settings, reactor: Any) -> Transports:
    """One transport for each dialect that a node's ``protocol`` metadata can name."""
    client = settings.client
    sizes = (settings.http.max_body, client.pool_size, client.pool_ttl, client.max_waiting)
    return Transports(
        MucpTransport(reactor, *sizes),
        {"grpc": GrpcTransport(reactor, settings.http.max_body), "http": PlainTransport(reactor, *sizes)},
    )


def _app(settings: Settings, registry: Any, reactor: Any) -> Any:
    if not settings.server.name:
        return None
    from sidecar.health.keeper import Keeper
    from sidecar.model import Node, Service

    server, health = settings.server, settings.health
    host, port = server.advertise or (server.host, server.port)
    node = Node(server.id, host, port, server.metadata)
    probe = None
    if health.url:
        # Imported here: the HTTP client for cold paths costs a tenth of a second at start.
        from sidecar.health.probe import Probe
        from sidecar.net.agent import Agent

        probe = Probe(Agent(reactor, health.timeout), health.url, health.timeout)
    return Keeper(
        registry,
        Service(server.name, server.version, nodes=(node,)),
        reactor,
        server.ttl,
        server.interval,
        probe,
        health.interval,
        health.rise,
        health.fall,
    )


@define(eq=False, slots=False)
class Drain(service.Service):
    """Stopping means waiting for the calls in flight. :ivar patience: seconds."""

    drain: Callable[[float], Deferred[None]]
    patience: float

    def stopService(self) -> Deferred[None]:
        super().stopService()
        return self.drain(self.patience)
