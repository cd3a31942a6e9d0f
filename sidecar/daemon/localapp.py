"""The apps beside us: their registrations, their healthchecks, and the ports on which we answer for them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from attrs import define, evolve, frozen
from twisted.application import service
from twisted.internet.defer import Deferred, succeed
from twisted.logger import Logger

from sidecar.daemon.appchecks import CheckMaker
from sidecar.daemon.calling.endpoints import asker
from sidecar.daemon.cmdline.advertise import AdvertisedAddress, advertised, here
from sidecar.daemon.cmdline.kinds import unreachable
from sidecar.daemon.cmdline.settings import AppSettings, CheckSettings, ListenSettings
from sidecar.daemon.listening import BoundPort, ICertificates, bind
from sidecar.health.checkset import Found, ICheckLoop, NamedCheck
from sidecar.health.description import AppEndpoints, DescribingRegistry
from sidecar.health.heartbeat import Heartbeats
from sidecar.health.registrar import Registrar
from sidecar.interfaces import IRegistry, ITransport
from sidecar.model import Node, Service
from sidecar.net.http.limits import HTTPLimits
from sidecar.net.memory import MemoryBudget
from sidecar.net.ownaddress import own_addresses
from sidecar.rpc.dialects.bynode import DeferredTransport
from sidecar.web.app.app import App
from sidecar.web.cors import BrowserPolicy
from sidecar.web.site import SidecarSite
from sidecar.websocket.sockets import LateStreams

log = Logger()

#: What a node on a port of ours says of itself, as Go's own servers do. By ``protocol`` callers know that they may send
#: the bare request; what ``--server_metadata`` says counts more.
SERVED = {"protocol": "mucp", "server": "mucp", "transport": "http"}


@define(eq=False)
class LocalApp:
    """An app beside us, while we run.

    :ivar registrar: registers it and knows how it is.
    :ivar heartbeats: the checks that wait for the app to say how it is, by name.
    :ivar states: what its checks found.
    :ivar listener: the port of ours that is registered for it, None where it has none.
    :ivar served: the app behind that port. :ivar inbound: what answers there. :ivar site: its connections.
    """

    settings: AppSettings
    registrar: Registrar
    heartbeats: Mapping[str, Heartbeats]
    states: Mapping[CheckSettings, NamedCheck]
    listener: BoundPort | None = None
    served: App | None = None
    inbound: service.Service | None = None
    site: SidecarSite | None = None

    @property
    def name(self) -> str:
        return self.settings.name

    def drain(self, patience: float) -> Deferred[None]:
        """Let the calls on the port that we answer at for it finish. :param patience: seconds to wait at most."""
        return succeed(None) if self.site is None else self.site.drain(patience)

    def status(self) -> str:
        """:returns: how it is, in a few words."""
        found = {True: "healthy", False: "ill", None: "not checked yet"}[self.registrar.verdict()]
        return f"app {self.name} {'not checked' if self.registrar.healthy() is None else found}"

    def stats(self) -> dict[str, object]:
        """What /stats shows of it."""
        return {"name": self.name, "healthy": self.registrar.healthy(), "explanation": self.registrar.explain()}


@frozen
class AppMaker:
    """Makes apps of their settings, nothing of them started.

    :ivar engines: the kinds of the registries in use. :ivar plain: calls an app that speaks plain HTTP.
    :ivar budget: what may be kept for all peers together.
    :ivar browsers: judges what comes to a port that we open for an app.
    :ivar max_endpoints: that an app may say that it has.
    """

    engines: Sequence[str]
    registry: IRegistry
    checks: CheckMaker
    plain: ITransport
    limits: HTTPLimits
    budget: MemoryBudget
    browsers: BrowserPolicy
    reactor: Any
    max_endpoints: int = 1000

    def make(self, app: AppSettings, before: LocalApp | None = None) -> LocalApp:
        """:param before: the same app by its settings so far: it stays registered, and where we listen for it, there.
        :raises ConfigError: the port to answer on cannot be had, or a file that a check needs is no good."""
        listener = None
        metadata = app.metadata
        secure = {"secure": "true"} if app.tls.enabled else {}
        keeps_port = before is not None and before.listener is not None and _listens_alike(before.settings, app)
        if app.protocol == "http":
            listener = before.listener if before is not None and keeps_port else self._listener(app)
            metadata = {**SERVED, **secure, **app.metadata}
        where = self._where(app, listener)
        heartbeats: dict[str, Heartbeats] = {}
        states: dict[CheckSettings, NamedCheck] = {}
        endpoints = AppEndpoints(app.endpoints)
        registry = self.registry
        if app.endpoints_url:
            ask = asker(app.endpoints_url, app.endpoints_ca_file, self.max_endpoints, self.reactor)
            registry = DescribingRegistry(registry, endpoints, ask, self.reactor)
        registrar = Registrar(
            registry,
            Service(
                app.name, app.version, endpoints=app.endpoints, nodes=(Node(app.id, where.host, where.port, metadata),)
            ),
            self.reactor,
            app.ttl,
            app.interval,
            rise=app.checks[0].rise if _one_of_flags(app) else 1,
            fall=app.checks[0].fall if _one_of_flags(app) else 1,
            warnings=(where.warning,) if where.warning else (),
            checks=self._checks(app, heartbeats, states, {} if before is None else before.states),
            before=None if before is None else before.registrar,
        )
        if listener is None:
            return LocalApp(app, registrar, heartbeats, states)
        if before is not None and keeps_port:
            assert before.served is not None
            before.served.endpoints = endpoints
            return LocalApp(app, registrar, heartbeats, states, listener, before.served, before.inbound, before.site)
        real = Node(app.id, here(app.host), app.port, app.metadata)
        served = App(
            app.name,
            real,
            DeferredTransport(self.plain, self.reactor),
            registrar,
            endpoints=endpoints,
            streams=LateStreams(self.reactor, app.max_body),
        )
        limits = evolve(self.limits, max_body=app.max_body, max_header=app.max_header)
        site, factory = _inbound(served, limits, self.budget, self.browsers, self.reactor)
        listener.budget = self.budget
        return LocalApp(app, registrar, heartbeats, states, listener, served, listener.service(factory), site)

    def _listener(self, app: AppSettings) -> BoundPort:
        certificates: ICertificates | None = None
        if app.tls.enabled:
            # Imported here: OpenSSL costs a tenth of a second that nobody without TLS should pay.
            from sidecar.daemon.certificates import Certificates

            certificates = Certificates(app.tls, "--server_tls_", (b"h2", b"http/1.1"))
        return bind(ListenSettings(app.inbound), certificates, self.reactor)

    def _where(self, app: AppSettings, listener: BoundPort | None) -> AdvertisedAddress:
        alone = set(self.engines) == {"memory"}
        if app.advertise is not None:
            where = AdvertisedAddress(*app.advertise)
        elif listener is not None:
            where = advertised("--server_inbound", listener.host, listener.port, alone, own_addresses)
        else:
            where = advertised("--server_address", app.host, app.port, alone, own_addresses)
        if where.host == "localhost" and unreachable(where.host, self.engines):
            where = evolve(where, host="127.0.0.1")
        if where.note:
            log.info("{note}", note=where.note)
        if where.warning:
            log.warn("{warning}", warning=where.warning)
        return where

    def _checks(
        self,
        app: AppSettings,
        heartbeats: dict[str, Heartbeats],
        states: dict[CheckSettings, NamedCheck],
        before: Mapping[CheckSettings, NamedCheck],
    ) -> Callable[[Found], ICheckLoop] | None:
        if not app.checks:
            return None
        if _one_of_flags(app):
            return partial(self.checks.only, app.name, app.checks[0])
        return partial(self.checks.loop, app.name, app.checks, heartbeats, states, before)


def _one_of_flags(app: AppSettings) -> bool:
    """Whether it has the one check that flags name."""
    return len(app.checks) == 1 and app.checks[0].name == "healthcheck_url"


def _listens_alike(before: AppSettings, app: AppSettings) -> bool:
    """Whether the port on which we answer for an app can stay as it is."""

    def kept(one: AppSettings) -> tuple[object, ...]:
        where = (one.name, one.id, one.host, one.port, one.protocol, one.inbound)
        return *where, one.metadata, one.tls.enabled, one.max_body, one.max_header

    return kept(before) == kept(app)


def _inbound(
    served: App, limits: HTTPLimits, budget: MemoryBudget, browsers: BrowserPolicy, reactor: Any
) -> tuple[SidecarSite, Any]:
    """Answers go-micro calls for the app, over HTTP/1.1 and HTTP/2 on one port, both by the limits of one site."""
    from sidecar.net.http2.switch import SwitchFactory
    from sidecar.web.appserver import AppServerResource

    resource = AppServerResource(served, limits.max_body, browsers)
    site: Any = SidecarSite(resource, reactor, limits, budget=budget)
    return site, SwitchFactory(site, lambda: resource.grpc(site))
