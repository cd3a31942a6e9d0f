"""The engines of registry and broker, for people: how they are, and since when."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from attrs import define, field

from sidecar.interfaces import IBroker, IRegistry
from sidecar.wire.registry.journal import date


@define(eq=False)
class EngineStates:
    """The engines of registry and broker, each with since when it is as it is."""

    _registry: IRegistry
    _broker: IBroker
    _wall: Callable[[], float]
    _since: dict[tuple[str, str], tuple[bool, float]] = field(factory=dict)

    def __attrs_post_init__(self) -> None:
        self.told()

    def look(self) -> None:
        """See whether one of them is otherwise than before."""
        self.told()

    def told(self) -> list[dict[str, Any]]:
        """As JSON-like data; ``since`` is when it was first seen as it is."""
        several = getattr(self._registry, "states", None)
        states = [("registry", each) for each in (several() if several else (self._registry.state(),))]
        now = self._wall()
        found = []
        for role, state in (*states, ("broker", self._broker.state())):
            connected, since = self._since.get((role, state.kind), (None, now))
            if connected is not state.connected:
                since = state.stale_since or now
                self._since[role, state.kind] = (state.connected, since)
            found.append(
                {
                    "role": role,
                    "kind": state.kind,
                    "connected": state.connected,
                    "stale": state.stale_since is not None,
                    "since": date(since),
                    "detail": state.detail,
                }
            )
        return found
