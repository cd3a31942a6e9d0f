"""One answer of Server-Sent Events: written as its reader takes it, bounded for one that does not."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, Final, Protocol

from twisted.internet.interfaces import IPushProducer
from zope.interface import implementer

from sidecar.net.memory import MemoryBudget

#: Bytes that are written at a time: what is larger goes out in pieces, as the reader takes them.
PIECE: Final = 64 * 1024
#: Bytes of events that may wait for a reader, besides the one that is going out; with more it is closed.
OUTBOX: Final = 1024 * 1024
#: Bytes that one event takes of us besides its own, which others may share.
OVERHEAD: Final = 56
#: Pieces that are written to one reader in a turn of the reactor.
_AT_ONCE: Final = 4


class StreamOwner(Protocol):
    """What a stream needs of whoever opened it.

    :ivar budget: told of what waits for readers, None for nobody.
    """

    budget: MemoryBudget | None

    def stream_gone(self, stream: EventStream, slow: bool) -> None:
        """It is over. Called once. :param slow: since its reader was too slow."""

    def later(self, work: Callable[[], object]) -> None:
        """Do ``work`` in a later turn of the reactor."""


@implementer(IPushProducer)
class EventStream:
    """A reader of events. Open one by :meth:`sidecar.web.events.longanswers.LongAnswers.stream`.

    :ivar open: whether there is still somebody to write to.
    """

    __slots__ = (
        "_counted",
        "_going",
        "_owner",
        "_paused",
        "_request",
        "_sent",
        "_size",
        "_source",
        "_turn",
        "_waiting",
        "open",
    )

    def __init__(self, request: Any, owner: StreamOwner) -> None:
        """:param request: whose answer has begun."""
        self._request = request
        self._owner = owner
        self._paused = False
        self._waiting: deque[bytes] | None = None  # None, as for most, while all that was sent went out
        self._size = 0  # bytes of them
        self._source: Iterator[bytes] | None = None  # what goes out before them
        self._going: bytes | None = None  # what is going out in pieces
        self._sent = 0  # bytes of it that are out
        self._turn = False  # we have asked for another turn
        self._counted = False  # the budget knows of us
        self.open = True
        request.on_lost = self._lost
        request.registerProducer(self, True)

    def send(self, event: bytes) -> None:
        """Write an event (see :mod:`sidecar.wire.events`). Many may be sent the same bytes, which are kept once.

        A reader that is over its bound is cut off, and told of as gone.
        """
        if not self.open:
            return
        if self._waiting is None:
            if not self._paused and len(event) <= PIECE:
                self._request.write(event)
                return
            self._waiting = deque()
        self._waiting.append(event)
        self._size += len(event)
        self._pump()
        if self.open and (self._size > OUTBOX or not self._may_keep()):
            self.shed()

    def _may_keep(self) -> bool:
        """Tell the budget of all what waits. :returns: whether it may."""
        waiting, budget = self._waiting, self._owner.budget
        if budget is None or (waiting is None and not self._counted):
            return True
        self._counted = waiting is not None
        return budget.changed(self, self._size + OVERHEAD * (len(waiting) + 1) if waiting is not None else 0, "events")

    def shed(self) -> None:
        """Too much waits, here or, as the budget says, for all together: cut the reader off."""
        if self.open:
            channel = self._request.channel
            self._over(slow=True)
            if channel is not None:
                channel.transport.abortConnection()

    def send_all(self, source: Iterator[bytes]) -> None:
        """Write all that ``source`` gives, taken from it as the reader takes it, before what is sent later."""
        if self.open:
            self._source = source
            self._waiting = self._waiting or deque()
            self._pump()

    def heartbeat(self, comment: bytes) -> None:
        """Write ``comment``, unless the reader has enough to read."""
        if self.open and not self._paused and self._waiting is None:
            self._request.write(comment)

    def end(self) -> None:
        """End the answer in good order: what waits goes out, and no more comes."""
        if not self.open:
            return
        rest = [self._going[self._sent :]] if self._going is not None else []
        if self._source is None and self._waiting:
            rest += self._waiting  # else there would be a gap
        if rest:
            self._request.write(b"".join(rest))
        request = self._request
        self._over(slow=False)
        request.unregisterProducer()
        request.finish()

    # --- What the reader's transport tells --------------------------------------------------------------------------

    def pauseProducing(self) -> None:
        self._paused = True

    def resumeProducing(self) -> None:
        self._paused = False
        self._pump()
        if self.open and not self._may_keep():
            self.shed()

    def stopProducing(self) -> None:
        self._paused = True

    def _pump(self) -> None:
        """Write of what waits as much as the reader takes, and a turn allows."""
        self._load()
        left = _AT_ONCE
        while self._going is not None and not self._paused and self.open and not self._turn:
            if not left:
                self._turn = True
                self._owner.later(self._next_turn)
                return
            left -= 1
            piece = self._going[self._sent : self._sent + PIECE]
            self._sent += len(piece)
            if self._sent >= len(self._going):
                self._going = None
                self._load()
            self._request.write(piece)

    def _next_turn(self) -> None:
        self._turn = False
        self._pump()

    def _load(self) -> None:
        """See what is next to go out, where nothing is going out."""
        if self._going is not None or self._waiting is None:
            return
        self._sent = 0
        if self._source is not None:
            self._going = next(self._source, None)
            if self._going is not None:
                return
            self._source = None
        if self._waiting:
            self._going = self._waiting.popleft()
            self._size -= len(self._going)
        else:
            self._waiting = None
            self._may_keep()

    # --- Its end ----------------------------------------------------------------------------------------------------

    def _lost(self) -> None:
        if self.open:
            self._over(slow=False)

    def _over(self, slow: bool) -> None:
        self.open = False
        self._waiting = self._source = self._going = None
        self._may_keep()
        self._request = None
        self._owner.stream_gone(self, slow)
