"""A Redis in little: publishing and subscribing in RESP2, in the test's own reactor."""

from __future__ import annotations

from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.ssl import DefaultOpenSSLContextFactory


def _bulk(*parts: bytes | int) -> bytes:
    """An array."""
    texts = [b":%d\r\n" % part if isinstance(part, int) else b"$%d\r\n%b\r\n" % (len(part), part) for part in parts]
    return b"*%d\r\n" % len(parts) + b"".join(texts)


class FakeRedisConnection(Protocol):
    """One client. :ivar channels: what it is subscribed to."""

    transport: Any

    def __init__(self, server: FakeRedis) -> None:
        self.server = server
        self.channels: dict[bytes, None] = {}
        self._buffer = b""
        self._known = not server.password

    def connectionMade(self) -> None:
        self.server.connections.append(self)

    def connectionLost(self, reason: Any = None) -> None:
        if self in self.server.connections:
            self.server.connections.remove(self)

    def dataReceived(self, data: bytes) -> None:
        if self.server.frozen:
            return
        self._buffer += data
        while (command := self._next()) is not None:
            self._carry_out(command)

    def _next(self) -> list[bytes] | None:
        """A whole command, if there is one."""
        head, mark, _ = self._buffer.partition(b"\r\n")
        if not mark:
            return None
        at, words = len(head) + 2, []
        for _ in range(int(head[1:])):
            end = self._buffer.find(b"\r\n", at)
            if end < 0:
                return None
            size = int(self._buffer[at + 1 : end])
            at = end + 2
            if len(self._buffer) < at + size + 2:
                return None
            words.append(self._buffer[at : at + size])
            at += size + 2
        self._buffer = self._buffer[at:]
        return words

    def _carry_out(self, command: list[bytes]) -> None:
        verb, *words = command
        name = verb.upper().decode()
        if name == "AUTH":
            self._known = words[-1].decode() == self.server.password
            self.transport.write(b"+OK\r\n" if self._known else b"-WRONGPASS invalid username-password pair\r\n")
        elif not self._known:
            self.transport.write(b"-NOAUTH Authentication required.\r\n")
        elif name == "SUBSCRIBE":
            for channel in words:
                self.channels[channel] = None
                self.transport.write(_bulk(b"subscribe", channel, len(self.channels)))
        elif name == "UNSUBSCRIBE":
            for channel in words:
                self.channels.pop(channel, None)
                self.transport.write(_bulk(b"unsubscribe", channel, len(self.channels)))
        elif name == "PUBLISH":
            self.transport.write(b":%d\r\n" % self.server.publish(*words))
        elif name == "PING":
            self.transport.write(_bulk(b"pong", b"") if self.channels else b"+PONG\r\n")
        else:
            self.transport.write(b"+OK\r\n")


@define(eq=False)
class FakeRedis:
    """The server.

    :ivar published: every message, as channel and payload. :ivar password: what a client must show, "" for nothing.
    :ivar frozen: whether it stopped answering anything.
    """

    reactor: Any
    port: int = 0
    password: str = ""
    frozen: bool = False
    connections: list[FakeRedisConnection] = field(factory=list)
    published: list[tuple[bytes, bytes]] = field(factory=list)
    #: The files of its certificate and key, for TLS.
    certificate: tuple[str, str] | None = None
    _listening: Any = None

    def start(self) -> None:
        factory = Factory.forProtocol(lambda: FakeRedisConnection(self))
        factory.noisy = False
        if self.certificate:
            context = DefaultOpenSSLContextFactory(self.certificate[1], self.certificate[0])
            self._listening = self.reactor.listenSSL(self.port, factory, context, interface="127.0.0.1")
        else:
            self._listening = self.reactor.listenTCP(self.port, factory, interface="127.0.0.1")
        self.port = self._listening.getHost().port

    def stop(self) -> Deferred[None]:
        """Stop listening and drop every client."""
        listening, self._listening = self._listening, None
        for connection in list(self.connections):
            connection.transport.abortConnection()
        return maybeDeferred(listening.stopListening) if listening is not None else maybeDeferred(lambda: None)

    def publish(self, channel: bytes, payload: bytes) -> int:
        """:returns: how many got it."""
        self.published.append((channel, payload))
        hearing = [connection for connection in self.connections if channel in connection.channels]
        for connection in hearing:
            connection.transport.write(_bulk(b"message", channel, payload))
        return len(hearing)
