"""What a registry without a server needs of the wire, and what the wire tells it: questions, answers, announcements."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from twisted.application.service import IService
from twisted.internet.defer import Deferred

from sidecar.model import Service


class PeerListener(Protocol):
    """Who is told what comes in, and asked for what is registered here."""

    def own(self, name: str) -> tuple[Service, ...]:
        """What a question for ``name`` is to be answered with."""

    def own_names(self) -> tuple[str, ...]:
        """The names of what is registered here."""

    def on_announced(self, service: Service) -> None:
        """A peer has the nodes of ``service``, by an announcement or an answer."""

    def on_goodbye(self, name: str, ids: Iterable[str]) -> None:
        """A peer takes these nodes of its own out."""

    def on_name(self, name: str) -> None:
        """A peer has a service of this name."""

    def on_up(self) -> None:
        """The peers can be reached (again)."""

    def on_down(self) -> None:
        """The peers can no longer be reached."""

    def report_malformed(self, record: str, why: str) -> None:
        """A record cannot be read."""


class PeerTransport(Protocol):
    """How questions and answers travel between peers.

    :ivar heartbeat: seconds between two announcements of what is registered here, None where one is enough.
    """

    kind: str
    heartbeat: float | None

    def attach(self, listener: PeerListener) -> IService:
        """Tell ``listener`` what comes in. :returns: the service to start and stop with it."""

    def first_attempt(self) -> Deferred[None]:
        """:returns: fires when it was tried for the first time to reach the peers, whatever came of it."""

    def state(self) -> tuple[bool, str]:
        """Whether the peers can be reached, and if not, why."""

    def check(self, service: Service) -> None:
        """:raises BadRequest: this transport cannot carry ``service``."""

    def query(self, name: str) -> Deferred[None]:
        """Ask who has nodes of ``name``. :returns: fires when the question is out."""

    def query_names(self) -> Deferred[None]:
        """Ask everybody for the names of their services."""

    def announce(self, service: Service, news: bool) -> Deferred[None]:
        """Tell everybody of nodes that are registered here. :param news: False for a mere renewal."""

    def withdraw(self, service: Service) -> Deferred[None]:
        """Tell everybody that these nodes, which were registered here, are gone."""
