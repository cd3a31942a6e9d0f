"""Opens streams to nodes, in the dialect that each node speaks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from attrs import define, field
from twisted.application import service
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from zope.interface import implementer

from sidecar.errors import BadRequest, ConnectFailed, NotSent, SidecarError
from sidecar.interfaces import ISelector, IStream, IStreamListener, IStreamTransport
from sidecar.model import Attempt, Call, Node, Outcome
from sidecar.rpc import targets
from sidecar.rpc.attempts import outcome_of, told

#: What a node's ``protocol`` metadata says where it speaks plain HTTP.
_PLAIN_HTTP: Final = "http"


class Streams(service.Service):
    """Chooses a node and opens a stream to it. The node counts as busy until the stream is over."""

    def __init__(
        self,
        selector: ISelector,
        clock: IReactorTime,
        mucp: IStreamTransport,
        others: Mapping[str, IStreamTransport],
        any_address: bool = False,
    ) -> None:
        """:param mucp: opens streams to nodes whose ``protocol`` says nothing that we know.
        :param others: by what ``protocol`` says. :param any_address: as for calls."""
        self._selector = selector
        self._clock = clock
        self._mucp = mucp
        self._others = others
        self._any_address = any_address
        self._open: set[_OpenStream] = set()

    @property
    def open_streams(self) -> int:
        return len(self._open)

    def stopService(self) -> None:
        super().stopService()
        for stream in list(self._open):
            stream.close()

    async def open(self, call: Call, listener: IStreamListener) -> IStream:
        """Open a stream to a node of ``call.service``; the next one is tried where one cannot be reached.

        :raises NotFound: no such service. :raises Forbidden: no node of it is at the address that the call names.
        :raises CallError: no node could be reached.
        """
        found = targets.first(self._selector, call, self._any_address)
        node: Node | None = await found if isinstance(found, Deferred) else found
        assert node is not None
        others = targets.others(self._selector, call, node)
        attempts: list[Attempt] = []
        while node is not None:
            began = self._clock.seconds()
            try:
                return await self._to(node, call, listener)
            except (ConnectFailed, NotSent) as error:
                took = (self._clock.seconds() - began) * 1000
                refused, why = Outcome.REFUSED, "it cannot have run"
                attempts.append(Attempt(node, node.hostport, 0.0, took, 0.0, refused, str(error), "retry", why))
            node = next(others, None)
        raise ConnectFailed(
            f"{call.service} {call.method}: no stream could be opened: {told(attempts)}", tuple(attempts)
        )

    async def _to(self, node: Node, call: Call, listener: IStreamListener) -> IStream:
        protocol = node.metadata.get("protocol", "")
        if protocol == _PLAIN_HTTP:
            raise BadRequest(f"service: {call.service} speaks plain HTTP, which has no streams; call it through /rpc")
        opening = _OpenStream(self._selector, node, listener, self._open)
        self._selector.began(node)
        try:
            opening.stream = await self._others.get(protocol, self._mucp).open(node, call, opening)
        except BaseException as error:
            opening.over(Outcome.CANCELLED if isinstance(error, CancelledError) else outcome_of(error))
            raise
        if not opening.is_over:
            self._open.add(opening)
        return opening


@implementer(IStream, IStreamListener)
@define(eq=False)
class _OpenStream:
    """Stands between a stream and its listener, so that the selector hears of the end once, whoever ends it."""

    _selector: ISelector
    _node: Node
    _listener: IStreamListener
    _open: set[_OpenStream]
    stream: IStream | None = field(default=None, init=False)
    is_over: bool = field(default=False, init=False)

    def over(self, outcome: Outcome) -> None:
        """It ended; telling it twice is no error."""
        if not self.is_over:
            self.is_over = True
            self._open.discard(self)
            self._selector.ended(self._node, outcome)

    # --- IStream ----------------------------------------------------------------------------------------------------

    def send(self, payload: bytes) -> None:
        if self.stream is not None:
            self.stream.send(payload)

    def end(self) -> None:
        if self.stream is not None:
            self.stream.end()

    def pause(self) -> None:
        if self.stream is not None:
            self.stream.pause()

    def resume(self) -> None:
        if self.stream is not None:
            self.stream.resume()

    def close(self) -> None:
        self.over(Outcome.CANCELLED)
        if self.stream is not None:
            self.stream.close()

    # --- IStreamListener --------------------------------------------------------------------------------------------

    def message(self, payload: bytes) -> None:
        self._listener.message(payload)

    def stream_ended(self) -> None:
        self.over(Outcome.ANSWERED)
        self._listener.stream_ended()

    def failed(self, error: SidecarError) -> None:
        self.over(outcome_of(error))
        self._listener.failed(error)
