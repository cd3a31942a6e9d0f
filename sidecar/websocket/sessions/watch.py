"""WebSockets that watch the registry, as the original had them: each change is a frame."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import orjson
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IPushProducer
from zope.interface import implementer

from sidecar.problems import problem
from sidecar.pubsub.batches import WRITE
from sidecar.pubsub.outbox import Outbox, OutboxLimits
from sidecar.registry.journal import JournalEntry
from sidecar.registry.journalfanout import Follower, JournalFanout
from sidecar.websocket.sockets import WebSockets
from sidecar.wire import faults, services
from sidecar.wire.ws import frames

if TYPE_CHECKING:
    from sidecar.websocket.protocol import WebSocketConnection

#: RFC 6455, 7.4.1
POLICY: Final = 1008

#: What may wait for one watcher; with more it is closed, for it would miss changes.
LIMITS: Final = OutboxLimits(1024 * 1024, 65_536, "close")


class WatchSessions:
    """Opens WebSockets that watch.

    :ivar slow: how many were closed since they did not read.
    """

    def __init__(self, fanout: JournalFanout, sockets: WebSockets) -> None:
        self._fanout = fanout
        self._sockets = sockets
        self.budget = sockets.budget
        self.slow = 0

    def admit(self, request: Any) -> None:
        """Ask before :meth:`upgrade`. See :meth:`WebSockets.admit`."""
        self._sockets.admit(request)

    def upgrade(self, request: Any, name: str) -> int:
        """Open a WebSocket. See :meth:`WebSockets.upgrade`. :param name: of the one service of interest, "" for all."""
        return self._sockets.upgrade(request, WatchSession(self, self._fanout, name))


@implementer(IPushProducer)
class WatchSession:
    """The session of one connection. What its client sends is passed over, as the original did."""

    __slots__ = ("_connection", "_fanout", "_follower", "_outbox", "_paused", "_sessions")

    def __init__(self, sessions: WatchSessions, fanout: JournalFanout, name: str) -> None:
        self._sessions = sessions
        self._fanout = fanout
        self._follower = Follower(name or None, told, self._send)
        self._connection: WebSocketConnection | None = None
        self._outbox: Outbox | None = None  # made when first needed
        self._paused = False

    # --- What the connection tells ----------------------------------------------------------------------------------

    def begin(self) -> Deferred[None]:
        return succeed(None)

    def opened(self, connection: WebSocketConnection) -> None:
        self._connection = connection
        connection.set_producer(self)
        self._fanout.add(self._follower)

    def received(self, payload: bytes, binary: bool) -> None:
        """Nothing is expected."""

    def ended(self) -> None:
        self._fanout.remove(self._follower)
        self._clear()
        self._connection = None

    def refusal(self, error: BaseException) -> tuple[int, bytes]:
        found = problem(error)
        return found.status, faults.encode(found.fault) + b"\n"

    # --- Changes ----------------------------------------------------------------------------------------------------

    def _send(self, changes: bytes) -> None:
        connection = self._connection
        if connection is None:
            return
        if not self._paused and not self._outbox:
            connection.send(changes)
            return
        if self._outbox is None:
            self._outbox = Outbox(LIMITS)
        if not self._outbox.put((changes,)) or not self._may_keep():
            self.shed()

    def _may_keep(self) -> bool:
        """Tell the budget of all what waits. :returns: whether it may."""
        outbox = self._outbox
        return outbox is None or self._sessions.budget.changed(self, outbox.kept, "events")

    def _clear(self) -> None:
        if self._outbox is not None:
            self._outbox.clear()
            self._may_keep()
            self._outbox = None

    def shed(self) -> None:
        """Too much waits, here or, as the budget says, for all together."""
        connection, self._connection = self._connection, None
        self._clear()
        if connection is not None:
            self._sessions.slow += 1
            connection.close(POLICY, "too slow: more changes wait than may")

    def pauseProducing(self) -> None:
        self._paused = True

    def resumeProducing(self) -> None:
        self._paused = False
        while self._outbox and not self._paused and self._connection is not None:
            self._connection.send(self._outbox.take(WRITE))
        if not self._may_keep():
            self.shed()

    def stopProducing(self) -> None:
        self._connection = None


def told(entry: JournalEntry) -> bytes:
    """The frame that tells an entry."""
    change = {"Action": entry.action, "Service": services.to_json(entry.service)}
    return frames.frame(frames.TEXT, orjson.dumps(change))
