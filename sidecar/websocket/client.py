"""A WebSocket client that listens: for ``micro subscribe`` and for tests."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from autobahn.twisted.websocket import WebSocketClientFactory, WebSocketClientProtocol
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.python.failure import Failure


class Ended(Exception):
    """The connection is over. :ivar code: the close code, None where there was none."""

    def __init__(self, text: str, code: int | None = None) -> None:
        super().__init__(text)
        self.code = code


class ListeningClient(WebSocketClientProtocol):
    """Hands over each message, and tells when the connection opened and ended."""

    factory: ListeningFactory

    def onOpen(self) -> None:
        self.factory.opened(self)

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        self.factory.deliver(payload)

    def onClose(self, wasClean: bool, code: int | None, reason: str | None) -> None:
        text = reason or ("the connection was closed" if wasClean else "the connection was lost")
        self.factory.end(Ended(text if code in (None, 1006) else f"{text} (close code {code})", code))


class ListeningFactory(WebSocketClientFactory):
    """Makes one connection."""

    noisy = False
    protocol = ListeningClient  # type: ignore[assignment]  # Factory wants it to know Factory, it knows us

    def __init__(
        self,
        reactor: Any,
        url: str,
        deliver: Callable[[bytes], None],
        opened: Callable[[ListeningClient], None],
        headers: Mapping[str, str],
    ) -> None:
        super().__init__(url, headers=dict(headers), reactor=reactor)
        if ":" in self.host:
            self.host = f"[{self.host}]"  # Autobahn writes it into the Host header as it stands
        self.deliver = deliver
        self.opened = opened
        self.ended: Deferred[Ended] | None = Deferred()
        self.setProtocolOptions(openHandshakeTimeout=30, autoPingInterval=25, autoPingTimeout=25)

    def end(self, how: Ended) -> None:
        ended, self.ended = self.ended, None
        if ended is not None:
            ended.callback(how)


def listen(
    reactor: Any,
    endpoint: IStreamClientEndpoint,
    url: str,
    deliver: Callable[[bytes], None],
    opened: Callable[[ListeningClient], None],
    headers: Mapping[str, str] = MappingProxyType({}),
) -> Deferred[Ended]:
    """Connect and hand over messages until the connection ends.

    :param endpoint: where to connect, TLS included. :param url: ``ws://host:port/path?query`` for the handshake.
    :param deliver: called with the payload of each message.
    :param opened: called with the protocol once the handshake is done.
    :param headers: to send with the handshake.
    :returns: fires with how it ended, whoever ended it; fails where no connection came about.
    """
    factory = ListeningFactory(reactor, url, deliver, opened, headers)
    ended = factory.ended
    assert ended is not None

    def failed(failure: Failure) -> None:
        factory.ended = None
        ended.errback(failure)

    endpoint.connect(factory).addErrback(failed)
    return ended
