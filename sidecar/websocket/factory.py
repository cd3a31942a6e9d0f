"""Makes WebSockets out of HTTP requests: Autobahn's options, once for all connections."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from autobahn.twisted.resource import WebSocketResource
from autobahn.twisted.websocket import WebSocketServerFactory
from twisted.internet.interfaces import IReactorTime
from txaio import tx

from sidecar.net.reactor.turns import Turns
from sidecar.websocket.protocol import Session, WebSocketConnection


class WebSocketConnectionFactory(WebSocketServerFactory):
    """Autobahn's options, once for all connections."""

    log = tx.make_logger(level="critical")

    def __init__(
        self,
        clock: IReactorTime,
        max_message: int,
        gone: Callable[[WebSocketConnection], None],
        incomplete: Callable[[WebSocketConnection], None],
        shed: Callable[[WebSocketConnection], None],
    ) -> None:
        """:param max_message: bytes of the largest message that is taken. :param gone: told of each connection that is
        gone, whether it was ever open or not."""
        # Autobahn's own timers would go to the global reactor otherwise.
        tx.config.loop = clock  # type: ignore[assignment]  # declared by its default, None
        super().__init__(reactor=clock, server="")
        self.clock = clock
        self.max_message = max_message
        self.gone = gone
        self.incomplete = incomplete
        self.shed = shed
        self.turns = Turns(clock)
        self.setProtocolOptions(
            versions=[13],
            webStatus=False,
            maxFramePayloadSize=max_message,
            maxMessagePayloadSize=max_message,
            failByDrop=False,  # say 1002, 1007 or 1009 before hanging up
            echoCloseCodeReason=True,
            # Times are kept by WebSocketConnection and WebSockets: Autobahn's clockwork rounds to whole seconds.
            openHandshakeTimeout=0,
            closeHandshakeTimeout=0,
            # The Origin was judged before the request came here.
            allowNullOrigin=True,
        )
        # Autobahn copies each option to each connection. As the class's attributes they are there once.
        options = {name: _unbound(getattr(self, name)) for name in WebSocketConnection.CONFIG_ATTRS}
        self.connection = type("Connection", (WebSocketConnection,), {**options, "CONFIG_ATTRS": ()})

    def serve(self, session: Session) -> WebSocketConnection:
        """:returns: a connection for ``session``, still without a transport."""
        connection: WebSocketConnection = self.connection(session, self.clock, self.max_message)
        connection.factory = self
        return connection


def _unbound(option: Any) -> Any:
    """An option that is a function, kept from becoming a method of the class that holds it."""
    return staticmethod(option) if callable(option) else option


def attach(request: Any, connection: WebSocketConnection) -> int:
    """Have ``connection`` go on with what was an HTTP request's. :returns: NOT_DONE_YET."""
    result: int = WebSocketResource(_SingleConnectionFactory(connection)).render(request)
    return result


class _SingleConnectionFactory:
    """A factory that has its one protocol already."""

    def __init__(self, connection: WebSocketConnection) -> None:
        self._connection = connection

    def buildProtocol(self, _: Any) -> WebSocketConnection:
        return self._connection
