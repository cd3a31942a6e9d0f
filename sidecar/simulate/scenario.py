"""What happens in a simulation: a list of actions, made of a seed, each with its time."""

from __future__ import annotations

from random import Random
from typing import Final

from attrs import frozen

#: Nodes of the service that is called, subscribers, and virtual seconds of a scenario.
NODES: Final = ("node-1", "node-2", "node-3")
SUBSCRIBERS: Final = 4
TOPICS: Final = ("news", "sport")
LASTS: Final = 60.0

#: What can happen, and how often beside the others.
_WEIGHTS: Final = {
    "call": 60,
    "register": 10,
    "renew": 6,
    "deregister": 4,
    "look": 10,
    "publish": 25,
    "subscribe": 6,
    "leave": 3,
    "crash": 2,
    "freeze": 2,
    "part": 2,
    "lie": 2,
    "slow": 3,
    "pause": 0.5,
    "set": 1,
}


@frozen
class Action:
    """One thing that happens. :ivar at: virtual seconds. :ivar number: unique in the scenario.

    :ivar who: whom it happens to. :ivar seconds: how long, or by how much. :ivar topic: of messages.
    """

    at: float
    kind: str
    number: int
    who: str = ""
    seconds: float = 0.0
    topic: str = ""

    def told(self) -> str:
        """In words, on one line."""
        seconds = f"{self.seconds:.3f} s" if self.seconds else ""
        words = (f"at {self.at:.3f} s", self.kind, f"#{self.number}", self.who, self.topic, seconds)
        return "  ".join(word for word in words if word)


def make(seed: int, count: int = 120) -> tuple[Action, ...]:
    """:returns: the scenario of ``seed``, the same each time. :param count: actions."""
    chance = Random(seed)  # nosec: not for secrets
    kinds = chance.choices(list(_WEIGHTS), list(_WEIGHTS.values()), k=count)
    times = sorted(chance.uniform(0.5, LASTS) for _ in kinds)
    return tuple(_one(chance, number, at, kind) for number, (at, kind) in enumerate(zip(times, kinds, strict=True)))


def _one(chance: Random, number: int, at: float, kind: str) -> Action:
    node = chance.choice(NODES)
    if kind in ("register", "renew", "deregister", "look"):
        return Action(at, kind, number, f"app-{chance.randrange(5)}", chance.choice((2.0, 5.0, 20.0, 120.0)))
    if kind in ("subscribe", "leave"):
        return Action(at, kind, number, str(chance.randrange(SUBSCRIBERS)), 0.0, chance.choice(TOPICS))
    if kind == "publish":
        return Action(at, kind, number, "", 0.0, chance.choice(TOPICS))
    if kind == "pause":
        return Action(at, kind, number, "sidecar", chance.uniform(1, 60))
    if kind == "set":
        return Action(at, kind, number, "sidecar", chance.uniform(-7200, 7200))
    if kind == "call":
        return Action(at, kind, number, "", chance.choice((0.3, 1.0, 5.0)))
    return Action(at, kind, number, node, chance.uniform(0.5, 15))
