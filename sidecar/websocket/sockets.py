"""All WebSockets of this process: how many there may be, which of them are dead, and how they end."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from twisted.application import service
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from zope.interface import implementer

from sidecar.errors import Overloaded, ShuttingDown
from sidecar.interfaces import IStream, IStreamListener, IStreamTransport
from sidecar.model import Call, Node
from sidecar.net.memory import MOST, MemoryBudget
from sidecar.net.peers import PeerUse, use_of
from sidecar.pubsub.heartbeat import Heartbeat
from sidecar.websocket.incomplete import IncompleteMessages

if TYPE_CHECKING:
    from sidecar.websocket.factory import WebSocketConnectionFactory
    from sidecar.websocket.protocol import Session, WebSocketConnection

#: RFC 6455, 7.4.1
GOING_AWAY = 1001

#: Bytes of a message that has not come whole which are not worth telling the budget of all of.
FEW = 1024

#: Seconds that all of them get together for their closing handshakes when we stop.
CLOSING = 2.0


@implementer(IStreamTransport)
class LateStreams:
    """Opens WebSockets to apps. Autobahn is imported for the first of them."""

    def __init__(self, reactor: Any, max_message: int) -> None:
        """:param max_message: bytes of the largest message from an app."""
        self._reactor = reactor
        self._max_message = max_message

    def open(self, node: Node, call: Call, listener: IStreamListener) -> Deferred[IStream]:
        from sidecar.websocket.appstream import AppStreams

        return AppStreams(self._reactor, self._max_message).open(node, call, listener)


class WebSockets(service.Service):
    """Opens WebSockets from HTTP requests, whatever they are for, and closes them with 1001 when it is stopped.

    :ivar refused: how many were not opened since there were too many already.
    :ivar shed: how many were closed since messages that had not come whole took too much.
    """

    def __init__(
        self,
        clock: IReactorTime,
        *,
        max_message: int = 4 * 1024 * 1024,
        max_connections: int = 10_000,
        max_incomplete: int = 64 * 1024 * 1024,
        ping_interval: float = 25.0,
        ping_timeout: float = 25.0,
        others: Callable[[], int] = lambda: 0,
        budget: MemoryBudget | None = None,
    ) -> None:
        """:param max_message: bytes of the largest message that is taken; a larger one ends the connection with 1009.
        :param ping_interval: seconds between pings. :param ping_timeout: seconds after a ping in which something has to
        come from the peer.
        :param max_incomplete: bytes of messages that have not come whole, of all WebSockets together.
        :param others: how many subscriptions there are that are no WebSockets, and count among them.
        :param budget: what may be kept for all peers together, in whatever form."""
        self._clock = clock
        self._max_message = max_message
        self._max_connections = max_connections
        self._others = others
        self._heartbeat: Heartbeat[WebSocketConnection] = Heartbeat(ping_interval, ping_timeout)
        self._timer: IDelayedCall | None = None
        self._connections: dict[WebSocketConnection, None] = {}  # a set in the order of coming
        self._uses: dict[WebSocketConnection, PeerUse] = {}  # of peers that may not have all
        self._factory: WebSocketConnectionFactory | None = None
        self._stopping: Deferred[None] | None = None
        self._incomplete: IncompleteMessages[WebSocketConnection] = IncompleteMessages(
            max(max_incomplete, 2 * max_message)  # one message has to find room beside others
        )
        self.budget = budget or MemoryBudget(MOST, clock.seconds)
        self.refused = self.shed = 0

    @property
    def connections(self) -> int:
        """How many are open, or opening."""
        return len(self._connections)

    def admit(self, request: Any) -> None:
        """Ask before :meth:`upgrade` whether one more may be opened for ``request``.

        :raises Overloaded: there are too many, or its peer has too many. :raises ShuttingDown: none is opened any more.
        """
        if self._stopping is not None:
            raise ShuttingDown("the sidecar is stopping: no WebSocket is opened any more")
        there = len(self._connections) + self._others()
        if there >= self._max_connections:
            self.refused += 1
            raise Overloaded(
                f"{there} WebSockets and watches are open, the limit (--broker_max_connections): try again later"
            )
        use = use_of(request)
        problem = "" if use is None else use.problem("websockets") or use.problem("subscriptions")
        if problem:
            self.refused += 1
            raise Overloaded(problem)

    def upgrade(self, request: Any, session: Session) -> int:
        """Open a WebSocket for a request that :func:`sidecar.wire.ws.handshake.problem` finds nothing wrong with.

        The connection is no longer HTTP's when this returns, though the handshake may be answered later.

        :returns: NOT_DONE_YET, for the request's resource to return.
        """
        # Autobahn takes longer to import than the rest of the sidecar to start, and may never be needed.
        from sidecar.websocket import factory

        if self._factory is None:
            self._factory = factory.WebSocketConnectionFactory(
                self._clock, self._max_message, self._gone, self._grown, self._shed
            )
        connection = self._factory.serve(session)
        self._connections[connection] = None
        use = use_of(request)  # which is not to be had any more once the connection is no longer HTTP's
        if use is not None:
            use.take("websockets", "subscriptions")
            self._uses[connection] = use
        # From the start: one that never gets through its handshake is found like one that died later.
        self._heartbeat.add(connection, self._clock.seconds())
        if self._timer is None:
            self._schedule()
        return factory.attach(request, connection)

    def _grown(self, connection: WebSocketConnection) -> None:
        for oldest in self._incomplete.changed(connection, connection.incomplete):
            self.budget.changed(oldest, 0, "frames")
            oldest.shed()
        if connection.alive and not connection.failedByMe:
            incomplete = connection.incomplete if connection.incomplete >= FEW else 0
            if not self.budget.changed(connection, incomplete, "frames"):
                connection.shed()

    def _shed(self, connection: WebSocketConnection) -> None:
        """It is closed since what has come of its message is too much, by a budget."""
        self.shed += 1
        self._incomplete.changed(connection, 0)

    def _gone(self, connection: WebSocketConnection) -> None:
        self._connections.pop(connection, None)
        use = self._uses.pop(connection, None)
        if use is not None:
            use.release("websockets", "subscriptions")
        self._incomplete.changed(connection, 0)
        self.budget.changed(connection, 0, "frames")
        self._heartbeat.remove(connection)
        if self._stopping is not None and not self._connections and not self._stopping.called:
            self._stopping.callback(None)

    # --- Time -------------------------------------------------------------------------------------------------------

    def _schedule(self) -> None:
        when = self._heartbeat.next()
        self._timer = (
            None if when is None else self._clock.callLater(max(0.0, when - self._clock.seconds()), self._tick)
        )

    def _tick(self) -> None:
        ping, dead = self._heartbeat.due(self._clock.seconds())
        for connection in ping:
            connection.sendPing()
        for connection in dead:
            if connection.paused:
                self._heartbeat.add(connection, self._clock.seconds())  # it is we who do not read
            else:
                connection.abort()
        self._schedule()

    # --- Leaving ----------------------------------------------------------------------------------------------------

    def startService(self) -> None:
        super().startService()
        self._stopping = None

    def stopService(self) -> Deferred[None]:
        """Say 1001 to each, and wait for their answers for :data:`CLOSING` seconds at most."""
        super().stopService()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._stopping = Deferred()
        if not self._connections:
            self._stopping.callback(None)
            return self._stopping
        forced = self._clock.callLater(CLOSING, self._abort_all)
        self._stopping.addCallback(lambda _: forced.cancel() if forced.active() else None)
        for connection in list(self._connections):
            connection.close(GOING_AWAY, "the sidecar is stopping")
        return self._stopping

    def _abort_all(self) -> None:
        for connection in list(self._connections):
            connection.abort()
