"""What the daemon can tell of itself, by name: for ``/stats`` and ``/metrics``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from attrs import asdict

from sidecar.daemon.calling.nodes import Transports
from sidecar.daemon.localapps import LocalApps
from sidecar.interfaces import IBroker, IRegistry
from sidecar.rpc.client import Client
from sidecar.rpc.selector import Selector
from sidecar.rpc.streams import Streams
from sidecar.stats.labelled import CallMetrics
from sidecar.websocket.sessions.pubsub import PubSubSessions


def facts(
    registry: IRegistry,
    broker: IBroker,
    selector: Selector,
    client: Client,
    calls: CallMetrics,
    calling: Transports,
    streams: Streams,
    pubsub: PubSubSessions,
    apps: LocalApps,
) -> dict[str, Callable[[], object]]:
    """What /stats tells besides the numbers of the original."""
    return {
        "registry": lambda: _state(registry),
        "broker": lambda: _state(broker),
        "calls": lambda: {
            "in_flight": client.in_flight,
            "succeeded": calls.succeeded,
            "faulted": calls.faulted,
            "timed_out": calls.timed_out,
            "failed": calls.failed,
            "cancelled": calls.cancelled,
            "retried": calls.retried,
            "streams": streams.open_streams,
        },
        "pools": lambda: asdict(calling.occupancy),
        "ejected": lambda: [asdict(each) for each in selector.ejected()],
        "ejections": lambda: selector.ejections,
        "websockets": pubsub.stats,
        "app": apps.stats,
    }


def _state(backend: IRegistry | IBroker) -> dict[str, object]:
    state = backend.state()
    return {**asdict(state), "stale": state.stale_since is not None}


def away(registry: IRegistry, broker: IBroker) -> tuple[str, ...]:
    """What is wrong with the engines and keeps nobody from being called."""
    catalog, messages = registry.state(), broker.state()
    found = []
    if not catalog.connected:
        found.append(f"{catalog.kind} is away, answering from memory: {catalog.detail}")
    if not messages.connected:
        found.append(f"{messages.kind} is away, messages neither come nor go: {messages.detail}")
    return tuple(found)


def apps_told(apps: LocalApps) -> list[dict[str, Any]]:
    """Our apps, each with what its checks said last, and why it is kept out of the registry, if it is."""
    out = apps.away()
    return [{**app.stats(), "kept_out": out.get(app.name, "")} for app in apps.apps]
