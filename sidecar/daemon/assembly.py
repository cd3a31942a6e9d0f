"""The whole sidecar, put together: one function to read from top to bottom."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import partial
from random import Random
from typing import TYPE_CHECKING, Any

from attrs import define
from twisted.application import service

from sidecar.daemon import access, backends, exposure, limits, listening
from sidecar.daemon.appchecks import CheckMaker
from sidecar.daemon.calling import nodes
from sidecar.daemon.cmdline.kinds import node_id
from sidecar.daemon.cmdline.settings import Settings
from sidecar.daemon.datadir import KeptState
from sidecar.daemon.facts import apps_told, away, facts
from sidecar.daemon.leave import Drain, Pause
from sidecar.daemon.localapp import AppMaker
from sidecar.daemon.localapps import LocalApps
from sidecar.daemon.serving import gateway, tracing
from sidecar.daemon.serving.observation import Observation, sampler
from sidecar.daemon.serving.reconciliation import Reconciliation
from sidecar.daemon.serving.watching import watching
from sidecar.errors import ConfigError
from sidecar.interfaces import IBroker, IRegistry
from sidecar.lifecycle import OrderedService
from sidecar.net.http.hosts import AllowedHosts
from sidecar.rpc.client import Client
from sidecar.rpc.dialects.bynode import Dialects
from sidecar.rpc.dialects.nodetls import NodeTls, NodeTlsSettings
from sidecar.rpc.failures import RecentFailures
from sidecar.rpc.selector import Selector
from sidecar.rpc.streams import Streams
from sidecar.stats.labelled import CallMetrics, RegistryMetrics
from sidecar.stats.nodes import NodeMemory
from sidecar.stats.recorder import StatsRecorder
from sidecar.waiting import wall
from sidecar.web.assets import AssetsResource, read_all
from sidecar.web.broker import BrokerResource
from sidecar.web.catalog.registry import RegistryResource
from sidecar.web.cors import BrowserPolicy, CorsPolicy
from sidecar.web.events.longanswers import LongAnswers
from sidecar.web.health import CheckResource, HealthResource
from sidecar.web.observe.explain import ExplainResource
from sidecar.web.observe.metrics import MetricsResource
from sidecar.web.observe.stats import StatsResource
from sidecar.web.operations.journal import JournalResource
from sidecar.web.operations.leaving import DrainResource, LiveResource, MaintenanceResource, ReadyResource
from sidecar.web.operations.reload import ReloadResource
from sidecar.web.site import SidecarSite
from sidecar.web.streams import StreamResource
from sidecar.web.tree import RootResource, build_tree
from sidecar.websocket.sessions.pubsub import PubSubSessions
from sidecar.websocket.sessions.stream import StreamSessions
from sidecar.websocket.sockets import WebSockets

if TYPE_CHECKING:
    from sidecar.net.client.credentials import ClientCredentials

#: Reads the settings again and applies them; gives what needs a restart.
Reload = Callable[[], Sequence[str]]
#: Seconds that one part may take to stop, beyond the drain's own patience.
PATIENCE = 5.0


@define(eq=False, kw_only=True)
class Daemon:
    """The whole daemon, by the names of its parts.

    :ivar settings: by which it runs.
    :ivar service: all of it, to start and stop: its parts start from top to bottom and stop from bottom to top, each
        awaited: the apps leave the registry, the port closes, calls in flight finish, WebSockets say goodbye, and only
        then does what they need go away.
    :ivar listener: our own port, bound already. :ivar certificates: its TLS, or None where it speaks none.
    :ivar node_tls: which nodes are called by TLS, and with what.
    :ivar kept: what survives a restart, the journal among it. :ivar apps: the apps beside us.
    """

    settings: Settings
    service: OrderedService
    listener: listening.BoundPort
    certificates: listening.ICertificates | None
    node_tls: NodeTls
    kept: KeptState
    registry: IRegistry
    broker: IBroker
    selector: Selector
    dialects: Dialects
    client: Client
    streams: Streams
    sockets: WebSockets
    pubsub: PubSubSessions
    recorder: StatsRecorder
    root: RootResource
    site: SidecarSite
    apps: LocalApps

    def reload(self, settings: Settings) -> None:
        """Apply what of ``settings`` can change while we run: the apps and their checks, and the certificates, read
        again whether or not their flags changed. No connection is dropped; each keeps what it began with.

        :raises ConfigError: something is no good, with the reason; everything stays as it was.
        """
        settings = self.kept.with_ids(settings)
        change = self.apps.prepare(settings.apps)
        own = None
        try:
            if self.certificates is not None and settings.tls.enabled:
                own = self.certificates.read(settings.tls)
            credentials = _credentials(settings.client.tls)
        except ConfigError:
            change.discard()
            raise
        change.commit()
        if self.certificates is not None and own is not None:
            self.certificates.use(own)
        self.node_tls.use(settings.client.tls.mode, credentials)
        self.settings = settings

    def status(self) -> str:
        """:returns: how the daemon is, in one line for people: where it listens, its engines, its apps."""
        said = [f"Listening on {self.listener.url}"]
        for what, backend in (("registry", self.registry), ("broker", self.broker)):
            state = backend.state()
            said.append(f"{what} {state.kind}{'' if state.connected else f' is away: {state.detail}'}")
        said += [app.status() for app in self.apps.apps]
        return "; ".join(said)


def assemble(settings: Settings, reactor: Any, reload: Reload | None = None, chance: Random | None = None) -> Daemon:
    """The daemon, its ports bound and nothing started.

    :param reload: None where nobody can. :param chance: chooses among nodes; None for one that nobody can foretell.
    :raises ConfigError: something in the settings cannot work; nothing was registered yet.
    """
    policy = access.policy(settings.access, reactor)
    listener = exposure.open_port(settings, reactor)
    kept = KeptState.open(settings, os.environ, reactor)
    settings = kept.with_ids(settings)
    registry = backends.registries(settings, reactor, kept.store)
    registry.watch(kept.journal)
    bounds, budget = limits.http(settings), limits.memory(settings, reactor)
    broker, date = backends.broker(settings, reactor, registry, budget), partial(wall, reactor)
    traced = tracing.build(settings.log.otlp_endpoint, os.environ, reactor, date)
    messages = traced.broker(broker)

    chance = chance or Random()
    listener.budget = budget
    calling = nodes.transports(settings, _credentials(settings.client.tls), reactor, budget)
    selector = Selector(registry, settings.client.selector, chance, reactor, settings.client.ejection)
    calls, memory = CallMetrics(date), NodeMemory(date)
    failures = RecentFailures(settings.client.selector, date)
    any_address = settings.client.any_address
    observers, retries = (calls, *traced.observers), settings.client.retry_share
    client = Client(selector, calling.nodes, reactor, chance, any_address, observers, retries, (memory, failures))
    streams = Streams(selector, reactor, calling.streams, {"grpc": calling.grpc_streams}, any_address)

    lasting = LongAnswers(reactor, settings.broker.max_connections, lambda: sockets.connections, budget=budget)
    sockets = limits.websockets(settings, reactor, budget, lambda: lasting.open)
    pubsub = PubSubSessions(messages, reactor, sockets, limits.outbox(settings))
    cors = CorsPolicy(settings.cors)
    browsers = BrowserPolicy(AllowedHosts(limits.names(settings)), cors)
    engines = tuple(engine.kind for engine in settings.registry.engines)
    checks = CheckMaker(reactor, calling.probe, traced.probe)
    most = settings.http.max_endpoints
    maker = AppMaker(engines, registry, checks, calling.app, bounds, budget, browsers, reactor, most)
    apps = LocalApps(maker.make, reactor, settings.drain_timeout + PATIENCE, kept.maintained(), kept.maintain)
    apps.prepare(settings.apps).commit()
    recorder = StatsRecorder(reactor)
    sampled = sampler(reactor, calls)
    changes = RegistryMetrics()
    for watcher in (changes, memory):
        registry.watch(watcher)
    known = facts(registry, broker, selector, client, calls, calling, streams, pubsub, apps)
    known.update(buffers=budget.stats, traces=traced.stats, reactor=sampled.stats, checks=checks.counts.told)
    known["overload"] = lambda: limits.queued(site, *(app.site for app in apps.apps))
    if policy is not None:
        known["access"] = policy.stats

    by_rpc, by_path, transparent = gateway.calling(
        settings, reactor, registry, client, limits.policy(settings), apps.health_by_name, cors, calling.forward
    )
    observation = Observation(
        reactor=reactor,
        wall=date,
        strategy=settings.client.selector,
        registry=registry,
        broker=broker,
        client=client,
        selector=selector,
        calls=calls,
        memory=memory,
        failures=failures,
        recorder=recorder,
        pubsub=pubsub,
        apps=partial(apps_told, apps),
        sampler=sampled,
        answers=lasting,
        sockets=lambda: {"http": site.connections, "websockets": sockets.connections},
    )
    reads, watch, known["watchers"] = watching(registry, kept.journal, reactor, chance, lasting, sockets, cors)
    root = build_tree(
        cors=cors,
        browsers=browsers,
        registry=RegistryResource(
            registry,
            bounds.max_body,
            partial(node_id, engines=engines),
            limits.registration(settings),
            settings.client.rules,
            access.ownership(policy, reactor),
            reads,
        ),
        rpc=by_rpc,
        gateway=by_path,
        transparent=transparent,
        stream=StreamResource(StreamSessions(streams, sockets), cors),
        broker=BrokerResource(messages, pubsub, cors, bounds.max_body),
        health=HealthResource(apps, apps.health_by_name),
        check=CheckResource(apps.heartbeats),
        reload=None if reload is None else ReloadResource(reload),
        stats=StatsResource(recorder, known) if settings.enable_stats else None,
        dashboard=AssetsResource(read_all()) if settings.enable_stats else None,
        access=policy,
        more={
            "/ticket": access.tickets(policy, reactor),
            **observation.routes(),
            "/metrics": MetricsResource(calls, changes, known, recorder),
            "/registry/watch": watch,
            "/journal": JournalResource(kept.journal, date),
            "/drain": DrainResource(apps, reactor, settings.drain_delay, lambda: site.under_way),
            "/maintenance": MaintenanceResource(apps),
            "/health/live": LiveResource(),
            "/health/ready": ReadyResource(apps, lambda: site.draining, partial(away, registry, broker)),
            "/explain": ExplainResource(registry, selector, calls, memory, settings.client.selector),
        },
    )
    recorder.distinguish(path.encode("ascii") for path in root.by_path())
    site = SidecarSite(
        root, reactor, bounds, settings.http.channel, recorder, settings.log.access, lambda: lasting.open, budget
    )
    traced.attach(site)

    whole = OrderedService(reactor, settings.drain_timeout + settings.drain_delay + PATIENCE)
    for part in (
        *(() if kept.store is None else (kept.store,)),
        registry,
        Reconciliation(registry, kept.journal, reactor),
        broker,
        selector,
        *traced.services,
        *calling.services,
        client,
        streams,
        recorder,
        sampled,
        sockets,
        Drain((site.drain, apps.drain), settings.drain_timeout),
        lasting,
        listener.service(site),
        apps.ports,
        Pause(reactor, settings.drain_delay),
        apps,
    ):
        service.IService(part).setServiceParent(whole)
    return Daemon(
        settings=settings,
        service=whole,
        listener=listener,
        certificates=listener.certificates,
        node_tls=calling.tls,
        kept=kept,
        registry=registry,
        broker=broker,
        selector=selector,
        dialects=calling.nodes,
        client=client,
        streams=streams,
        sockets=sockets,
        pubsub=pubsub,
        recorder=recorder,
        root=root,
        site=site,
        apps=apps,
    )


def _credentials(tls: NodeTlsSettings) -> ClientCredentials | None:
    """What nodes are called with by the files as they are now, None for what the system has: that is looked for when it
    is needed. :raises ConfigError: a file is no good."""
    if tls.mode == "off" or not (tls.ca_file or tls.cert_file):
        return None
    # Imported here: OpenSSL costs a tenth of a second that nobody without TLS should pay.
    from sidecar.daemon.certificates import credentials

    return credentials(tls)
