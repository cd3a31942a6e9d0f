"""Puts together what shows the daemon at work: live numbers, the tap, the calls that failed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from attrs import frozen
from twisted.web.resource import IResource

from sidecar.interfaces import IBroker, IRegistry
from sidecar.rpc.client import Client
from sidecar.rpc.failures import RecentFailures
from sidecar.rpc.selector import Selector
from sidecar.rpc.tap import Tap
from sidecar.stats.labelled import CallMetrics
from sidecar.stats.nodes import NodeMemory
from sidecar.stats.process import ProcessSampler
from sidecar.stats.rates import total
from sidecar.stats.recorder import StatsRecorder
from sidecar.web.events.longanswers import LongAnswers
from sidecar.web.observe.backends import EngineStates
from sidecar.web.observe.live import LiveSources, LiveView
from sidecar.web.observe.services import LiveServices
from sidecar.web.observe.streams import FailuresResource, LiveStreamResource, TapResource
from sidecar.web.observe.topics import TopicRates
from sidecar.websocket.sessions.pubsub import PubSubSessions


@frozen(kw_only=True)
class Observation:
    """What is observed. :ivar strategy: by which nodes are chosen. :ivar sampler: to be started with the daemon.
    :ivar sockets: what is open, by kind. :ivar apps: those beside us, as JSON-like data."""

    reactor: Any
    wall: Callable[[], float]
    strategy: str
    registry: IRegistry
    broker: IBroker
    client: Client
    selector: Selector
    calls: CallMetrics
    memory: NodeMemory
    failures: RecentFailures
    recorder: StatsRecorder
    pubsub: PubSubSessions
    apps: Callable[[], list[dict[str, Any]]]
    sampler: ProcessSampler
    answers: LongAnswers
    sockets: Callable[[], Mapping[str, int]]

    def routes(self) -> dict[str, IResource]:
        """:returns: the resources that show it, by path."""
        engines = EngineStates(self.registry, self.broker, self.wall)
        self.sampler.listen(engines.look)
        sources = LiveSources(
            client=self.client,
            calls=self.calls,
            memory=self.memory,
            ejected=self.selector.ejected,
            answers=lambda: self.recorder.totals,
            sockets=self.sockets,
            topics=TopicRates(self.pubsub),
            engines=engines.told,
            apps=self.apps,
            seconds=self.reactor.seconds,
            wall=self.wall,
        )
        view = LiveView(sources, LiveServices(self.registry, self.reactor), self.sampler)
        tap = Tap(self.client, self.strategy, self.reactor.seconds, self.wall)
        return {
            "/live": LiveStreamResource(view, self.sampler.history, self.answers),
            "/tap": TapResource(tap, self.answers),
            "/errors": FailuresResource(self.failures),
        }


def sampler(reactor: Any, calls: CallMetrics) -> ProcessSampler:
    """Keeps the last hour of the process and its calls."""
    return ProcessSampler(reactor, lambda: total(calls.known()))
