"""One forwarded request at one node."""

from __future__ import annotations

from typing import Any, Final

from zope.interface import implementer

from sidecar.errors import BadAnswer, CallTimeout, ConnectionLost, NotSent, Overloaded, ShuttingDown, SidecarError
from sidecar.interfaces import IExchange
from sidecar.model import Node, Outcome
from sidecar.net.client.streamed.connection import StreamingConnection
from sidecar.net.client.streamed.head import ResponseHead
from sidecar.net.errors import MalformedAnswer, NotTaken, PoolExhausted
from sidecar.net.http.events import Fields
from sidecar.net.reactor.timerwheel import TimerWheel
from sidecar.rpc.dialects.pooled import Destination, PooledExchange
from sidecar.rpc.proxy.request import ForwardedReply, ForwardedRequest, ForwardEnvironment, ForwardListener

#: Methods that may be repeated where a connection that idled turns out to have been closed (RFC 9110, 9.2.2).
_IDEMPOTENT: Final = frozenset(("GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE", "PROPFIND"))
#: How often that is tried in one attempt.
_STALE: Final = 3
#: What a gateway says, and no app: the way behind it is broken.
_GATEWAY: Final = frozenset((502, 503, 504))
#: Looking a member up in an Enum costs more than it should.
_ANSWERED: Final = Outcome.ANSWERED


def _outcome(status: int) -> Outcome:
    """Of an answer that says that something is wrong at the node, or behind it."""
    return Outcome.BROKEN if status in _GATEWAY else Outcome.FAULT


