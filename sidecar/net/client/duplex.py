"""A connection on which both sides send whole HTTP/1.1 messages when they like: what go-micro's streams run on.

Not HTTP as browsers know it: responses come without a request to each, until one side closes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

import httptools
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IPushProducer
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from sidecar.net.client.quickack import acknowledge
from sidecar.net.errors import ConnectionBroken, MalformedAnswer, NetError, QueueFull, TlsRefused
from sidecar.net.memory import MemoryBudget
from sidecar.net.reactor.unsent import CountsUnsent

#: Bytes that may wait for a peer that does not read.
UNSENT = 16 * 1024 * 1024

#: Status, headers with names in lower case, body.
RawResponse = tuple[int, dict[str, str], bytes]


@implementer(IPushProducer)
class DuplexConnection(Protocol):
    """Sends raw messages, hands over each response whole.

    :ivar made: called when it is connected.
    """

    transport: Any  # Twisted's interfaces do not tell a TCP transport's abilities

    def __init__(
        self,
        received: Callable[[RawResponse], None],
        lost: Callable[[NetError | None], None],
        max_body: int,
        budget: MemoryBudget | None = None,
    ) -> None:
        """:param lost: called once at the end: None when the peer closed between messages.
        :param max_body: bytes of the largest body to take.
        :param budget: told of what waits for the peer, None for nobody."""
        self._budget = budget
        self._received = received
        self._lost = lost
        self._max_body = max_body
        self._over = False
        self._slow = False
        self._unsent: deque[bytes] = deque()
        self._unsent_bytes = 0
        self.made: Callable[[], None] = lambda: None
        self._parser = httptools.HttpResponseParser(self)
        self._headers: dict[str, str] = {}
        self._body = bytearray()
        self._within = False

    # --- The owner's side -------------------------------------------------------------------------------------------

    def send(self, message: bytes) -> None:
        """Send a whole message. :raises QueueFull: more than ``UNSENT`` bytes wait for the peer already."""
        if self._over:
            return
        if not self._slow:
            self.transport.write(message)
        elif self._unsent_bytes + len(message) > UNSENT:
            raise QueueFull(f"{self._unsent_bytes} bytes wait for the peer to read them")
        else:
            self._unsent.append(message)
            self._unsent_bytes += len(message)
            if not self._may_keep():
                self._forget()
                assert self._budget is not None
                raise QueueFull(f"the peer does not read: {self._budget.spent}")

    def _may_keep(self) -> bool:
        """Tell the budget of all what waits. :returns: whether it may."""
        return self._budget is None or self._budget.changed(self, self._unsent_bytes, "messages")

    def _forget(self) -> None:
        self._unsent.clear()
        self._unsent_bytes = 0
        self._may_keep()

    def shed(self) -> None:
        """Called by the budget: what waits for all is too much, and here it is most."""
        assert self._budget is not None
        self._end(QueueFull(f"the peer does not read: {self._budget.spent}"))

    def pause(self) -> None:
        """Read no further, so that the peer has to wait."""
        if not self._over:
            self.transport.pauseProducing()

    def resume(self) -> None:
        """Go on reading."""
        if not self._over:
            self.transport.resumeProducing()

    def close(self) -> None:
        """Stop listening and close. ``lost`` is not called any more."""
        self._over = True
        self._forget()
        if self.transport is not None:
            self.transport.unregisterProducer()
            self.transport.loseConnection()

    # --- Twisted's side ---------------------------------------------------------------------------------------------

    def connectionMade(self) -> None:
        self.transport.setTcpNoDelay(True)
        if isinstance(self.transport, CountsUnsent):
            self.transport.budget = self._budget
        self.transport.registerProducer(self, True)
        if self._over:
            self.transport.loseConnection()
        else:
            self.made()

    def dataReceived(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._end(MalformedAnswer(f"not an HTTP response: {error.__context__ or error}"))
        if self._within and not self._over:
            acknowledge(self.transport)

    def pauseProducing(self) -> None:
        self._slow = True

    def resumeProducing(self) -> None:
        self._slow = False
        while self._unsent and not self._slow:
            message = self._unsent.popleft()
            self._unsent_bytes -= len(message)
            self.transport.write(message)
        if not self._may_keep():
            self.shed()

    def stopProducing(self) -> None:
        self._forget()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if isinstance(reason.value, TlsRefused):
            self._end(reason.value)
        elif self._within or not reason.check(ConnectionDone):
            self._end(ConnectionBroken("the connection broke within a message" if self._within else str(reason.value)))
        else:
            self._end(None)

    def _end(self, error: NetError | None) -> None:
        if not self._over:
            self.close()
            self._lost(error)

    # --- httptools' side --------------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        self._headers, self._body, self._within = {}, bytearray(), True

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_body(self, body: bytes) -> None:
        self._body += body
        if len(self._body) > self._max_body:
            self._end(MalformedAnswer(f"a message is over the limit of {self._max_body} bytes"))

    def on_message_complete(self) -> None:
        self._within = False
        if not self._over:
            response: Any = (self._parser.get_status_code(), self._headers, bytes(self._body))
            self._received(response)
