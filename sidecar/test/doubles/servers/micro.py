"""A go-micro service of any generation, as a double: reads the universal request and answers as each one did.

What it writes follows answers that were recorded from real servers (``test_wire_envelope`` holds them to that).
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Literal

from attrs import define, field, frozen
from httptools import HttpRequestParser
from twisted.internet.defer import maybeDeferred
from twisted.internet.interfaces import IListeningPort
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure

from sidecar.model import Node, Service

Style = Literal["g1", "v0.20", "v1.0", "v1.9"]

#: What a handler gives: a JSON value, or one of the two below.
Result = Any


@frozen
class Coded:
    """An error with a code, as go-micro's ``errors`` package makes it."""

    code: int
    detail: str
    status: str = ""
    id: str = "srv.say"

    @property
    def text(self) -> str:
        return json.dumps({"id": self.id, "code": self.code, "detail": self.detail, "status": self.status})


@frozen
class Bare:
    """An error of words alone, as Go's ``errors.New`` makes it."""

    text: str


@frozen
class Raw:
    """JSON text to answer as it stands."""

    text: bytes


#: Answer nothing, and close or keep the connection.
CLOSE, HANG = object(), object()


@frozen
class Heard:
    """A request that came. :ivar headers: in Go's case, the last of repeated ones."""

    method: str
    params: bytes
    headers: dict[str, str]
    body: bytes
    connection: int


@define(eq=False)
class MicroService:
    """Listens and answers.

    :ivar style: whose answers: ``g1`` 2016 to 2018, ``v0.20`` early 2019, ``v1.0`` to v1.8, ``v1.9`` and all later.
    :ivar copies: answers begin as a copy of the request's headers, as those of real servers do.
    :ivar heard: the calls that came, in order.
    :ivar opened: connections that were made. :ivar open: those that are open now. :ivar ends: how the others ended.
    """

    name: str = "foo"
    style: Style = "v1.9"
    handlers: dict[str, Callable[[Heard], Result]] = field(factory=dict)
    copies: bool = True
    heard: list[Heard] = field(factory=list)
    opened: int = 0
    open: set[_Conversation] = field(factory=set)
    ends: list[Failure] = field(factory=list)
    listener: Any = None
    reactor: Any = None

    def __attrs_post_init__(self) -> None:
        usual: dict[str, Callable[[Heard], Result]] = {
            "Say.Hello": lambda heard: {"msg": f"Hello {(json.loads(heard.params) or {}).get('name', '')}"},
            "Say.Echo": lambda heard: Raw(heard.params),
            "Say.Meta": lambda heard: heard.headers,
            "Say.Fail": lambda heard: Coded(400, "bad John", "Bad Request"),
            "Say.Crash": lambda heard: Bare("boom"),
            "Say.Close": lambda heard: CLOSE,
            "Say.Hang": lambda heard: HANG,
            "Debug.Health": lambda heard: {"status": "ok"},
        }
        self.handlers = {**usual, **self.handlers}

    def listen(self, reactor: Any, port: int = 0) -> IListeningPort:
        self.reactor = reactor
        factory = Factory.forProtocol(lambda: _Conversation(self))
        factory.noisy = False
        self.listener = reactor.listenTCP(port, factory, interface="127.0.0.1")
        return self.listener

    @property
    def port(self) -> int:
        port: int = self.listener.getHost().port
        return port

    def node(self, id: str = "", **metadata: str) -> Node:
        return Node(id or f"{self.name}-1", "127.0.0.1", self.port, metadata)

    def service(self, **metadata: str) -> Service:
        return Service(self.name, "latest", nodes=(self.node(**metadata),))

    async def stop(self) -> None:
        for conversation in list(self.open):
            conversation.transport.abortConnection()
        await maybeDeferred(self.listener.stopListening)

    def answer(self, heard: Heard, conversation: _Conversation) -> None:
        handler = self.handlers.get(heard.method)
        closes = self.style in ("g1", "v1.0")
        if handler is None:
            kind, _, name = heard.method.partition(".")
            known = any(method.startswith(f"{kind}.") for method in self.handlers)
            error = f"rpc: can't find method {name}" if known else f"rpc: can't find service {kind}"
            conversation.reply(heard, Bare(error), closes)
            return
        conversation.reply(heard, handler(heard), self.style == "v1.0")


