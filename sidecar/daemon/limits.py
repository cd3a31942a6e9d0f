"""What the parts of the daemon may take, as the settings say it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sidecar.daemon.cmdline.settings import Settings, TcpPort
from sidecar.model import CallPolicy
from sidecar.net.allocator import TrimAfterwards
from sidecar.net.http.hosts import machine_names
from sidecar.net.http.limits import HTTPLimits
from sidecar.net.memory import MemoryBudget, usual_limit
from sidecar.pubsub.outbox import OutboxLimits
from sidecar.web.site import SidecarSite
from sidecar.websocket.sockets import WebSockets
from sidecar.wire.fields import RegistrationLimits


def names(settings: Settings) -> tuple[str, ...]:
    """The names by which the API's port may be asked: ours, the machine's, and those that a flag gives us."""
    advertised = [app.advertise[0] for app in settings.apps if app.advertise is not None]
    where = settings.listen.where
    listened = [where.host] if isinstance(where, TcpPort) and where.host else []
    return (*settings.hosts, *machine_names(), *listened, *advertised)


def http(settings: Settings) -> HTTPLimits:
    """Of the HTTP server."""
    given = settings.http
    return HTTPLimits(
        max_header=given.max_header,
        max_body=given.max_body,
        header_timeout=given.header_timeout,
        body_timeout=given.body_timeout,
        idle_timeout=given.idle_timeout,
        queue_timeout=given.queue_timeout,
        max_connections=given.max_connections,
        shares=given.shares,
    )


def policy(settings: Settings) -> CallPolicy:
    """Of calls whose callers say nothing."""
    return CallPolicy(settings.client.request_timeout, settings.client.retries, settings.client.retry)


def registration(settings: Settings) -> RegistrationLimits:
    """Of one registration."""
    http = settings.http
    return RegistrationLimits(http.max_nodes, http.max_endpoints, http.max_values)


def outbox(settings: Settings) -> OutboxLimits:
    """Of what waits for one subscriber."""
    broker = settings.broker
    return OutboxLimits(broker.outbox, broker.outbox_messages, broker.slow)


def memory(settings: Settings, reactor: Any) -> MemoryBudget:
    """Of what is kept for all peers together."""
    return MemoryBudget(settings.http.max_memory or usual_limit(), reactor.seconds, TrimAfterwards(reactor))


def websockets(settings: Settings, reactor: Any, budget: MemoryBudget, others: Callable[[], int]) -> WebSockets:
    """All of them. :param others: how many subscriptions there are that are no WebSockets."""
    broker = settings.broker
    return WebSockets(
        reactor,
        max_message=broker.max_message,
        max_connections=broker.max_connections,
        max_incomplete=broker.max_incomplete,
        ping_interval=broker.ping_interval,
        ping_timeout=broker.ping_timeout,
        others=others,
        budget=budget,
    )


def queued(*sites: SidecarSite | None) -> dict[str, int]:
    """What waits for its turn on all our ports, and what was refused. :param sites: None where an app has no port."""
    found = [site.admission.stats() for site in sites if site is not None]
    return {name: sum(each[name] for each in found) for name in found[0]}
