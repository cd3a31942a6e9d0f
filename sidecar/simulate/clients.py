"""Who asks in a simulation: one request a connection, and subscribers over WebSockets."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any, Final

from twisted.internet.protocol import ClientFactory, Protocol, connectionDone
from twisted.python.failure import Failure

#: Told the status and the body of an answer; 0 where there was none.
Answered = Callable[[int, bytes], None]

_HANDSHAKE: Final = (
    b"GET %b HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
_CLOSE: Final = 8
_PING: Final = 9


class OneProtocol(ClientFactory):
    """A factory of one protocol. :ivar failed: told where no connection was made."""

    noisy = False

    def __init__(self, protocol: Protocol, failed: Callable[[], None] = lambda: None) -> None:
        self._protocol = protocol
        self._failed = failed

    def buildProtocol(self, addr: Any) -> Protocol:
        return self._protocol

    def clientConnectionFailed(self, connector: Any, reason: Failure) -> None:
        self._failed()


class OneRequest(Protocol):
    """One request, and its answer when the other side has closed."""

    def __init__(self, method: str, target: str, body: bytes, headers: dict[str, str], answered: Answered) -> None:
        fields = {"Host": "localhost", "Connection": "close", "Content-Length": str(len(body)), **headers}
        lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        self._request = f"{method} {target} HTTP/1.1\r\n{lines}\r\n".encode() + body
        self._answered = answered
        self._came = b""

    def connectionMade(self) -> None:
        assert self.transport is not None
        self.transport.write(self._request)

    def dataReceived(self, data: bytes) -> None:
        self._came += data

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        head, found, body = self._came.partition(b"\r\n\r\n")
        status = int(head.split(b" ", 2)[1]) if found else 0
        self._answered(status, body)

    def failed(self) -> None:
        """No connection was made."""
        self._answered(0, b"")


class SubscriberClient(Protocol):
    """A WebSocket that listens. :ivar opened: told when it hears. :ivar heard: told the body of each message."""

    def __init__(
        self, target: str, opened: Callable[[], None], heard: Callable[[bytes], None], left: Callable[[], None]
    ) -> None:
        self._target = target
        self._opened, self._heard, self._left = opened, heard, left
        self._came = b""
        self._open = False

    def connectionMade(self) -> None:
        assert self.transport is not None
        self.transport.write(_HANDSHAKE % self._target.encode("ascii"))

    def dataReceived(self, data: bytes) -> None:
        self._came += data
        if not self._open:
            head, found, rest = self._came.partition(b"\r\n\r\n")
            if not found:
                return
            if b" 101 " not in head.split(b"\r\n")[0]:
                self.leave()
                return
            self._open, self._came = True, rest
            self._opened()
        while self._frame():
            pass

    def _frame(self) -> bool:
        """Take one frame of a server, which is never masked. :returns: whether there was one."""
        came = self._came
        if len(came) < 2:
            return False
        size, at = came[1] & 0x7F, 2
        if size >= 126:
            width = 2 if size == 126 else 8
            size, at = int.from_bytes(came[2 : 2 + width], "big"), 2 + width
        if len(came) < at + size:
            return False
        payload, self._came = came[at : at + size], came[at + size :]
        opcode = came[0] & 0x0F
        if opcode == _CLOSE:
            self.leave()
        elif opcode == _PING:
            self._send(10, payload)
        elif opcode in (1, 2):
            self._heard(base64.b64decode(json.loads(payload)["Body"]))
        return True

    def _send(self, opcode: int, payload: bytes) -> None:
        assert self.transport is not None
        # A mask of zeros leaves the payload as it is.
        self.transport.write(bytes((0x80 | opcode, 0x80 | len(payload), 0, 0, 0, 0)) + payload)

    def leave(self) -> None:
        """Close it."""
        assert self.transport is not None
        self.transport.loseConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._left()