class _Conversation(Protocol):
    """One connection from a client."""

    transport: Any

    def __init__(self, service: MicroService) -> None:
        self._service = service
        self._parser = HttpRequestParser(self)
        self._headers: dict[str, str] = {}
        self._body = b""
        self._streams: set[str] = set()

    def connectionMade(self) -> None:
        self.transport.setTcpNoDelay(True)
        self._service.opened += 1
        self._number = self._service.opened
        self._service.open.add(self)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._service.ends.append(reason)
        self._service.open.discard(self)

    def dataReceived(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_header(self, name: bytes, value: bytes) -> None:
        canonical = "-".join(part[:1].upper() + part[1:].lower() for part in name.decode().split("-"))
        self._headers.setdefault(canonical, value.decode())

    def on_body(self, data: bytes) -> None:
        self._body += data

    def on_message_complete(self) -> None:
        headers, body = self._headers, self._body
        self._headers, self._body = {}, b""
        if headers.get("Content-Type") == "application/proto-rpc":
            self._protobuf(headers, body)
            return
        if headers.get("Content-Type") != "application/json-rpc":
            text = f"Unsupported Content-Type: {headers.get('Content-Type')}".encode()
            self._write(b"text/plain", {}, text)
            return
        stream = headers.get("Micro-Stream", "")
        if self._service.style == "v1.9" and stream in self._streams:
            return  # the pseudo-socket of that key is still there: the request is never seen
        self._streams.add(stream)
        envelope = json.loads(body)
        params = envelope["params"]
        if not isinstance(params, list) or len(params) != 1:
            raise AssertionError(f"params {params!r} would kill a real service")
        begin = body.index(b'"params":[') + len(b'"params":[')
        heard = Heard(envelope["method"], body[begin : body.rindex(b'],"id":')], headers, body, self._number)
        self._id = envelope["id"]
        self._service.heard.append(heard)
        self._service.answer(heard, self)

    def reply(self, heard: Heard, result: Result, closes: bool) -> None:
        if result is HANG:
            return
        if result is CLOSE:
            self.transport.loseConnection()
            return
        error = result.text if isinstance(result, (Coded, Bare)) else None
        style = self._service.style
        id = json.dumps(self._id if style == "g1" else "" if error and style != "v0.20" else str(self._id))
        payload = result.text.decode() if isinstance(result, Raw) else json.dumps(result) if error is None else ""
        said = json.dumps(error)
        if error is not None:
            payload = "{}" if style in ("g1", "v0.20") else "null"
        text = f'{{"id":{id},"result":{payload},"error":{said}}}\n'.encode()
        extra: dict[str, str] = {}
        if error is not None and style != "g1":
            extra["X-Micro-Error"] = error
            if style != "v0.20":
                extra["Micro-Error"] = error
        # An answer's headers begin as a copy of the request's.
        copied = {name: value for name, value in heard.headers.items() if name not in ("Host", "Content-Length")}
        copied = copied if self._service.copies else {}
        self._write(b"application/json-rpc", {**copied, **extra}, text)
        if error is not None and closes:
            self.transport.loseConnection()

    def _protobuf(self, headers: dict[str, str], body: bytes) -> None:
        """Opaque payloads: ``Say.Fail`` fails, everything else gives back what it got."""
        length = int.from_bytes(body[:4], "big")
        head, payload = body[4 : 4 + length], body[8 + length :]
        name = head[2 : 2 + head[1]].decode()
        heard = Heard(name, payload, headers, body, self._number)
        self._service.heard.append(heard)
        error = Coded(400, "bad John", "Bad Request").text.encode() if name == "Say.Fail" else b""
        answer = bytes([0x0A, len(name)]) + name.encode() + head[2 + head[1] :] + b"\x1a" + bytes([len(error)]) + error
        payload = b"" if error else payload
        text = b"".join(len(each).to_bytes(4, "big") + each for each in (answer, payload))
        self._write(b"application/proto-rpc", {}, text)

    def _write(self, content_type: bytes, headers: dict[str, str], body: bytes) -> None:
        lines = [b"HTTP/1.1 200 OK"]
        lines += [f"{name}: {value}".encode() for name, value in headers.items() if name != "Content-Type"]
        lines += [b"Content-Type: " + content_type, b"Content-Length: %d" % len(body)]
        self.transport.write(b"\r\n".join(lines) + b"\r\n\r\n" + body)
