"""One answer of Server-Sent Events: written as its reader takes it, bounded for one that does not."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, Final

from twisted.internet.interfaces import IPushProducer
from zope.interface import implementer

#: Bytes that are written at a time: what is larger goes out in pieces, as the reader takes them.
PIECE: Final = 64 * 1024
#: Bytes of events that may wait for a reader, besides the one that is going out; with more it is closed.
OUTBOX: Final = 256 * 1024


@implementer(IPushProducer)
class EventStream:
    """A reader of events. Open one by :meth:`sidecar.web.events.longanswers.LongAnswers.stream`.

    :ivar open: whether there is still somebody to write to.
    """

    __slots__ = ("_gone", "_paused", "_request", "_sent", "_size", "_waiting", "open")

    def __init__(self, request: Any, gone: Callable[[EventStream, bool], None]) -> None:
        """:param request: whose answer has begun. :param gone: told once when it is over, and whether since its reader
        was too slow."""
        self._request = request
        self._gone = gone
        self._paused = False
        self._waiting: deque[bytes] | None = None  # most readers never need one
        self._sent = 0  # bytes of the first of them that went out
        self._size = 0  # bytes of all but the first
        self.open = True
        request.on_lost = self._lost
        request.registerProducer(self, True)

    def send(self, event: bytes) -> None:
        """Write an event (see :mod:`sidecar.wire.events`). Many may be sent the same bytes, which are kept once.

        A reader that is over its bound is cut off, and told of as gone.
        """
        if not self.open:
            return
        if self._waiting is None and not self._paused and len(event) <= PIECE:
            self._request.write(event)
            return
        if self._waiting is None:
            self._waiting = deque()
        elif self._waiting:
            self._size += len(event)
        self._waiting.append(event)
        self._pump()
        if self._size > OUTBOX and self.open:
            self._close(slow=True)

    def heartbeat(self, comment: bytes) -> None:
        """Write ``comment``, unless the reader has enough to read."""
        if self.open and not self._paused and self._waiting is None:
            self._request.write(comment)

    def end(self) -> None:
        """End the answer in good order: what waits goes out, and no more comes."""
        if not self.open:
            return
        if self._waiting:
            self._request.write(b"".join(self._waiting)[self._sent :])
        request, self._request = self._request, None
        self._over(slow=False)
        request.unregisterProducer()
        request.finish()

    # --- What the reader's transport tells --------------------------------------------------------------------------

    def pauseProducing(self) -> None:
        self._paused = True

    def resumeProducing(self) -> None:
        self._paused = False
        self._pump()

    def stopProducing(self) -> None:
        self._paused = True

    def _pump(self) -> None:
        """Write of what waits as much as the reader takes."""
        waiting = self._waiting
        while waiting and not self._paused and self.open:
            event = waiting[0]
            piece = event[self._sent : self._sent + PIECE]
            self._sent += len(piece)
            if self._sent >= len(event):
                waiting.popleft()
                self._sent = 0
                self._size -= len(waiting[0]) if waiting else 0
            self._request.write(piece)
        if not waiting:
            self._waiting = None

    # --- Its end ----------------------------------------------------------------------------------------------------

    def _lost(self) -> None:
        if self.open:
            self._over(slow=False)

    def _close(self, slow: bool) -> None:
        channel = self._request.channel
        self._over(slow)
        if channel is not None:
            channel.transport.abortConnection()

    def _over(self, slow: bool) -> None:
        self.open = False
        self._waiting = None
        self._gone(self, slow)
