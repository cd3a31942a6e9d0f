"""An HTTP/1.1 server channel over httptools that feeds ordinary twisted.web resources.

One connection, one :class:`HTTPChannel`. A :class:`~sidecar.net.http.parser.RequestParser` makes events of its bytes;
the channel makes requests of these and has them answered one at a time, in order, with deadlines, back-pressure both
ways, upgrades, refusals with a JSON body, and a close that lets the client see its answer (:mod:`.states`).

A resource gets a request with its whole body, unless it has an attribute ``streaming`` that is true: then it gets the
request when the header is there, and takes the body as it comes. While a request is being answered, what the client
sends next is not looked at, and only ``HELD_ENOUGH`` of it is taken from the socket.

:source: RFC 9112 (messages, connections), RFC 9110 (Expect, Upgrade)
"""

from __future__ import annotations

from twisted.internet.error import ConnectionAborted
from twisted.python.failure import Failure

from sidecar.net.errors import RequestRefused
from sidecar.net.http import states
from sidecar.net.http.connection import NEVER, ServerConnection
from sidecar.net.http.events import End, Head
from sidecar.net.http.head import status_line
from sidecar.net.http.request import SlimRequest
from sidecar.net.http.states import READING, TABLE, WAITS_FOR
from sidecar.net.memory import WORTH_COUNTING
from sidecar.net.peers import PeerUse


