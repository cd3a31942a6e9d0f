"""An HTTP/1.1 server channel over httptools that feeds ordinary twisted.web resources.

One connection, one :class:`HTTPChannel`. A :class:`~sidecar.net.http.parser.RequestReader` makes requests of its bytes;
the channel has them answered one at a time, in order, and keeps the connection's manners: deadlines, back-pressure
both ways, upgrades, refusals with a JSON body, and a close that lets the client see its answer. While a request is
being answered, what the client sends next is not looked at, and only ``HELD_ENOUGH`` of it is taken from the socket.

:source: RFC 9112 (messages, connections), RFC 9110 (Expect, Upgrade)
"""

from __future__ import annotations

from typing import Any

from twisted.internet.interfaces import IAddress, IPushProducer, ISSLTransport, ITCPTransport
from twisted.internet.protocol import Protocol
from twisted.python.failure import Failure
from zope.interface import implementer

from sidecar.net.http.head import status_line
from sidecar.net.http.parser import RequestReader
from sidecar.net.http.request import SlimRequest
from sidecar.net.http.server import Host
from sidecar.net.http.validation import Refused

#: Bytes of further requests to take while one is being answered. More of them wait in the kernel.
HELD_ENOUGH = 16 * 1024

#: Where a channel stands. Anything but READING means that what comes in cannot be looked at now.
READING, ANSWERING, DEAF = range(3)

NEVER = float("inf")


