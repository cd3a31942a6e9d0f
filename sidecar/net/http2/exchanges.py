"""The exchanges of one HTTP/2 connection of a server: a request is collected, served whole, and answered as the peer's
windows allow.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from functools import partial
from typing import Any, Final

import h2.errors
import h2.events
import h2.exceptions
from attrs import define, field
from twisted.logger import Logger
from twisted.python.failure import Failure

from sidecar.net.http.server import Host
from sidecar.net.http2.exchange import Exchange, QueuedExchange
from sidecar.net.http2.floods import FloodMeter
from sidecar.net.http2.pieces import ENOUGH, Http2Answer, PieceReceiver, PieceSender, Refuse, Serve
from sidecar.net.http2.state import ServerState
from sidecar.net.http2.stream import Headers
from sidecar.net.memory import WORTH_COUNTING, copies

#: Seconds without a byte after which a request that has not ended is asked about: without any body yet, and with some.
UNBEGUN, UNENDED = 1.0, 0.25

_CALM: Final = h2.errors.ErrorCodes.ENHANCE_YOUR_CALM
_CANCEL: Final = h2.errors.ErrorCodes.CANCEL


@define(eq=False)
class Exchanges:
    """Those that are open, by the number of their stream. The site counts them, and the bytes that they keep.

    :ivar max_body: bytes of the largest request.
    :ivar refuse: asked about requests that have not ended, None where all are waited for.
    :ivar ended: called when one is over. :ivar overloaded: answers one that waited for too long; None resets it.
    """

    log = Logger()

    _site: Host
    _h2: ServerState
    _meter: FloodMeter
    _serve: Serve
    _max_body: int
    _refuse: Refuse | None
    _flush: Callable[[], None]
    _ended: Callable[[], None]
    _overloaded: Callable[[dict[str, str]], Http2Answer] | None = None
    _open: dict[int, Exchange] = field(factory=dict, init=False)

    def __len__(self) -> int:
        return len(self._open)

    # --- What the peer says -------------------------------------------------------------------------------------------

    def begin(self, event: h2.events.RequestReceived) -> None:
        """The header of a request is here."""
        headers = {str(name): str(value) for name, value in event.headers}
        begun = self._open[event.stream_id] = Exchange(headers, self._site.now, partial(self._shed, event.stream_id))
        self._site.in_flight += 1
        self._wait(event.stream_id, begun, UNBEGUN)

    def took(self, event: h2.events.DataReceived) -> None:
        """A piece of its body is."""
        self._h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        exchange = self._open.get(event.stream_id)
        if exchange is None:
            return
        if exchange.receiver is not None:
            exchange.receiver.received(event.data)
            return
        exchange.body += event.data
        self._wait(event.stream_id, exchange, UNENDED)
        if len(exchange.body) > self._max_body or not self._count(exchange, len(exchange.body)):
            self._reset(event.stream_id, _CALM)

    def complete(self, id: int) -> None:
        """All of it is: serve it."""
        exchange = self._open.get(id)
        if exchange is None:
            return
        self._stop_waiting(exchange)
        self._judge(id, exchange, False)
        if exchange.receiver is not None:
            exchange.receiver.ended()
        if exchange.receiver or self._open.get(id) is not exchange:
            return
        if self._site.admission.admits():
            self._begin_to_serve(id, exchange)
            return
        exchange.queued = True
        begin, turn_away = partial(self._begin_to_serve, id, exchange), partial(self._turn_away, id, exchange)
        still = lambda: self._open.get(id) is exchange  # noqa: E731
        self._site.admission.wait(QueuedExchange(still, begin, turn_away, self._flush))

    def _turn_away(self, id: int, exchange: Exchange) -> None:
        """It waited for too long."""
        if self._overloaded is not None:
            self._answer(self._overloaded(exchange.headers), id)
        else:
            self._reset(id, _CALM)

    def _begin_to_serve(self, id: int, exchange: Exchange) -> None:
        body = bytes(exchange.body)
        exchange.body.clear()
        if exchange.counted and not self._count(exchange, copies(len(body), self._site.budget.limit)):
            self._reset(id, _CALM)
            return
        exchange.serving = self._serve(exchange.headers, body)
        exchange.serving.addCallbacks(self._answer, self._failed, callbackArgs=(id,), errbackArgs=(id,))

    def widened(self, id: int) -> None:
        """The peer takes more of an answer (0: of all)."""
        for each in [id] if id else list(self._open):
            exchange = self._open.get(each)
            if exchange is not None and exchange.unsent:
                self._pump(each, exchange)

    def end(self, id: int, answered: bool = False) -> None:
        """An exchange is over. :param answered: in full; what was being served else is cancelled."""
        exchange = self._open.pop(id, None)
        if exchange is None:
            return
        self._stop_waiting(exchange)
        self._count(exchange, 0)
        if answered:
            self._meter.answered()
        elif exchange.receiver is not None:
            exchange.receiver.lost()
        elif exchange.serving is not None:
            exchange.serving.cancel()
        self._site.in_flight -= 1
        if self._site.draining:
            self._site.answered()
        self._ended()

    def end_all(self) -> None:
        """Nobody is left to answer."""
        for id in list(self._open):
            self.end(id)

    def look(self) -> None:
        """End those of which the request, or the peer's taking of the answer, has stood still for too long."""
        limits = self._site.limits
        for id, exchange in list(self._open.items()):
            passed = self._site.now - exchange.since
            if exchange.serving is None and exchange.receiver is None:
                if passed > limits.body_timeout + len(exchange.body) / limits.body_rate:
                    self._reset(id, _CANCEL)
            elif exchange.unsent and passed > limits.idle_timeout:
                self._reset(id, _CANCEL)

    def _count(self, exchange: Exchange, size: int) -> bool:
        """Tell the budget of all what an exchange keeps. :returns: whether it may."""
        if size < WORTH_COUNTING and not exchange.counted:
            return True
        exchange.counted = size >= WORTH_COUNTING
        kept = self._site.budget.changed(
            exchange, size if exchange.counted else 0, "requests" if exchange.serving is None else "answers"
        )
        exchange.counted = exchange.counted and kept
        return kept

    def _shed(self, id: int) -> None:
        """What all keep together is too much, and of this one it is most."""
        self._open[id].counted = False
        self._reset(id, _CALM)
        self._flush()

    def _reset(self, id: int, code: h2.errors.ErrorCodes) -> None:
        with contextlib.suppress(h2.exceptions.ProtocolError):  # it is closed already
            self._h2.reset_stream(id, code)
        self.end(id)

    # --- Requests that do not end -------------------------------------------------------------------------------------

    def judge_unended(self) -> None:
        """Ask about those of which something came."""
        if self._refuse is not None:
            for id, exchange in list(self._open.items()):
                if exchange.serving is None and exchange.body and not exchange.queued:
                    self._judge(id, exchange, False)

    def _wait(self, id: int, exchange: Exchange, seconds: float) -> None:
        if self._refuse is None:
            return
        self._stop_waiting(exchange)
        clock: Any = self._site.clock
        exchange.waiting = clock.callLater(seconds, self._waited, id, exchange)

    def _stop_waiting(self, exchange: Exchange) -> None:
        if exchange.waiting is not None and exchange.waiting.active():
            exchange.waiting.cancel()
        exchange.waiting = None

    def _waited(self, id: int, exchange: Exchange) -> None:
        self._judge(id, exchange, True)
        self._flush()

    def _judge(self, id: int, exchange: Exchange, idle: bool) -> None:
        """Answer a request that is never to be served before it ends, and ask its sender to send no more."""
        if self._refuse is None or exchange.receiver is not None:
            return
        answer = self._refuse(exchange.headers, exchange.body, idle)
        if answer is None or self._open.get(id) is not exchange or exchange.serving is not None:
            return
        if not isinstance(answer, Http2Answer):
            self._hand_over(id, exchange, answer)
            return
        with contextlib.suppress(h2.exceptions.ProtocolError):  # the peer closed the stream meanwhile
            self._h2.send_headers(id, [*answer.headers, *answer.trailers], end_stream=True)
            self._h2.reset_stream(id, h2.errors.ErrorCodes.NO_ERROR)
        self.end(id, answered=True)

    def _hand_over(self, id: int, exchange: Exchange, take: Callable[[PieceSender], PieceReceiver]) -> None:
        """Have who answers it take it as it comes."""
        self._stop_waiting(exchange)
        exchange.finished, body = False, bytes(exchange.body)
        exchange.body.clear()
        self._count(exchange, 0)
        exchange.receiver = take(PieceSender(partial(self._piece, id, exchange)))
        if body:
            exchange.receiver.received(body)

    # --- What we say ------------------------------------------------------------------------------------------------

    def _answer(self, answer: Http2Answer, id: int) -> None:
        exchange = self._open.get(id)
        if exchange is None:
            return
        try:
            if answer.body:
                self._h2.send_headers(id, answer.headers)
                exchange.since = self._site.now
                exchange.unsent, exchange.trailers = memoryview(answer.body), answer.trailers
                self._pump(id, exchange)
                if exchange.unsent and not self._count(exchange, len(exchange.unsent)):
                    self._reset(id, _CALM)
            else:
                self._h2.send_headers(id, [*answer.headers, *answer.trailers], end_stream=True)
                self._flush()
                self.end(id, answered=True)
        except h2.exceptions.ProtocolError:
            self.end(id)  # the peer closed the stream while we worked: nobody is left to hear
        self._flush()

    def _failed(self, failure: Failure, id: int) -> None:
        if id in self._open:
            self.log.failure("an exchange over HTTP/2 was not answered", failure)
            self._reset(id, h2.errors.ErrorCodes.INTERNAL_ERROR)
            self._flush()

    def _pump(self, id: int, exchange: Exchange) -> None:
        while exchange.unsent:
            window = min(self._h2.local_flow_control_window(id), self._h2.max_outbound_frame_size)
            if window <= 0:
                self._flow_on(exchange)
                return
            self._h2.send_data(id, bytes(exchange.unsent[:window]))
            exchange.unsent = exchange.unsent[window:]
            exchange.since = self._site.now
            self._meter.sent()
        if exchange.finished:
            self._h2.send_headers(id, exchange.trailers, end_stream=True)
        self._flush()
        if exchange.finished:
            self.end(id, answered=True)
        else:
            self._flow_on(exchange)

    def _piece(self, id: int, exchange: Exchange, data: bytes, headers: Headers, trailers: Headers) -> None:
        """What comes next of an answer in pieces."""
        if self._open.get(id) is not exchange:
            return
        try:
            if headers:
                self._h2.send_headers(id, headers)
            if data:
                exchange.since = exchange.since if exchange.unsent else self._site.now
                exchange.unsent = memoryview(bytes(exchange.unsent) + data)
            if trailers:
                exchange.trailers, exchange.finished = trailers, True
            self._pump(id, exchange)
        except h2.exceptions.ProtocolError:
            self.end(id)  # the peer closed the stream meanwhile
            return
        if id in self._open and not self._count(exchange, len(exchange.unsent)):
            self._reset(id, _CALM)

    def _flow_on(self, exchange: Exchange) -> None:
        """Have who answers in pieces wait for a peer that does not take them, or go on."""
        full = len(exchange.unsent) > ENOUGH
        if exchange.receiver and full != exchange.full and (full or not exchange.unsent):
            exchange.full = full
            (exchange.receiver.pause if full else exchange.receiver.resume)()
