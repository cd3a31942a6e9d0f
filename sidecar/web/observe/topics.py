"""What passes on each topic, and who does not keep up."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final, Protocol

from attrs import define, field

from sidecar.pubsub.counters import PubSubCounters, TopicTraffic
from sidecar.pubsub.subscriber import SubscribeRequest
from sidecar.stats.windows import rate

#: Topics that are told of, and subscribers that do not keep up of each.
MAX_TOPICS: Final = 100
_MAX_SLOW: Final = 5


class _Subscriber(Protocol):
    @property
    def asked(self) -> SubscribeRequest: ...

    @property
    def lag(self) -> int: ...


class ITopics(Protocol):
    """What is asked for the numbers."""

    counters: PubSubCounters

    def members(self) -> Iterable[tuple[str, str | None, Any]]:
        """Who hears what now: topic, queue or None, subscriber."""


@define(eq=False)
class TopicRates:
    """Tells of each topic what passed since it was asked before."""

    _topics: ITopics
    _before: dict[str, tuple[int, int, int]] = field(factory=dict, init=False)

    def __call__(self, seconds: float) -> list[dict[str, Any]]:
        """:param seconds: since it was asked before. :returns: the busiest topics, as JSON-like data."""
        found: dict[str, dict[str, Any]] = {}
        for topic, queue, subscriber in self._topics.members():
            told = found.get(topic)
            if told is None:
                told = found[topic] = _nothing(topic)
            told["subscribers"] += 1
            if queue is not None:
                told["queues"][queue] = told["queues"].get(queue, 0) + 1
            lag = subscriber.lag
            if lag:
                told["lag"] += lag
                told["slow"].append((lag, queue, subscriber))
        counted, before = self._topics.counters.topics, self._before
        self._before = {name: _numbers(traffic) for name, traffic in counted.items()}
        for name, now in self._before.items():
            passed = [after - then for after, then in zip(now, before.get(name, (0, 0, 0)), strict=True)]
            if name in found or any(passed):
                told = found.setdefault(name, _nothing(name))
                told["in"], told["out"], told["dropped"] = (rate(count, seconds) for count in passed)
                told["dropped_total"] = now[2]
        busiest = sorted(found.values(), key=lambda told: (-told["in"] - told["out"], told["topic"]))[:MAX_TOPICS]
        for told in busiest:
            told["groups"] = len(told["queues"])
            told["slow"] = [_slow(*each) for each in sorted(told["slow"], key=lambda each: -each[0])[:_MAX_SLOW]]
        return busiest


def _nothing(topic: str) -> dict[str, Any]:
    return {
        "topic": topic,
        "subscribers": 0,
        "groups": 0,
        "queues": {},
        "in": 0.0,
        "out": 0.0,
        "dropped": 0.0,
        "dropped_total": 0,
        "lag": 0,
        "slow": [],
    }


def _numbers(traffic: TopicTraffic) -> tuple[int, int, int]:
    return traffic.published, traffic.delivered, traffic.dropped


def _slow(lag: int, queue: str | None, subscriber: _Subscriber) -> dict[str, Any]:
    caller = subscriber.asked.caller
    return {"queue": queue, "caller": caller.name or caller.address, "lag": lag}