@implementer(IPushProducer)
class HTTPChannel(Protocol):
    """One connection.

    :ivar transport: None after a resource took the connection over (a WebSocket did): it is not ours then.
    :ivar deadline: when the host's sweep is to call :meth:`timed_out`, by its ``now``.
    :ivar persistent: whether the connection stays open after the answer.
    :ivar identity: who is at the other end, kept here for whoever found it out.
    """

    transport: Any
    deadline = NEVER
    persistent = True
    identity: object = None
    request: SlimRequest | None = None

    _state = READING
    _held = b""  # received while it could not be looked at
    _choked = False  # the client does not take what we send
    _paused = False  # we do not read
    _begun = False  # a header is coming, and has its deadline
    _asked = 0.0  # when a body began to come
    _counted = False  # a request is in flight of which the body is still coming
    _buffered = 0  # how much of it the host counts
    _producer: Any = None

    def __init__(self, site: Host) -> None:
        self.site = site
        self.factory: Any = site
        self._reader = RequestReader(site.limits)

    # --- The connection -----------------------------------------------------------------------------------------------

    def connectionMade(self) -> None:
        site = self.site
        site.opened(self)
        self.transport.registerProducer(self, True)
        self.deadline = site.now + min(site.limits.header_timeout, site.limits.idle_timeout)
        if site.full:
            self._refuse(
                503, f"{site.limits.max_connections} connections are open, which is the limit: try again later"
            )

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]  # Protocol has a default for it
        self._leave(reason)

    def _leave(self, reason: Failure | None) -> None:
        """The connection is no longer there, or (without a reason) no longer ours."""
        self._state = DEAF
        self.deadline = NEVER
        self._held = b""
        self._reader.close()
        self.site.closed(self)
        request, self.request = self.request, None
        if request is not None and reason is not None:
            self._count(-1)
            request.connectionLost(reason)
        self._drop_body()

    # --- Receiving ----------------------------------------------------------------------------------------------------

    def dataReceived(self, data: bytes) -> None:
        if self._state or self._held or self._choked:
            self._hold(data)
        else:
            self._read(data)

    def _read(self, data: bytes) -> None:
        """Have the requests in ``data`` answered, as far as that can be done at once."""
        reader, site = self._reader, self.site
        try:
            while True:
                data = reader.take(data)
                if not reader.complete:
                    self._await_rest()
                    return
                self._begun = False
                if self._counted:
                    self._drop_body()
                self.persistent = reader.persistent
                request = self.request = SlimRequest(self, reader)
                site.in_flight += 1
                if site.recorder is not None:
                    request.started = site.clock.seconds()
                self._state = ANSWERING
                self.deadline = NEVER
                if reader.upgrade:
                    self._offer(request, data)
                    return
                request.process()
                if self.transport is None:
                    self._taken_over()
                    return
                if not data:
                    return
                if self._state or self._choked:
                    self._hold(data)
                    return
        except Refused as refused:
            self._refuse(refused.status, refused.detail)

    def _await_rest(self) -> None:
        """A part of a request is here: see that the rest comes in time, and count what is waiting for it."""
        reader, site = self._reader, self.site
        limits = site.limits
        if not reader.in_body:
            if reader.begun and not self._begun:
                self._begun = True
                self.deadline = site.now + limits.header_timeout
            return
        if not self._counted:
            self._counted = True
            self._begun = False
            self._count(1)
            self._asked = site.now
        site.buffered += reader.received - self._buffered
        self._buffered = reader.received
        if site.buffered > limits.max_buffered:
            raise Refused(503, "too many bodies are being received at once: try again later")
        self.deadline = self._asked + limits.body_timeout + reader.received / limits.body_rate
        if reader.wants_continue:
            reader.wants_continue = False
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def _drop_body(self) -> None:
        """No body is coming any more."""
        if self._counted:
            self._counted = False
            self.site.buffered -= self._buffered
            self._buffered = 0
            self._count(-1)

    def _count(self, change: int) -> None:
        self.site.in_flight += change
        if change < 0 and self.site.draining:
            self.site.answered()

    def _hold(self, data: bytes) -> None:
        """Keep for later, and stop reading when it is enough."""
        if self._state != DEAF:
            self._held += data
            if len(self._held) > HELD_ENOUGH:
                self._pause()

    def _go_on(self) -> None:
        """Look at what was held, where that can be done now."""
        while self._held and not self._state and not self._choked:
            held, self._held = self._held, b""
            self._read(held)
        if self._paused and not self._choked and len(self._held) <= HELD_ENOUGH and self.transport is not None:
            self._paused = False
            self.transport.resumeProducing()

    def _pause(self) -> None:
        if not self._paused:
            self._paused = True
            self.transport.pauseProducing()

    # --- Another protocol ---------------------------------------------------------------------------------------------

    def _offer(self, request: SlimRequest, rest: bytes) -> None:
        """Have a request answered that asks for another protocol; ``rest`` is the first of that, if it gets it.

        Whoever takes the connection over finds no producer on it, and what came after the header as content. It takes
        the transport away from us, and tells nobody: so it is looked at now and in every sweep.
        """
        self._held = rest
        self.deadline = self.site.now
        self.transport.unregisterProducer()
        request.upgrade = True
        request.process()
        if self.transport is None:
            self._taken_over()

    def following(self) -> bytes:
        """What came after the header of a request that asks for another protocol."""
        return self._held

    def _taken_over(self) -> None:
        request, site = self.request, self.site
        if request is not None and not request.upgrade:
            request.transport.unregisterProducer()  # nobody asked for that, and we were still on it
        if site.recorder is not None and request is not None:
            site.recorder.record(101, site.clock.seconds() - request.started)
        self._count(-1)
        self._leave(None)

    # --- Answering ----------------------------------------------------------------------------------------------------

    def persistence(self) -> bytes:
        """The Connection line that the answer at hand needs, "" for none."""
        if self.site.draining:
            self.persistent = False
        if not self.persistent:
            return b"Connection: close\r\n"
        request = self.request
        if request is not None and request.clientproto == b"HTTP/1.0":
            return b"Connection: keep-alive\r\n"
        return b""

    def requestDone(self, request: SlimRequest) -> None:
        """Called by the request when its answer is written."""
        self.request = None
        site = self.site
        site.in_flight -= 1
        if site.recorder is not None:
            site.recorder.record(request.code, site.clock.seconds() - request.started)
        if request.upgrade:
            self.transport.registerProducer(self, True)
        if self._state == ANSWERING:
            if self.persistent:
                self._state = READING
                self.deadline = site.now + site.limits.idle_timeout
                if self._held or self._paused:
                    self._go_on()
            else:
                self._close()
        if site.draining:
            site.answered()

    def _refuse(self, status: int, detail: str) -> None:
        """Answer for a request that cannot be taken, and close."""
        site = self.site
        self._drop_body()
        headers, body = site.refusal(status, detail)
        if site.recorder is not None:
            site.recorder.record(status, 0.0)
        head = b"%b%bConnection: close\r\n%bContent-Length: %d\r\n\r\n"
        self.transport.write(head % (status_line(status), site.preamble, headers, len(body)) + body)
        self._close(linger=True)

    # --- Leaving ------------------------------------------------------------------------------------------------------

    def _close(self, linger: bool = False) -> None:
        """Close after what was written.

        :param linger: the client may still be sending, and would lose the answer to the reset that closing then brings.
            So only our side is closed, and what comes is thrown away for a while. (TLS closes so by itself.)
        """
        self._state = DEAF
        self._held = b""
        self.deadline = self.site.now + self.site.limits.linger
        transport = self.transport
        transport.unregisterProducer()
        if self._paused:
            self._paused = False
            transport.resumeProducing()
        if linger and ITCPTransport.providedBy(transport) and not self.isSecure():
            transport.loseWriteConnection()
        else:
            transport.loseConnection()

    def abort(self) -> None:
        """Cut the connection: an answer cannot be completed, and the client must be able to see that."""
        self._state = DEAF
        self.deadline = NEVER
        self.transport.abortConnection()

    def timed_out(self) -> None:
        """Called by the host when the deadline has passed."""
        limits = self.site.limits
        if self.transport is None:
            self._taken_over()
        elif self._state == DEAF or self._choked:
            self.abort()
        elif self._state == ANSWERING:
            pass  # an upgrade that is still being thought about
        elif self._reader.in_body:
            self._refuse(408, f"the body did not arrive in {limits.body_timeout:g} s")
        elif self._reader.begun:
            self._refuse(408, f"the header did not arrive in {limits.header_timeout:g} s")
        else:
            self._close()

    def close_if_idle(self) -> None:
        """Close now, if nothing is asked that has no answer yet."""
        if self._state == READING and not self._reader.begun:
            self._close()

    # --- Back-pressure: we are the transport's producer ---------------------------------------------------------------

    def pauseProducing(self) -> None:
        """The client does not take what we send: take nothing from it either, and have the resource wait."""
        self._choked = True
        if self._state != DEAF:
            self.deadline = self.site.now + self.site.limits.idle_timeout
        self._pause()
        if self._producer is not None:
            self._producer.pauseProducing()

    def resumeProducing(self) -> None:
        self._choked = False
        if self._state == ANSWERING:
            self.deadline = NEVER
        if self._producer is not None:
            self._producer.resumeProducing()
        self._go_on()

    def stopProducing(self) -> None:
        if self._producer is not None:
            self._producer.stopProducing()

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """Called by the request. A push producer hears from us, a pull producer from the transport itself."""
        if self._producer is not None:
            raise RuntimeError(f"{self._producer!r} was never unregistered, so {producer!r} cannot be registered")
        self._producer = producer
        if not streaming:
            self.transport.unregisterProducer()
            self.transport.registerProducer(producer, False)
        elif self._choked:
            producer.pauseProducing()

    def unregisterProducer(self) -> None:
        if self._producer is not None:
            self._producer = None
            self.transport.unregisterProducer()
            if self._state != DEAF:
                self.transport.registerProducer(self, True)

    # --- What requests and resources ask of a channel -----------------------------------------------------------------

    def getPeer(self) -> IAddress:
        return self.transport.getPeer()

    def getHost(self) -> IAddress:
        return self.transport.getHost()

    def isSecure(self) -> bool:
        return ISSLTransport.providedBy(self.transport)

    def write(self, data: bytes) -> None:
        self.transport.write(data)

    def writeSequence(self, data: list[bytes]) -> None:
        self.transport.writeSequence(data)

    def loseConnection(self) -> None:
        """A resource gives up on the client. Its request is told when the connection is gone."""
        if self._state == DEAF:
            return
        self._state = DEAF
        self.deadline = self.site.now + self.site.limits.linger
        self.transport.unregisterProducer()
        self.transport.loseConnection()
