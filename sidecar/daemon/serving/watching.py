"""Puts together what tells of changes in the registry."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from random import Random
from typing import Any

from sidecar.interfaces import IRegistry
from sidecar.registry.journal import Journal
from sidecar.registry.journalfanout import JournalFanout
from sidecar.waiting import wall
from sidecar.web.catalog.blocking import BlockingReads
from sidecar.web.catalog.past import PastCatalog
from sidecar.web.catalog.reads import RegistryReads
from sidecar.web.catalog.watch import WatchResource, WatchUpgrade
from sidecar.web.cors import CorsPolicy
from sidecar.web.events.longanswers import LongAnswers
from sidecar.websocket.sessions.watch import WatchSessions
from sidecar.websocket.sockets import WebSockets


def watching(
    registry: IRegistry,
    journal: Journal,
    reactor: Any,
    chance: Random,
    lasting: LongAnswers,
    sockets: WebSockets,
    cors: CorsPolicy,
) -> tuple[RegistryReads, WatchResource, Callable[[], dict[str, int]]]:
    """:returns: what answers a GET of ``/registry``, and one of ``/registry/watch``; numbers for ``/stats``."""
    date = partial(wall, reactor)
    fanout = JournalFanout(journal, reactor)
    sessions = WatchSessions(fanout, sockets)
    upgrade = WatchUpgrade(sessions, cors)
    blocking = BlockingReads(journal, reactor, lasting, chance)
    reads = RegistryReads(registry, PastCatalog(journal, date), blocking, upgrade.open)

    def stats() -> dict[str, int]:
        return {"open": lasting.open, "refused": lasting.refused, "slow": lasting.slow + sessions.slow}

    return reads, WatchResource(fanout, lasting, date), stats
