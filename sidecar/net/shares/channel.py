"""HTTP/1.1 for those who may not have all: peers with a share, and who comes when there are too many connections.

Who is always let in has the plain channel, and pays nothing for this.
"""

from __future__ import annotations

from typing import Final

from sidecar.net.errors import RequestRefused
from sidecar.net.http import states
from sidecar.net.http.channel import HTTPChannel
from sidecar.net.http.request import SlimRequest
from sidecar.net.http.server import is_urgent
from sidecar.net.peers import PeerUse

#: Seconds in which one connection too many has to ask, before it is told or closed.
ASK_SOON: Final = 0.25

#: Connections of one peer beyond its share that are told so; more are just cut.
TOLD_OF_ONE_PEER: Final = 64


class LimitedChannel(HTTPChannel):
    """One connection. :ivar use: what its peer has, None for one that may have all."""

    use: PeerUse | None = None
    _reserved = False  # it is one of the few beyond the limit that are for newcomers: it asks once
    _refusal = ""  # why nothing but /health is answered

    def connectionMade(self) -> None:
        site = self.site
        self._reserved = site.full
        if site.crowded:
            most = site.limits.max_connections
            self._refusal = f"{most} connections are open, which is the limit (--max_connections): try again later"
        super().connectionMade()
        if self.use is not None:
            over = self.use.count("connections") - self.use.shares.connections
            if over > TOLD_OF_ONE_PEER:
                self.abort()
                return
            if over > 0:
                self._refusal = self.use.problem("connections")
        if self._reserved or self._refusal:
            self.deadline = min(self.deadline, site.now + ASK_SOON)

    def timed_out(self) -> None:
        if self._refusal and self._state in (states.IDLE, states.HEADER):
            self._refuse(503, self._refusal)
        else:
            super().timed_out()

    @property
    def idle(self) -> bool:
        """Whoever is there for one request alone ends by a deadline of its own, which is short."""
        return super().idle and not self._reserved

    @property
    def gone_next(self) -> tuple[int, float] | None:
        """In which order such connections are cut where even they are too many: first those whose clients have only to
        take the refusal, then those that have asked nothing. None for what is not to be cut."""
        if self._state == states.CLOSING and self._reserved:
            return 0, self.deadline
        return (1, self.deadline) if self._state == states.IDLE and self._refusal else None

    def _hand_over(self, request: SlimRequest, move: str) -> None:
        if self._reserved or self._refusal:
            self.persistent = False
            if self._refusal and not is_urgent(request.path):
                raise RequestRefused(503, self._refusal)
        use = self.use
        if use is not None:
            if use.requests >= use.shares.requests and not is_urgent(request.path):
                problem = use.problem("requests")
                if problem:
                    raise RequestRefused(503, problem)
            use.requests += 1
        HTTPChannel._hand_over(self, request, move)

    def _count_out(self) -> None:
        super()._count_out()
        if self.use is not None:
            self.use.release("requests")

    def requestDone(self, request: SlimRequest) -> None:
        if self.use is not None:
            self.use.requests -= 1  # it has this connection, so that it is not without anything
        HTTPChannel.requestDone(self, request)
