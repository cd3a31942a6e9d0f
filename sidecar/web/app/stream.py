"""A stream of a go-micro caller into an app that speaks plain HTTP, whatever the caller's dialect."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, Final, Protocol

from attrs import define, evolve, field
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.python.failure import Failure
from zope.interface import implementer

from sidecar.errors import NotSent, SidecarError
from sidecar.interfaces import IStream, IStreamListener
from sidecar.model import Call, Fault, Reply
from sidecar.web.app.app import App
from sidecar.wire import faults, plainhttp

#: Seconds without a further message after which a stream that the app refused is taken for a call.
ALONE: Final = 0.25
#: Seconds that an app may be silent after its caller's end before its WebSocket is closed, where it was sent several
#: messages: it waits for more, or has no more to say. (One message and an end ask for answers, however long they take.)
SILENCE: Final = 2.0
#: Bytes that may wait for the app to let us in.
EARLY: Final = 16 * 1024 * 1024


class StreamCaller(Protocol):
    """The caller's side, in its dialect."""

    def say(self, payload: bytes) -> None:
        """A message of the app."""

    def finish(self, fault: Fault | None) -> None:
        """The stream is over. It is told once, last. :param fault: None where it ended well."""


@implementer(IStreamListener)
@define(eq=False)
class InboundStream:
    """Opens a WebSocket to the app. Where the app refuses that, a single message is a call, and more cannot be had.

    :ivar opening: the payload that came with the opening of the stream, "" where none does. Go's servers throw it away;
        it is the only message where no other comes.
    """

    app: App
    call: Call
    caller: StreamCaller
    timeout: float
    opening: bytes = b""
    _early: list[bytes] = field(factory=list, init=False)
    _count: int = field(default=0, init=False)
    _stream: IStream | None = field(default=None, init=False)
    _refused: bool = field(default=False, init=False)
    _ended: bool = field(default=False, init=False)
    _over: bool = field(default=False, init=False)
    _doing: Deferred[None] | None = field(default=None, init=False)
    _timer: IDelayedCall | None = field(default=None, init=False)

    # --- What the caller tells ----------------------------------------------------------------------------------------

    def start(self) -> None:
        if self.opening.strip() not in (b"", b"{}", b"null"):
            self._wait(ALONE, self._take_opening)
        self._do(self._open())

    def received(self, payload: bytes) -> None:
        """A message of the caller."""
        if self._over:
            return
        self._count += 1
        self._stop_waiting()
        payload = payload.strip() if "json" in self.call.content_type else payload
        if self._stream is not None:
            try:
                self._stream.send(payload)
            except SidecarError as error:
                self._end(self.app.fault(error))
            return
        if self._refused and self._count > 1:
            self._end(self._unimplemented())
            return
        self._early.append(payload)
        if sum(map(len, self._early)) > EARLY:
            self._end(Fault(self.app.name, 503, "too much waits for the app to open the stream", faults.reason(503)))
        elif self._refused:
            self._wait(ALONE, self._post)

    def ended(self) -> None:
        """The caller has no more messages."""
        if self._over or self._ended:
            return
        self._ended = True
        if self._refused:
            self._judge()
        elif self._stream is not None:
            self._take_opening()
            self._await_app()

    def leave(self) -> None:
        """The caller is gone."""
        self._close()

    def pause(self) -> None:
        if self._stream is not None:
            self._stream.pause()

    def resume(self) -> None:
        if self._stream is not None:
            self._stream.resume()

    # --- What the app tells -------------------------------------------------------------------------------------------

    def message(self, payload: bytes) -> None:
        if self._over:
            return
        if "json" in self.call.content_type:
            answer = plainhttp.answer(self.app.name, 200, "application/json", payload)
            payload = answer.body if isinstance(answer, Reply) and payload.strip() else b""
            if not payload:
                return  # an empty frame is no message
        self.caller.say(payload)
        if self._ended:
            self._await_app()

    def stream_ended(self) -> None:
        self._stream = None
        self._end(None)

    def failed(self, error: SidecarError) -> None:
        self._stream = None
        self._end(self.app.fault(error))

    # --- Opening ------------------------------------------------------------------------------------------------------

    async def _open(self) -> None:
        assert self.app.streams is not None
        try:
            stream = await self.app.streams.open(self.app.node, self.call, self)
        except NotSent:
            self._refused = True
            self._judge()
            return
        if self._over:
            stream.close()
            return
        self._stream = stream
        early, self._early = self._early, []
        for payload in early:
            stream.send(payload)
        if self._ended:
            self._take_opening()
            self._await_app()

    def _take_opening(self) -> None:
        """No message came but the one of the opening: that is it."""
        opening, self.opening = self.opening, b""
        if not self._count and opening.strip() not in (b"", b"{}", b"null"):
            self.received(opening)

    def _judge(self) -> None:
        """The app refuses a WebSocket: see whether this is a call."""
        if self._ended and not self._count:
            self._count, self._early = 1, [self.opening or b"{}"]
        if self._count > 1:
            self._end(self._unimplemented())
        elif self._count and self._ended:
            self._post()
        else:
            self._wait(ALONE if self._count or self.opening else self.timeout, self._give_up_waiting)

    def _give_up_waiting(self) -> None:
        if not self._count and self.opening.strip():
            self._take_opening()
        if not self._count:
            self._end(self._unimplemented())
        else:
            self._post()

    def _post(self) -> None:
        self._stop_waiting()
        self._do(self._call(self._early[0]))

    async def _call(self, payload: bytes) -> None:
        answer = await self.app.serve(evolve(self.call, request=payload), self.timeout)
        if self._over:
            return
        if isinstance(answer, Reply):
            self.caller.say(answer.body)
        self._end(answer if isinstance(answer, Fault) else None)

    # --- Ending -------------------------------------------------------------------------------------------------------

    def _await_app(self) -> None:
        if self._count > 1 and not self._over and self._stream is not None:
            self._wait(SILENCE, lambda: self._end(None))

    def _end(self, fault: Fault | None) -> None:
        if not self._over:
            self._close()
            self.caller.finish(fault)

    def _close(self) -> None:
        self._over = True
        self._stop_waiting()
        self._early.clear()
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.close()
        doing, self._doing = self._doing, None
        if doing is not None:
            doing.cancel()

    def _do(self, work: Coroutine[Deferred[Any], Any, None]) -> None:
        def failed(failure: Failure) -> None:
            if not failure.check(CancelledError):
                error = failure.value
                assert error is not None
                self._end(self.app.fault_of(error))

        doing = Deferred.fromCoroutine(work)
        if not doing.called:
            self._doing = doing
        doing.addErrback(failed)

    def _wait(self, seconds: float, then: Callable[[], None]) -> None:
        self._stop_waiting()
        self._timer = self.app.transport.clock.callLater(seconds, self._waited, then)

    def _waited(self, then: Callable[[], None]) -> None:
        self._timer = None
        then()

    def _stop_waiting(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None and timer.active():
            timer.cancel()

    def _unimplemented(self) -> Fault:
        detail = f"{self.call.method}: the app at {self.app.node.hostport} opens no WebSocket for it: it has no streams"
        return Fault(self.app.name, 501, detail, faults.reason(501))
