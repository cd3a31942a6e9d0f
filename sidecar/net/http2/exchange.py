"""One exchange of a server of HTTP/2, as far as it has come."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from attrs import define, field, frozen
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall

from sidecar.net.http2.pieces import PieceReceiver
from sidecar.net.http2.stream import Headers


@define(eq=False)
class Exchange:
    """A request and its answer on one stream.

    :ivar since: when it began, or its answer last got on. :ivar shed: has it given up.
    :ivar queued: it is whole, and waits to be served. :ivar counted: whether the budget of all knows of it.
    """

    headers: dict[str, str]
    since: float
    shed: Callable[[], None]
    body: bytearray = field(factory=bytearray)
    serving: Deferred[Any] | None = None
    waiting: IDelayedCall | None = None
    unsent: memoryview = field(factory=lambda: memoryview(b""))
    trailers: Headers = ()
    counted: bool = False
    queued: bool = False
    receiver: PieceReceiver | None = None
    finished: bool = True
    full: bool = False


@frozen
class QueuedExchange:
    """One that waits to be served, as the queue sees it."""

    _open: Callable[[], bool]
    _begin: Callable[[], None]
    _turn_away: Callable[[], None]
    _flush: Callable[[], None]

    def begin_late(self) -> bool:
        return self._do(self._begin)

    def refuse(self, seconds: float) -> bool:
        return self._do(self._turn_away)

    def _do(self, what: Callable[[], None]) -> bool:
        """:returns: whether the peer is still there."""
        if not self._open():
            return False
        what()
        self._flush()
        return True
