"""Parts of the daemon that do nothing but take their time when it stops."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from attrs import define
from twisted.application import service
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import deferLater


@define(eq=False, slots=False)
class Pause(service.Service):
    """Stopping means giving the news that the apps have left time to spread. :ivar seconds: how long."""

    clock: Any
    seconds: float

    def stopService(self) -> Deferred[None] | None:
        super().stopService()
        return deferLater(self.clock, self.seconds) if self.seconds else None


@define(eq=False, slots=False)
class Drain(service.Service):
    """Stopping means waiting for the calls in flight, on all ports at once. :ivar patience: seconds."""

    drains: tuple[Callable[[float], Deferred[None]], ...]
    patience: float

    def stopService(self) -> Deferred[None]:
        super().stopService()
        return gatherResults([drain(self.patience) for drain in self.drains]).addCallback(lambda _: None)
