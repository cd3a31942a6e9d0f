"""A NATS server in little: the core protocol as far as our client speaks it, in the test's own reactor."""

from __future__ import annotations

import json
import random
from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.protocol import Factory
from twisted.protocols.basic import LineReceiver


def matches(pattern: str, subject: str) -> bool:
    """Whether a subscription to ``pattern`` gets what is published to ``subject``."""
    wanted, tokens = pattern.split("."), subject.split(".")
    for index, token in enumerate(wanted):
        if token == ">":
            return len(tokens) > index
        if index >= len(tokens) or token not in ("*", tokens[index]):
            return False
    return len(wanted) == len(tokens)


class FakeNatsConnection(LineReceiver):
    """One client. :ivar subscriptions: by their id: subject pattern and queue."""

    MAX_LENGTH = 1024 * 1024
    transport: Any

    def __init__(self, server: FakeNats) -> None:
        self.server = server
        self.subscriptions: dict[str, tuple[str, str]] = {}
        self.echo = True
        self._payload: tuple[str, str, int] | None = None
        self._body = b""

    def connectionMade(self) -> None:
        self.server.connections.append(self)
        info = {"server_id": "FAKE", "version": "2.9.10", "proto": 1, "max_payload": self.server.max_payload}
        if self.server.token:
            info["auth_required"] = True
        self.sendLine(b"INFO " + json.dumps(info).encode())

    def connectionLost(self, reason: Any = None) -> None:
        if self in self.server.connections:
            self.server.connections.remove(self)

    def lineReceived(self, line: bytes) -> None:
        verb, _, rest = line.decode().partition(" ")
        words = rest.split()
        if self.server.frozen:
            return
        if verb == "CONNECT":
            options = json.loads(rest)
            self.echo = options.get("echo", True)
            if self.server.token and options.get("auth_token") != self.server.token:
                self.sendLine(b"-ERR 'Authorization Violation'")
                self.transport.loseConnection()
        elif verb == "PING":
            self.sendLine(b"PONG")
        elif verb == "SUB":
            subject, queue, number = words[0], words[1] if len(words) == 3 else "", words[-1]
            if subject in self.server.forbidden:
                self.sendLine(f"-ERR 'Permissions Violation for Subscription to \"{subject}\"'".encode())
            else:
                self.subscriptions[number] = (subject, queue)
                self.server.subscribed()
        elif verb == "UNSUB":
            self.subscriptions.pop(words[0], None)
        elif verb == "PUB":
            self._payload = (words[0], words[1] if len(words) == 3 else "", int(words[-1]))
            self._body = b""
            self.setRawMode()

    def rawDataReceived(self, data: bytes) -> None:
        assert self._payload is not None
        subject, reply, size = self._payload
        self._body += data
        if len(self._body) < size + 2:
            return
        payload, rest = self._body[:size], self._body[size + 2 :]
        if subject in self.server.forbidden:
            self.sendLine(f"-ERR 'Permissions Violation for Publish to \"{subject}\"'".encode())
        else:
            self.server.route(subject, reply, payload, self)
        self.setLineMode(rest)

    def send(self, number: str, subject: str, reply: str, payload: bytes) -> None:
        words = ["MSG", subject, number, *([reply] if reply else []), str(len(payload))]
        self.transport.write(" ".join(words).encode() + b"\r\n" + payload + b"\r\n")


@define(eq=False)
class FakeNats:
    """The server.

    :ivar published: every message that came, as subject and payload, in order.
    :ivar token: what a client must show, "" for nothing.
    :ivar forbidden: subjects that nobody may use.
    :ivar frozen: whether it stopped answering anything.
    """

    reactor: Any
    max_payload: int = 1024 * 1024
    token: str = ""
    port: int = 0
    frozen: bool = False
    forbidden: set[str] = field(factory=set)
    connections: list[FakeNatsConnection] = field(factory=list)
    published: list[tuple[str, bytes]] = field(factory=list)
    _listening: Any = None

    def start(self) -> None:
        factory = Factory.forProtocol(lambda: FakeNatsConnection(self))
        factory.noisy = False
        self._listening = self.reactor.listenTCP(self.port, factory, interface="127.0.0.1")
        self.port = self._listening.getHost().port

    def stop(self) -> Deferred[None]:
        """Stop listening and drop every client."""
        listening, self._listening = self._listening, None
        self.drop()
        return maybeDeferred(listening.stopListening) if listening is not None else maybeDeferred(lambda: None)

    def drop(self) -> None:
        """Drop every client."""
        for connection in list(self.connections):
            connection.transport.abortConnection()

    def subscribed(self) -> None:
        """Somebody subscribed to something."""

    def route(self, subject: str, reply: str, payload: bytes, sender: FakeNatsConnection | None = None) -> None:
        self.published.append((subject, payload))
        groups: dict[str, list[tuple[FakeNatsConnection, str]]] = {}
        for connection in self.connections:
            if connection is sender and not connection.echo:
                continue
            for number, (pattern, queue) in connection.subscriptions.items():
                if matches(pattern, subject):
                    if queue:
                        groups.setdefault(f"{pattern} {queue}", []).append((connection, number))
                    else:
                        connection.send(number, subject, reply, payload)
        for members in groups.values():
            connection, number = random.choice(members)
            connection.send(number, subject, reply, payload)
