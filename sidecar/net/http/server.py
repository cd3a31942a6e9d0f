"""What the parts of a server see of one another: a channel of its site, a site of its channels, a request of both."""

from __future__ import annotations

from typing import Any, Protocol

from twisted.internet.interfaces import IAddress, IReactorTime
from twisted.python.failure import Failure

from sidecar.net.http.events import Fields
from sidecar.net.http.limits import HTTPLimits
from sidecar.net.memory import MemoryBudget
from sidecar.net.peers import PeerUse
from sidecar.net.reactor.admission import Admission


def is_urgent(path: bytes) -> bool:
    """Whether a path waits for nobody: how the sidecar is. (A service may be called ``healthy``.)"""
    return path == b"/health" or path.startswith(b"/health/")


class Recorder(Protocol):
    """Keeps count of answers."""

    def record(self, status: int, seconds: float, path: bytes, now: float) -> None:
        """An answer was given.

        :param seconds: from the end of its request. :param path: what was asked, b"" for what is no request.
        :param now: by the site's clock.
        """


class BodyReceiver(Protocol):
    """Takes the body of a request as it comes. See :meth:`~sidecar.net.http.request.SlimRequest.stream_body`."""

    def received(self, data: bytes) -> None:
        """A piece of it, never empty."""

    def ended(self, trailers: Fields) -> None:
        """It was the last. :param trailers: the fields that followed a body in chunks, as received."""


class Connection(Protocol):
    """A channel, as its site sees it.

    :ivar deadline: when the site's sweep is to call :meth:`timed_out`, by its ``now``.
    :ivar idle: nothing is asked that has no answer yet.
    """

    transport: Any
    deadline: float

    @property
    def idle(self) -> bool: ...

    def timed_out(self) -> None:
        """The deadline has passed."""

    def close_if_idle(self) -> None:
        """Close now, if nothing is asked that has no answer yet."""

    def continue_reading(self) -> None:
        """It is this connection's turn again: answer one of the requests that wait."""


class Host(Protocol):
    """The site, as its channels and requests see it.

    :ivar now: what the clock said a moment ago: good enough for deadlines of seconds, and free.
    :ivar preamble: ``Server`` and ``Date`` lines for every answer.
    :ivar in_flight: requests whose header is complete and whose answer is not. Channels count it up and down.
    :ivar budget: what may be kept for all peers together. Channels tell it what they keep.
    :ivar overloaded: header lines and body for a request that waited for too long.
    :ivar admission: says whether a request is begun at once, or waits.
    :ivar draining: answers go out with ``Connection: close``.
    :ivar full: there are as many connections as there may be; a channel that is made now is one of the reserve.
    :ivar crowded: the reserve is used up too; a channel that is made now has to say so.
    """

    limits: HTTPLimits
    clock: IReactorTime
    now: float
    preamble: bytes
    in_flight: int
    budget: MemoryBudget
    admission: Admission
    overloaded: tuple[bytes, bytes]
    recorder: Recorder | None
    draining: bool
    full: bool
    crowded: bool

    def opened(self, channel: Connection) -> PeerUse | None:
        """``channel`` has a connection: watch its deadline.

        :returns: what its peer has, None for one that may have all."""

    def closed(self, channel: Connection) -> None:
        """It has none any more."""

    def later(self, channel: Connection) -> None:
        """``channel`` had its share of this turn of the reactor: have it continue in its turn among the others."""

    def answered(self) -> None:
        """While draining: ``in_flight`` went down."""

    def refusal(self, status: int, detail: str) -> tuple[bytes, bytes]:
        """:returns: the header lines and the body that tell a client why its request is not taken."""

    def failed(self, reason: Failure) -> tuple[int, bytes, bytes]:
        """A resource failed. :returns: the status, header lines and body to answer."""

    def getResourceFor(self, request: Any) -> Any:
        """:returns: the resource for a request, as twisted.web's Site does."""


class RequestChannel(Protocol):
    """A channel, as its request sees it.

    :ivar transport: None once the connection was taken over.
    :ivar persistent: whether the connection stays open after the answer.
    """

    transport: Any
    site: Host
    persistent: bool

    def following(self) -> bytes:
        """What came after the header of a request that asks for another protocol."""

    def body_wanted(self, wanted: bool) -> None:
        """Go on with the body that is coming, or keep it from coming."""

    @property
    def body_follows(self) -> bool:
        """More of the body is here already and comes in this very turn."""

    def upgrade_declined(self) -> None:
        """The request at hand is answered as one that asks for no other protocol."""

    def give_away(self) -> tuple[Any, bytes]:
        """The connection belongs to another protocol from now on. :returns: its transport, and what came on it."""

    def answering_whole(self) -> None:
        """The whole answer is about to be written: nothing more of a body that is still coming is wanted."""

    def requestDone(self, request: Any) -> None:
        """The answer is written."""

    def abort(self) -> None:
        """Cut the connection: an answer cannot be completed, and the client must be able to see that."""

    def unregisterProducer(self) -> None:
        """The request's producer has nothing more to produce."""

    def getPeer(self) -> IAddress: ...

    def getHost(self) -> IAddress: ...
