"""What a registry without a store needs of an engine: somebody to ask, to answer and to announce for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from twisted.application.service import IService
from twisted.internet.defer import Deferred

from sidecar.model import Service

if TYPE_CHECKING:
    from sidecar.registry.peers.registry import PeerRegistry


class PeerTransport(Protocol):
    """How one engine carries questions and answers.

    :ivar heartbeat: seconds between two announcements of what is ours, None where one is enough.
    """

    kind: str
    heartbeat: float | None

    def join(self, chorus: PeerRegistry) -> IService:
        """Speak for ``chorus`` from now on. :returns: the service to start and stop with it."""

    def state(self) -> tuple[bool, str]:
        """Whether the engine can be reached, and if not, why."""

    def check(self, service: Service) -> None:
        """:raises BadRequest: this engine cannot carry ``service``."""

    def ask(self, name: str) -> Deferred[None]:
        """Ask who has nodes of ``name``. :returns: fires when the question is out."""

    def ask_names(self) -> Deferred[None]:
        """Ask everybody for the names of their services."""

    def announce(self, service: Service, news: bool) -> Deferred[None]:
        """Tell everybody of our nodes. :param news: False for a mere renewal."""

    def retract(self, service: Service) -> Deferred[None]:
        """Tell everybody that these nodes of ours are gone."""
