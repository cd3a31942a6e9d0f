"""The switch that tells HTTP/2 without TLS from HTTP/1.1 on one port.

A v2 go-micro client speaks gRPC to every node, whatever the registry says of it; so the port that answers go-micro
calls for an app has to hear both.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final
from typing import Protocol as TypingProtocol

from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IProtocol
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure

from sidecar.net.http.connection import NEVER, ServerConnection
from sidecar.net.http.server import Host

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


class SwitchedHost(Host, TypingProtocol):
    """A site that serves HTTP/1.1, and keeps the connections of both by the same limits."""

    def admits(self) -> bool:
        """Whether one more connection is taken, if only to be told that there are too many."""

    def buildProtocol(self, addr: Any) -> Any: ...

    def doStart(self) -> None: ...

    def doStop(self) -> None: ...


class Switch(Protocol):
    """Reads the first bytes of a connection and hands it to whom they are meant for.

    Until then it is one of its site's connections, with a deadline, so that nobody holds one in silence.
    """

    transport: Any
    deadline = NEVER
    idle = True

    def __init__(self, site: Host, choose: Callable[[bool], IProtocol | None]) -> None:
        """:param choose: given whether the peer speaks HTTP/2, the protocol that serves it; None refuses."""
        self._site = site
        self._choose = choose
        self._head = b""
        self._chosen: IProtocol | None = None

    def connectionMade(self) -> None:
        self._site.opened(self)
        self.deadline = self._site.now + self._site.limits.header_timeout

    def dataReceived(self, data: bytes) -> None:
        if self._chosen is not None:
            self._chosen.dataReceived(data)
            return
        self._head += data
        if len(self._head) < len(PREFACE) and PREFACE.startswith(self._head):
            return
        self._site.closed(self)
        self._chosen = self._choose(self._head.startswith(PREFACE))
        if self._chosen is None:
            self.transport.loseConnection()
            return
        if isinstance(self._chosen, ServerConnection):
            self._chosen.succeed = self._succeeded
        self._chosen.makeConnection(self.transport)
        head, self._head = self._head, b""
        self._chosen.dataReceived(head)

    def _succeeded(self, heir: IProtocol) -> None:
        """Another protocol goes on with the connection."""
        self._chosen = heir

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self._chosen is not None:
            self._chosen.connectionLost(reason)
        else:
            self._site.closed(self)

    # --- While nobody is chosen: what a site asks of a connection -----------------------------------------------------

    def timed_out(self) -> None:
        self.deadline = NEVER
        self.transport.abortConnection()

    def close_if_idle(self) -> None:
        self.transport.loseConnection()

    def continue_reading(self) -> None:
        """Nothing is kept."""


def hand_over(channel: ServerConnection, heir: IProtocol) -> None:
    """Have ``heir`` go on with a connection behind a switch, and with what comes next on it.

    The request that is being answered there gets no answer; who answers it is told as if the client had left."""
    request, channel.heir = channel.request, heir
    channel.transport.unregisterProducer()
    transport, held = channel.give_away()
    if request is not None:
        request.connectionLost(Failure(ConnectionDone("another protocol goes on here")))
    assert channel.succeed is not None
    channel.succeed(heir)
    heir.makeConnection(transport)
    if held:
        heir.dataReceived(held)


class SwitchFactory(Factory):
    """Serves HTTP/1.1 and HTTP/2 on one port, with one count of connections and one set of limits."""

    noisy = False

    def __init__(self, site: SwitchedHost, http2: Callable[[], IProtocol]) -> None:
        """:param site: serves what speaks HTTP/1.1. :param http2: makes what serves a connection of HTTP/2."""
        self._site = site
        self._http2 = http2

    def doStart(self) -> None:
        super().doStart()
        self._site.doStart()

    def doStop(self) -> None:
        self._site.doStop()
        super().doStop()

    def buildProtocol(self, addr: Any) -> Switch | None:
        if not self._site.admits():
            return None

        def choose(http2: bool) -> IProtocol | None:
            if http2:
                self._site.admits()  # which says anew whether it is full
                return self._http2()
            return self._site.buildProtocol(addr)

        return Switch(self._site, choose)
