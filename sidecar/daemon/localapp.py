"""The apps beside us: their registrations, their healthchecks, and the ports on which we answer for them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from attrs import evolve, frozen
from twisted.application import service
from twisted.logger import Logger
from zope.interface import implementer

from sidecar.daemon import listening
from sidecar.daemon.cmdline.advertise import AdvertisedAddress, advertised, here
from sidecar.daemon.cmdline.kinds import unreachable
from sidecar.daemon.cmdline.settings import AppSettings, HealthSettings, ListenSettings, Settings
from sidecar.errors import ConfigError
from sidecar.health.registrar import Registrar
from sidecar.interfaces import IAppHealth, IRegistry, ITransport
from sidecar.model import Node, Service
from sidecar.net.errors import InvalidSetting
from sidecar.net.http.limits import HTTPLimits
from sidecar.net.ownaddress import own_addresses
from sidecar.web.cors import BrowserPolicy
from sidecar.web.site import SidecarSite

log = Logger()

#: What a node on a port of ours says of itself, as Go's own servers do. By ``protocol`` callers know that they may send
#: the bare request; what ``--server_metadata`` says counts more.
SERVED = {"protocol": "mucp", "server": "mucp", "transport": "http"}


@frozen
class LocalApp:
    """An app beside us, while we run.

    :ivar registrar: registers it and knows how it is.
    :ivar services: what runs for it, to start in this order and stop in reverse.
    """

    settings: AppSettings
    registrar: Registrar
    services: tuple[service.Service, ...]

    @property
    def name(self) -> str:
        return self.settings.name

    def status(self) -> str:
        """:returns: how it is, in a few words."""
        found = {True: "healthy", False: "ill", None: "not checked yet"}[self.registrar.verdict()]
        return f"app {self.name} {'not checked' if self.registrar.healthy() is None else found}"

    def stats(self) -> dict[str, object]:
        """What /stats shows of it."""
        return {"healthy": self.registrar.healthy(), "explanation": self.registrar.explain()}


@implementer(IAppHealth)
@frozen
class AppsHealth:
    """How several apps are, taken together: healthy when each one is."""

    apps: Sequence[LocalApp]

    def healthy(self) -> bool | None:
        verdicts = [app.registrar.healthy() for app in self.apps]
        return False if False in verdicts else None if None in verdicts else True

    def status(self) -> int | None:
        """What the first one that is ill answered."""
        ill = (app.registrar.status() for app in self.apps if app.registrar.healthy() is False)
        return next(ill, None)

    def explain(self) -> str:
        return "; ".join(f"{app.name}: {app.registrar.explain()}" for app in self.apps)

    def warnings(self) -> tuple[str, ...]:
        return tuple(f"{app.name}: {warning}" for app in self.apps for warning in app.registrar.warnings())


def health(apps: Sequence[LocalApp]) -> IAppHealth | None:
    """:returns: how the apps are: None without any, the app's own health where there is one."""
    if not apps:
        return None
    return apps[0].registrar if len(apps) == 1 else AppsHealth(apps)


def local_apps(
    settings: Settings,
    registry: IRegistry,
    plain: ITransport,
    limits: HTTPLimits,
    browsers: BrowserPolicy,
    reactor: Any,
) -> tuple[LocalApp, ...]:
    """The apps that ``settings`` name, nothing of them started.

    :param plain: calls an app that speaks plain HTTP.
    :param browsers: judges what comes to a port that we open for an app.
    :raises ConfigError: the port to answer on cannot be had.
    """
    engines = [engine.kind for engine in settings.registry.engines]
    return tuple(_local_app(app, engines, registry, plain, limits, browsers, reactor) for app in settings.apps)


def _local_app(
    app: AppSettings,
    engines: Sequence[str],
    registry: IRegistry,
    plain: ITransport,
    limits: HTTPLimits,
    browsers: BrowserPolicy,
    reactor: Any,
) -> LocalApp:
    listener = None
    metadata = app.metadata
    alone = set(engines) == {"memory"}
    where = AdvertisedAddress(*app.advertise) if app.advertise is not None else None
    if app.protocol == "http":
        listener = listening.bind(ListenSettings(app.inbound), None, reactor)
        metadata = {**SERVED, **app.metadata}
        where = where or advertised("--server_inbound", listener.host, listener.port, alone, own_addresses)
    where = where or advertised("--server_address", app.host, app.port, alone, own_addresses)
    if where.host == "localhost" and unreachable(where.host, engines):
        where = evolve(where, host="127.0.0.1")
    if where.note:
        log.info("{note}", note=where.note)
    if where.warning:
        log.warn("{warning}", warning=where.warning)
    registrar = Registrar(
        registry,
        Service(app.name, app.version, nodes=(Node(app.id, where.host, where.port, metadata),)),
        reactor,
        app.ttl,
        app.interval,
        _probe(app.health, reactor) if app.health.url else None,
        app.health.interval,
        app.health.rise,
        app.health.fall,
        (where.warning,) if where.warning else (),
    )
    if listener is None:
        return LocalApp(app, registrar, (registrar,))
    real = Node(app.id, here(app.host), app.port, app.metadata)
    inbound = listener.service(_inbound(app.name, real, plain, registrar, limits, browsers, reactor))
    return LocalApp(app, registrar, (inbound, registrar))


def _probe(checked: HealthSettings, reactor: Any) -> Any:
    # Imported here: the HTTP client for cold paths costs a tenth of a second at start.
    from sidecar.health.probe import Probe
    from sidecar.net.client.fetcher import Fetcher
    from sidecar.net.client.tls import TrustOptions

    try:
        fetcher = Fetcher(reactor, checked.timeout, tls=TrustOptions(checked.ca_file))
    except InvalidSetting as error:
        raise ConfigError(f"--healthcheck_ca_file={checked.ca_file}: {error}") from error
    return Probe(fetcher, checked.url, checked.timeout)


def _inbound(
    name: str,
    node: Node,
    plain: ITransport,
    registrar: Registrar,
    limits: HTTPLimits,
    browsers: BrowserPolicy,
    reactor: Any,
) -> Any:
    """Answers go-micro calls for the app, over HTTP/1.1 and HTTP/2 on one port."""
    from sidecar.net.http2.server import SwitchFactory
    from sidecar.rpc.dialects.bynode import DeferredTransport
    from sidecar.web.appserver import App, AppServerResource

    app = App(name, node, DeferredTransport(plain, reactor), registrar)
    resource = AppServerResource(app, limits.max_body, browsers)
    http1: Any = SidecarSite(resource, reactor, limits)
    return SwitchFactory(http1, lambda: resource.grpc(reactor, limits.idle_timeout))
