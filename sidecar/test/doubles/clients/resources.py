"""Asks a resource tree over our own channel, without a socket: what a caller would read is what a test reads."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from attrs import define, field, frozen
from twisted.internet.error import ConnectionLost
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from sidecar.net.http.limits import HTTPLimits
from sidecar.web.site import SidecarSite


@frozen
class Heard:
    """An answer. :ivar headers: by lower-case name."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> tuple[int, str]:
        """Status and detail of error JSON, whose form is checked."""
        fault = self.json
        assert list(fault) == ["id", "code", "detail", "status"], fault
        assert self.headers["content-type"] == "application/json", self.headers
        return self.status, fault["detail"]


class Wire(StringTransport):
    """A connection that can be half closed, as TCP can."""

    def loseWriteConnection(self) -> None:
        """Say that nothing more is written."""


@define(eq=False)
class Waiting:
    """A request that is not answered yet, or was."""

    _transport: StringTransport
    _protocol: Any

    def heard(self) -> Heard | None:
        """The answer, or None while there is none."""
        head, found, body = self._transport.value().partition(b"\r\n\r\n")
        if not found:
            return None
        lines = head.decode("latin-1").split("\r\n")
        pairs = [line.split(": ", 1) for line in lines[1:]]
        return Heard(int(lines[0].split(" ")[1]), {name.lower(): value for name, value in pairs}, body)

    def hang_up(self) -> None:
        """Leave without waiting."""
        self._protocol.connectionLost(Failure(ConnectionLost()))


@define(eq=False)
class Asking:
    """A caller of one resource."""

    _resource: Any
    clock: Clock = field(factory=Clock)
    site: SidecarSite = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.site = SidecarSite(self._resource, self.clock, HTTPLimits())

    def begin(
        self, method: str, target: str | bytes, body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> Waiting:
        """Send a request on a connection of its own."""
        transport = Wire()
        protocol: Any = self.site.buildProtocol(None)
        protocol.makeConnection(transport)
        lines = [b"%b %b HTTP/1.1" % (method.encode(), target.encode() if isinstance(target, str) else target)]
        fields = {"Host": "127.0.0.1:8081", "Connection": "close", **(headers or {})}
        if body or method in ("POST", "DELETE"):
            fields["Content-Length"] = str(len(body))
        lines += [f"{name}: {value}".encode() for name, value in fields.items()]
        protocol.dataReceived(b"\r\n".join(lines) + b"\r\n\r\n" + body)
        return Waiting(transport, protocol)

    def ask(
        self, method: str, target: str | bytes, body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> Heard:
        """Send a request and read the answer, which must be there at once."""
        heard = self.begin(method, target, body, headers).heard()
        assert heard is not None, f"{method} {target!r} was not answered"
        return heard
