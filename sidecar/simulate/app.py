"""The app behind a node: it speaks plain HTTP, counts what it runs, and can be slow or lie."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import Factory, Protocol


class SimulatedApp(Factory):
    """Answers each call with its number.

    :ivar ran: told the number of each call that it begins. :ivar delay: seconds before an answer. :ivar lies: answers
        are no HTTP.
    """

    noisy = False

    def __init__(self, machine: Any, ran: Callable[[int], None]) -> None:
        self.machine = machine
        self.ran = ran
        self.delay = 0.0
        self.lies = False

    def buildProtocol(self, addr: IAddress | None) -> Protocol:
        return _Serving(self)


class _Serving(Protocol):
    def __init__(self, app: SimulatedApp) -> None:
        self._app = app
        self._came = b""

    def dataReceived(self, data: bytes) -> None:
        self._came += data
        head, found, rest = self._came.partition(b"\r\n\r\n")
        if not found:
            return
        fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
        size = int(fields.get(b"content-length", b"0"))
        if len(rest) < size:
            return
        body, self._came = rest[:size], rest[size:]
        if head.startswith(b"POST"):
            number = json.loads(body)["number"]
            self._app.ran(number)
            answer = json.dumps({"number": number}).encode()
        else:
            answer = b"ok"
        self._app.machine.callLater(self._app.delay, self._answer, answer)

    def _answer(self, body: bytes) -> None:
        if self.transport is None:
            return
        if self._app.lies:
            self.transport.write(b"SSH-2.0-liar\r\n" + body)
            return
        head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
        self.transport.write(head % len(body) + body)
