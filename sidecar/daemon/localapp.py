"""The app beside us: its registration, its healthchecks, and the port on which we answer for it."""

from __future__ import annotations

from typing import Any

from attrs import frozen
from twisted.application import service

from sidecar.daemon import listening
from sidecar.daemon.cmdline.settings import HealthSettings, ListenSettings, Settings, TlsSettings
from sidecar.errors import ConfigError
from sidecar.health.registrar import Keeper
from sidecar.interfaces import IRegistry, ITransport
from sidecar.model import Node, Service
from sidecar.net.http.limits import HTTPLimits
from sidecar.web.site import SidecarSite

#: What a port is bound to when it is bound to every interface.
_EVERYWHERE = ("", "0.0.0.0", "::")  # noqa: S104  # compared with, not bound


@frozen
class LocalApp:
    """:ivar keeper: None where no app was named. :ivar services: to start in this order, and stop in reverse."""

    keeper: Keeper | None = None
    services: tuple[service.Service, ...] = ()

    def stats(self) -> dict[str, object] | None:
        if self.keeper is None:
            return None
        return {"healthy": self.keeper.healthy(), "explanation": self.keeper.explain()}


def beside(settings: Settings, registry: IRegistry, plain: ITransport, limits: HTTPLimits, reactor: Any) -> LocalApp:
    """What ``--server_name`` and ``--server_address`` ask for.

    :param plain: calls an app that speaks plain HTTP.
    :raises ConfigError: the port to answer on cannot be had.
    """
    server = settings.server
    if not server.name:
        return LocalApp()
    listener = None
    host, port = server.advertise or (server.host, server.port)
    if server.protocol == "http":
        listener = listening.bind(ListenSettings(server.inbound), TlsSettings(), reactor)
        if server.advertise is None:
            if listener.host in _EVERYWHERE:
                raise ConfigError(
                    "--server_inbound is every interface: say by --server_advertise which one to register"
                )
            host, port = listener.host, listener.port
    registered = Service(server.name, server.version, nodes=(Node(server.id, host, port, server.metadata),))
    probe = _probe(settings.health, reactor) if settings.health.url else None
    keeper = Keeper(
        registry,
        registered,
        reactor,
        server.ttl,
        server.interval,
        probe,
        settings.health.interval,
        settings.health.rise,
        settings.health.fall,
    )
    if listener is None:
        return LocalApp(keeper, (keeper,))
    real = Node(server.id, server.host, server.port, server.metadata)
    inbound = listener.service(_inbound(server.name, real, plain, keeper, limits, reactor))
    return LocalApp(keeper, (inbound, keeper))


def _probe(health: HealthSettings, reactor: Any) -> Any:
    # Imported here: the HTTP client for cold paths costs a tenth of a second at start.
    from sidecar.health.probe import Probe
    from sidecar.net.client.fetcher import Fetcher

    return Probe(Fetcher(reactor, health.timeout), health.url, health.timeout)


def _inbound(name: str, node: Node, plain: ITransport, keeper: Keeper, limits: HTTPLimits, reactor: Any) -> Any:
    """Answers go-micro calls for the app, over HTTP/1.1 and HTTP/2 on one port."""
    from sidecar.net.http2.server import SwitchFactory
    from sidecar.web.appserver import App, InboundResource

    room = InboundResource(App(name, node, plain, keeper), limits.max_body)
    http1: Any = SidecarSite(room, reactor, limits)
    return SwitchFactory(http1, lambda: room.grpc(reactor, limits.idle_timeout))