class HTTPChannel(ServerConnection):
    """One connection.

    :ivar persistent: whether it stays open after the answer.
    :ivar identity: who is at the other end, kept here for whoever found it out. :ivar use: what that peer has.
    """

    persistent = True
    identity: object = None
    use: PeerUse | None = None
    request: SlimRequest | None = None

    _word_due = False  # the client waits for 100 before it sends the body

    def connectionMade(self) -> None:
        site = self.site
        self.use = site.opened(self)
        self.transport.registerProducer(self, True)
        self.deadline = site.now + min(site.limits.header_timeout, site.limits.idle_timeout)

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]  # Protocol has a default for it
        self._leave()
        self._drop_request(reason)

    def _leave(self) -> None:
        """The connection is no longer there, or no longer ours."""
        self._state = TABLE[self._state][states.LOST]
        self.deadline = NEVER
        self._held = b""
        self._parser.close()
        self._forget()
        self.site.closed(self)

    def _drop_request(self, reason: Failure) -> None:
        """There will be no answer of the resource's to the request at hand, if any."""
        request, self.request = self.request, None
        if request is not None:
            self._count_out()
            request.connectionLost(reason)

    def _count_out(self) -> None:
        self.site.in_flight -= 1
        if self.site.draining:
            self.site.answered()

    # --- Receiving ----------------------------------------------------------------------------------------------------

    def _read(self, data: bytes) -> None:
        """Have the events in ``data`` happen, as far as they can at once."""
        next_event = self._parser.next_event
        self._flow |= states.BUSY
        try:
            while True:
                event, data = next_event(data)
                kind = type(event)
                if event is None:
                    self._await_rest()
                    return
                if kind is Head:
                    data = self._headed(event, data)  # type: ignore[arg-type]
                elif kind is End:
                    self._ended(event)  # type: ignore[arg-type]
                elif self._state == states.COLLECTING:
                    self._collector.received(event)  # type: ignore[arg-type]
                else:
                    data = self._pass_on(event, data)  # type: ignore[arg-type]
                state = self._state
                if self.transport is None:
                    self._leave_to_heir(data)
                    return
                if state == states.IDLE:  # that request was answered
                    if not data:
                        return
                    self._flow |= states.NEXT_TURN
                    self.site.later(self)
                if state not in READING or self._flow & WAITS_FOR[state] & ~states.BUSY:
                    if data:
                        self._buffer(data)
                    return
        except RequestRefused as refused:
            self._refuse(refused.status, refused.detail)
        finally:
            self._flow &= ~states.BUSY

    def _headed(self, head: Head, rest: bytes) -> bytes:
        """A header is whole: find the resource, which may wait for the body. :returns: what is left of ``rest``."""
        self.persistent = head.persistent
        request = SlimRequest(self, head)
        if head.upgrade:
            self._hand_over(request, states.UPGRADE_ASKED)
            self._offer(request, rest)
            if self._state != states.IDLE:
                return b""
            rest, self._held = self._held, b""  # it was answered instead
            return rest
        request.find_resource()
        self._word_due = head.expects_continue and not rest
        whole, streams = 0 <= head.length <= len(rest), request.streaming
        if streams and not whole:
            self._hand_over(request, states.HANDED_OVER)
            self._flow |= states.RECEIVER_SLOW
            self._held = rest  # which it may do without
            request.process()
            rest, self._held = self._held, b""
            return rest
        self._hand_over(request, states.HEADED)
        if whole and (streams or head.length <= self.site.limits.max_body):
            if streams:
                request.streaming = False
            request.body, rest = self._parser.whole_body(rest)  # nearly always: no need to make events of it
            self._state = states.ANSWERING
            if head.length > WORTH_COUNTING:  # a body of just 1 KiB, as many are, is not worth it
                self._collector.size = head.length
                self._see_what_is_kept()
            self._begin(request)
        elif head.length:
            self._collector.start(head)
        return rest

    def _hand_over(self, request: SlimRequest, move: str) -> None:
        self._state = TABLE[self._state][move]
        self.request = request
        self.deadline = NEVER
        self.site.in_flight += 1

    def _pass_on(self, data: bytes, rest: bytes) -> bytes:
        """A piece of a body came that the resource takes as it comes. :returns: what is to be looked at of ``rest``."""
        assert self.request is not None
        self._word_due = False
        self._held = rest
        self.request.body_received(data)
        rest, self._held = self._held, b""
        return rest

    def _ended(self, end: End) -> None:
        """A request is whole."""
        request, streaming = self.request, self._state == states.STREAMING
        assert request is not None
        self._state = TABLE[self._state][states.ENDED]
        self.deadline, self._word_due = NEVER, False
        if streaming:
            request.body_ended(end)
            return
        request.body = self._collector.take()
        if self._kept:
            self._see_what_is_kept()
        request.trailers = end.trailers
        self._begin(request)

    def _await_rest(self) -> None:
        """A part of a request is here, or nothing: see that the rest comes in time."""
        state, site = self._state, self.site
        if state == states.COLLECTING:
            self._see_what_is_kept()
            self.deadline = self._collector.deadline()
        elif state == states.STREAMING:
            self.deadline = site.now + site.limits.body_timeout
        elif state == states.IDLE and self._parser.begun:
            self._state = TABLE[state][states.BEGUN]
            self.deadline = site.now + site.limits.header_timeout
        if self._parser.kept >= WORTH_COUNTING:
            self._see_what_is_kept()
        if self._word_due:
            self._word_due = False
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    # --- A body that the resource takes as it comes -------------------------------------------------------------------

    def answering_whole(self) -> None:
        """The whole answer is about to be written: nothing more of a body that is still coming is wanted."""
        if self._state == states.STREAMING and not self._skip_body():
            self.persistent = False

    def _skip_body(self) -> bool:
        """Throw away what is here of a body that nobody wants. :returns: whether that is all of it."""
        event: object = b""
        try:
            while event is not None and type(event) is not End:
                event, self._held = self._parser.next_event(self._held)
        except RequestRefused:
            return False
        if event is not None:
            self._state = TABLE[self._state][states.ENDED]
        return event is not None

    # --- Another protocol ---------------------------------------------------------------------------------------------

    def _offer(self, request: SlimRequest, rest: bytes) -> None:
        """Have a request answered that asks for another protocol; ``rest`` is the first of that, if it gets it.

        Whoever takes the connection over finds no producer on it, and what came after the header as content. It takes
        the transport away from us, and tells nobody: so it is looked at now and in every sweep.
        """
        self._held = rest
        self.deadline = self.site.now
        self.transport.unregisterProducer()
        request.find_resource()
        request.process()

    def _taken_over(self) -> None:
        request, self.request = self.request, None
        if request is not None:
            if not request.upgrade:
                request.transport.unregisterProducer()  # nobody asked for that, and we were still on it
            request.code = 101
            request.count_begun()
        self._count_out()
        self._leave()

    # --- Answering ----------------------------------------------------------------------------------------------------

    def requestDone(self, request: SlimRequest) -> None:
        """Called by the request when its answer is written."""
        site = self.site
        if self._state == states.STREAMING and not self._skip_body():
            self.persistent = False
        linger = self._state == states.STREAMING
        self.request = None
        if self._collector.size:
            self._forget()
        site.in_flight -= 1
        if site.recorder is not None and request.started >= 0:
            now = site.clock.seconds()
            site.recorder.record(request.code, now - request.started, request.path, now)
        if request.upgrade:
            self.transport.registerProducer(self, True)
        if self._state in (states.ANSWERING, states.OFFERED, states.STREAMING):
            if self.persistent:
                self._state = TABLE[self._state][states.ANSWERED]
                self.deadline = site.now + site.limits.idle_timeout
                if self._held or self._paused:
                    self._go_on()
            else:
                self._held = b""
                self._close(linger)
        if site.draining:
            site.answered()

    def _refuse(self, status: int, detail: str) -> None:
        """Answer for a request that cannot be taken, and close. What has begun to be answered is cut instead."""
        request, site = self.request, self.site
        self._held = b""
        self._forget()
        if request is not None and request.startedWriting:
            self.abort()
        else:
            headers, body = site.refusal(status, detail)
            if site.recorder is not None:
                site.recorder.record(status, 0.0, b"", site.clock.seconds())
            head = b"%b%bConnection: close\r\n%bContent-Length: %d\r\n\r\n"
            self.transport.write(head % (status_line(status), site.preamble, headers, len(body)) + body)
            self._close(linger=True)
        self._drop_request(Failure(ConnectionAborted(detail)))

    def timed_out(self) -> None:
        """Called by the host when the deadline has passed."""
        limits, state = self.site.limits, self._state
        if self.transport is None:
            self._taken_over()
        elif state in (states.CLOSING, states.GONE) or self._flow & states.CLIENT_SLOW:
            self.abort()
        elif state == states.COLLECTING:
            self._refuse(408, f"the body did not arrive in {limits.body_timeout:g} s")
        elif state == states.STREAMING:
            self._refuse(408, f"nothing of the body arrived for {limits.body_timeout:g} s")
        elif state == states.HEADER:
            self._refuse(408, f"the header did not arrive in {limits.header_timeout:g} s")
        elif state == states.IDLE:
            self._close()