@implementer(IExchange)
class ForwardExchange(PooledExchange[Destination]):
    """A request on its way, and its answer on the way back."""

    _answering: Outcome | None = None  # how it will have ended if nothing breaks; None before the answer
    _begun = False  # a byte of the body went
    _waiting = False  # for the rest of the body
    _node_slow = False
    _stale = 0
    _moved = 0.0
    slot: set[Any] | None = None
    _connection: Any  # a StreamingConnection, or None

    def __init__(
        self,
        destination: Destination,
        listener: Any,
        request: ForwardedRequest,
        node: Node,
        own: ForwardEnvironment,
    ) -> None:
        """:param listener: a ``ForwardListener``, and as such an ``IExchangeListener``.
        :param own: what it shares with others."""
        source = request.source
        super().__init__(destination, listener, source.request(node))
        self._told: ForwardListener = listener
        self._request = request
        self._source = source
        self._transport = own

    def start(self) -> None:
        self._transport.open.add(self)
        connection: Any = self._destination.pool.take_idle()
        if connection is None:
            self._connect()
            return
        source = self._source
        if source.whole and not source.has_body:  # as below, for what is asked most
            self._connection = connection
            connection.ask(self._data, self, self._request.method == "HEAD", source.upgrade)
        else:
            self._send(connection)

    def cancel(self) -> None:
        self._listener = None
        self._leave(Outcome.CANCELLED)

    def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()  # once what was written is sent
        self._leave(Outcome.CANCELLED)

    def stop(self) -> None:
        """We are stopping."""
        self._fail(ShuttingDown("the sidecar is stopping and gave this request up: try again"))

    def expired(self) -> None:
        """Nothing may have moved for too long."""
        now, idle = self._destination.seconds(), self._transport.idle_timeout
        waits_for_client = self._answering is None and not self._node_slow
        if waits_for_client or now < self._moved + idle:
            self._transport.wheel.add(self, now + idle if waits_for_client else self._moved + idle)
            return
        what = "took nothing of the request" if self._answering is None else "sent nothing of the answer"
        self._fail(CallTimeout(f"the node {what} for {idle:g} s"))

    # --- The source's side ------------------------------------------------------------------------------------------

    def write(self, data: bytes, more: bool) -> None:
        connection = self._connection
        if connection is None:
            return
        if not self._begun:
            self._begun = True
            self._told.attempt_begun()
        if more:
            self._await_body()
            self._moved = self._destination.seconds()
        connection.write(data, more)

    def finish(self, trailers: Fields) -> None:
        connection = self._connection
        if connection is not None:
            connection.finish(trailers)
            if self._waiting:
                self._told.body_ended()

    def pause(self) -> None:
        if self._connection is not None:
            self._connection.pause()

    def resume(self) -> None:
        if self._connection is not None:
            self._connection.resume()

    # --- From the pool ----------------------------------------------------------------------------------------------

    def _connect(self) -> None:
        pool = self._destination.pool
        connection = pool.take_idle()
        if connection is not None:
            self._send(connection)
            return
        if self._taken is None:
            self._taken = self._destination.seconds()
        try:
            pool.take(self)
        except PoolExhausted:
            self._fail(Overloaded(f"all {pool.size} connections are busy and {pool.max_waiting} calls wait for one"))

    def _send(self, connection: Any) -> None:
        self._connection = connection
        source, is_head = self._source, self._request.method == "HEAD"
        if source.whole:
            data = self._data
            if source.has_body:
                self._begun = True
                self._data = b""  # it goes nowhere else
                self._told.attempt_begun()
            connection.ask(data, self, is_head, source.upgrade)
            return
        connection.begin(self._data, self, source.chunked, is_head, source.upgrade)
        if not source.connected(self) and self._connection is connection:
            if not connection.sending:
                return
            self._await_body()
            connection.flush()

    # --- From the connection ----------------------------------------------------------------------------------------

    def began(self, connection: Any, head: ResponseHead, data: bytes, ended: bool) -> None:
        told, outcome = self._told, _ANSWERED if head.status < 500 else _outcome(head.status)
        self._answering = outcome
        if not ended:
            self._watch()
            told.attempt_replied(ForwardedReply(data, "", head=head, ended=False, exchange=self))
            return
        if connection.reusable:
            self._connection = None
            self._destination.pool.release(connection)
        else:
            self._release(connection)
        self._transport.open.discard(self)
        if self.slot is not None:
            TimerWheel.remove(self)
        told.attempt_replied(ForwardedReply(data, "", head=head, ended=True, exchange=self))
        told.attempt_over(outcome)

    def informed(self, head: ResponseHead) -> None:
        self._source.informed(head)

    def switched(self, connection: Any, head: ResponseHead, data: bytes) -> None:
        self._answering = _ANSWERED
        self._watch()
        self._told.attempt_replied(ForwardedReply(data, "", head=head, ended=False, exchange=self))

    def data(self, data: bytes) -> None:
        self._moved = self._destination.seconds()
        self._source.answer_data(data)

    def ended(self, connection: Any, trailers: Fields) -> None:
        self._release(connection)
        self._source.answer_ended(trailers)
        self._leave(self._answering or Outcome.ANSWERED)

    def lost(self, error: Exception) -> None:
        connection, self._connection = self._connection, None
        malformed = isinstance(error, MalformedAnswer)
        if connection is not None and not malformed and self._repeatable(connection):
            self._stale += 1
            self._connect()
        elif malformed:
            self._fail(BadAnswer(str(error)))
        elif isinstance(error, NotTaken) and self._answering is None:
            self._fail(NotSent(str(error)))
        else:
            self._fail(ConnectionLost("the connection was closed before the answer was whole"))

    def pause_request(self) -> None:
        self._node_slow = True
        self._moved = self._destination.seconds()
        self._source.pause_request()

    def resume_request(self) -> None:
        self._node_slow = False
        self._source.resume_request()

    # --- Within -----------------------------------------------------------------------------------------------------

    def _await_body(self) -> None:
        """The rest of the body is not here yet: what is waited for now is the client's."""
        if not self._waiting:
            self._waiting = True
            self._moved = self._destination.seconds()
            self._transport.wheel.add(self, self._moved + self._transport.idle_timeout)
            self._told.attempt_connected()

    def _repeatable(self, connection: StreamingConnection) -> bool:
        """Whether the connection had idled until the node closed it, and the request may just be sent again."""
        return (
            self._answering is None
            and connection.used
            and not connection.answered_any
            and not self._begun
            and self._request.method in _IDEMPOTENT
            and self._stale < _STALE
        )

    def _watch(self) -> None:
        self._moved = self._destination.seconds()
        TimerWheel.remove(self)
        self._transport.wheel.add(self, self._moved + self._transport.idle_timeout)

    def _release(self, connection: StreamingConnection) -> None:
        self._connection = None
        if connection.reusable or not connection.sending:
            self._destination.pool.release(connection)
        else:
            connection.drop()  # what was asked is answered, and nobody wants the rest of the question

    def _end(self, error: SidecarError) -> None:
        self._fail(error)

    def _fail(self, error: SidecarError) -> None:
        answering = self._answering
        if answering is None:
            listener, self._listener = self._listener, None
            self._leave(None)
            if listener is not None and isinstance(error, ShuttingDown):
                self._told.give_up(error)
            elif listener is not None:
                listener.attempt_failed(error)
        else:
            timed_out = isinstance(error, CallTimeout)
            self._leave(Outcome.TIMED_OUT if timed_out else Outcome.BROKEN)
            self._source.answer_broken(str(error))

    def _leave(self, outcome: Outcome | None) -> None:
        """It is over. :param outcome: of an answer that had begun."""
        if self not in self._transport.open:
            return
        self._transport.open.discard(self)
        TimerWheel.remove(self)
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.drop()
        elif self._answering is None:
            if self._destination.pool.connecting and self._taken is not None and self._sent is None:
                self._waited()
            self._destination.pool.cancel_wait(self)
        if outcome is not None and self._answering is not None:
            self._told.attempt_over(outcome)
