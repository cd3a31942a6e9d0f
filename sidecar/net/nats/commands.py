"""What passes between the two sides of a NATS link."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from attrs import define, frozen
from twisted.internet.defer import Deferred

from sidecar.net.errors import NetError


@define(eq=False)
class Interest:
    """A standing subscription; it outlives connections.

    :ivar deliver: called with subject, reply subject and payload, on the reactor's thread.
    """

    subject: str
    deliver: Callable[[str, str, bytes], None]
    queue: str = ""
    active: bool = True


@frozen(eq=False)
class Publication:
    subject: str
    payload: bytes
    reply: str
    done: Deferred[None]


@frozen(eq=False)
class Alteration:
    """An interest was taken up or given up."""

    interest: Interest
    done: Deferred[None]


Command = Publication | Alteration
#: A message on its way to the reactor: whose, subject, reply subject, payload.
Arrival = tuple[Interest, str, str, bytes]


class NatsListener(Protocol):
    """Who is told, on the reactor's thread."""

    def up(self, address: str, max_payload: int) -> None: ...
    def down(self, detail: str) -> None: ...
    def arrived(self, batch: list[Arrival], size: int) -> None: ...
    def finished(self, results: list[tuple[Command, NetError | None]]) -> None: ...
    def dropped_one(self, subject: str) -> None: ...
