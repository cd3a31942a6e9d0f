"""A stream of a caller in go-micro's own protocol: whole HTTP messages either way on a connection of its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from twisted.internet.interfaces import IDelayedCall, IPushProducer
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from sidecar.errors import CallerError
from sidecar.model import Call, Fault, Reply
from sidecar.net.errors import MalformedAnswer
from sidecar.net.http.connection import NEVER
from sidecar.net.http.server import Host
from sidecar.net.wholerequests import WholeRequests
from sidecar.web.app.app import App
from sidecar.web.app.stream import InboundStream
from sidecar.wire import faults
from sidecar.wire.mucp import server, streams
from sidecar.wire.mucp.server import IncomingCall

#: Seconds after our end in which the caller may say its own, before the connection is closed.
FAREWELL: Final = 2.0


@implementer(IPushProducer)
class MucpStreamConnection(Protocol):
    """Goes on with the connection on which a stream was opened.

    It is one of the connections of its site, and what is under way on it counts among the requests there.

    :ivar deadline: never: streams last as long as their two sides like.
    """

    transport: Any
    deadline = NEVER
    idle = False

    def __init__(
        self, site: Host, app: App, incoming: IncomingCall, fields: Mapping[str, str], call: Call, timeout: float
    ) -> None:
        """:param incoming: what opened the stream. :param fields: its header. :param call: the same for the app.
        :param timeout: seconds that a call may take, where the app has no stream."""
        self._site = site
        self._incoming = incoming
        self._echoed = server.echoed(fields)
        self._stream = InboundStream(app, call, self, timeout, incoming.body)
        self._clock = app.transport.clock
        self._requests = WholeRequests(self._message, site.limits.max_body)
        self._finished = self._closed = False
        self._counts = True
        self._farewell: IDelayedCall | None = None

    # --- Twisted's side -----------------------------------------------------------------------------------------------

    def connectionMade(self) -> None:
        self._site.opened(self)
        self._site.in_flight += 1
        self.transport.registerProducer(self, True)
        self._stream.start()

    def dataReceived(self, data: bytes) -> None:
        if self._closed:
            return
        try:
            self._requests.feed(data)
        except MalformedAnswer:
            self._close()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._closed = True
        if self._farewell is not None and self._farewell.active():
            self._farewell.cancel()
        self._over()
        self._site.closed(self)
        self._stream.leave()

    def pauseProducing(self) -> None:
        self._stream.pause()

    def resumeProducing(self) -> None:
        self._stream.resume()

    def stopProducing(self) -> None:
        """The connection is lost; we are told of that too."""

    # --- The site's side ----------------------------------------------------------------------------------------------

    def timed_out(self) -> None:
        """There is no deadline."""

    def close_if_idle(self) -> None:
        """It is not, before it is over."""

    def continue_reading(self) -> None:
        """Nothing is kept."""

    def _message(self, fields: Mapping[str, str], body: bytes) -> None:
        if (fields.get("micro-error") or fields.get("x-micro-error")) == streams.EOS:
            self._stream.ended()
            if self._finished:
                self._close()
            return
        try:
            incoming = server.decode(fields, body)
        except CallerError as error:
            self._stream.leave()
            self.finish(Fault(self._stream.app.name, 400, str(error), faults.reason(400)))
            return
        self._stream.received(incoming.body)

    # --- The stream's side --------------------------------------------------------------------------------------------

    def say(self, payload: bytes) -> None:
        if not self._closed:
            self._write(*server.encode(self._incoming, Reply(payload)))

    def finish(self, fault: Fault | None) -> None:
        """The stream is over. Its caller closes the connection, which may take what we have written."""
        if self._closed or self._finished:
            return
        self._finished = True
        if fault is None:
            self._write(*server.encode_end(self._incoming))
        else:
            self._write(*server.encode(self._incoming, fault))
        self._over()
        self._farewell = self._clock.callLater(FAREWELL, self._close)

    def _write(self, headers: Mapping[str, str], payload: bytes) -> None:
        lines = "".join(f"{name}: {value}\r\n" for name, value in {**self._echoed, **headers}.items())
        head = f"HTTP/1.1 200 OK\r\n{lines}Content-Length: {len(payload)}\r\n\r\n"
        self.transport.write(head.encode("latin-1") + payload)

    def _over(self) -> None:
        """It no longer counts among the requests."""
        if self._counts:
            self._counts = False
            self._site.in_flight -= 1
            if self._site.draining:
                self._site.answered()

    def _close(self) -> None:
        if not self._closed:
            self._closed = True
            self.transport.unregisterProducer()
            self.transport.loseConnection()
