"""What a channel needs of the factory that made it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from sidecar.net.http.limits import HTTPLimits

if TYPE_CHECKING:
    from sidecar.net.http.channel import HTTPChannel


class Recorder(Protocol):
    """Keeps count of answers."""

    def record(self, status: int, seconds: float) -> None:
        """An answer was given. :param seconds: from the end of its request."""


class Host(Protocol):
    """The site, as its channels and requests see it.

    :ivar now: what the clock said a moment ago: good enough for deadlines of seconds, and free.
    :ivar preamble: ``Server`` and ``Date`` lines for every answer.
    :ivar in_flight: requests whose header is complete and whose answer is not. Channels count it up and down.
    :ivar buffered: bytes of incomplete bodies on all connections, likewise.
    :ivar draining: answers go out with ``Connection: close``.
    :ivar full: there are as many connections as there may be; a channel that is made now has to say so.
    """

    limits: HTTPLimits
    clock: IReactorTime
    now: float
    preamble: bytes
    in_flight: int
    buffered: int
    recorder: Recorder | None
    draining: bool
    full: bool

    def opened(self, channel: HTTPChannel) -> None:
        """``channel`` has a connection: watch its deadline."""

    def closed(self, channel: HTTPChannel) -> None:
        """It has none any more."""

    def answered(self) -> None:
        """While draining: ``in_flight`` went down."""

    def refusal(self, status: int, detail: str) -> tuple[bytes, bytes]:
        """:returns: the header lines and the body that tell a client why its request is not taken."""

    def failed(self, reason: Failure) -> tuple[int, bytes, bytes]:
        """A resource failed. :returns: the status, header lines and body to answer."""

    def getResourceFor(self, request: Any) -> Any:
        """:returns: the resource for a request, as twisted.web's Site does."""
