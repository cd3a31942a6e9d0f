"""A request that goes on to a node as it is, and what came back: as values, and as who takes the pieces."""

from __future__ import annotations

from typing import Any, Protocol

from attrs import field

from sidecar.errors import SidecarError
from sidecar.interfaces import ITransport
from sidecar.model import Call, Node, Outcome, Reply, one_a_call  # type: ignore[attr-defined]  # attrs' own to mypy
from sidecar.net.client.streamed.head import ResponseHead
from sidecar.net.http.events import Fields
from sidecar.net.reactor.timerwheel import TimerWheel


class IForwarded(Protocol):
    """What a source may do with the exchange that its request went to."""

    def write(self, data: bytes, more: bool) -> None:
        """Send a piece of the body; after 101, of the other protocol. :param more: it was not the last."""

    def finish(self, trailers: Fields) -> None:
        """The body is whole."""

    def pause(self) -> None:
        """Read no further: the client is slow."""

    def resume(self) -> None:
        """Go on reading."""

    def cancel(self) -> None:
        """The client has left."""

    def close(self) -> None:
        """The client has closed, after all that it had to say."""


class IForwardSource(Protocol):
    """Whose request it is: gives the head, then pieces of the body, and takes the answer.

    :ivar has_body: a body follows the head. :ivar whole: all of it is here, and what :meth:`request` gives.
    :ivar chunked: it goes in chunks. :ivar upgrade: the answer may be 101.
    """

    has_body: bool
    whole: bool
    chunked: bool
    upgrade: bool

    def request(self, node: Node) -> bytes:
        """The head for ``node``; and the body, where that is whole."""

    def connected(self, exchange: IForwarded) -> bool:
        """A node is there: the body may flow. :returns: whether a piece of it is about to come in this very turn."""

    def disconnected(self) -> None:
        """It is gone before a byte of the body went: wait until the next one is there."""

    def pause_request(self) -> None:
        """The node does not take what is sent."""

    def resume_request(self) -> None:
        """It takes it again."""

    def informed(self, head: ResponseHead) -> None:
        """An interim answer came."""

    def answer_data(self, data: bytes) -> None:
        """A piece of the answer's body, after the answer has begun; or of the other protocol."""

    def answer_ended(self, trailers: Fields) -> None:
        """The answer is whole."""

    def answer_broken(self, why: str) -> None:
        """The rest of the answer will not come."""


@one_a_call
class ForwardedRequest(Call):
    """A request of which all goes on to a node. As a call it has the HTTP method for its method.

    :ivar source: whose it is. :ivar transport: takes it there.
    """

    source: IForwardSource = field(kw_only=True, eq=False, repr=False)
    transport: ITransport = field(kw_only=True, eq=False, repr=False)


@one_a_call
class ForwardedReply(Reply):
    """An answer that has begun.

    :ivar body: what is here of its body. :ivar head: status and fields. :ivar ended: that is all of it.
    :ivar exchange: what the rest goes through.
    """

    head: ResponseHead = field(kw_only=True, eq=False)
    ended: bool = field(kw_only=True)
    exchange: IForwarded = field(kw_only=True, eq=False, repr=False)


class ForwardListener(Protocol):
    """Who made the request: an IExchangeListener that also hears of the body, and of the end."""

    def attempt_replied(self, reply: Reply) -> None:
        """The answer has begun."""

    def attempt_failed(self, error: SidecarError) -> None:
        """There will be none."""

    def attempt_connected(self) -> None:
        """A node is there, and the body may flow."""

    def attempt_begun(self) -> None:
        """A byte of the body went: no other node may be tried."""

    def body_ended(self) -> None:
        """All of the body went."""

    def attempt_over(self, outcome: Outcome) -> None:
        """The answer that had begun is whole, or will never be."""

    def give_up(self, error: BaseException) -> None:
        """End the call."""


class ForwardEnvironment(Protocol):
    """What all exchanges share.

    :ivar open: those that are under way. :ivar wheel: wakes those on which nothing moves.
    :ivar idle_timeout: seconds between two pieces of an answer.
    """

    open: set[Any]
    wheel: TimerWheel
    idle_timeout: float
