"""What the fake engines share: an agent that reaches them without sockets, outages and faults on request.

No real time passes here: everything happens on the clock of the network. Sockets are left to the real engines.
"""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from typing import Any
from urllib.parse import urlsplit

import orjson
from attrs import define, field
from twisted.internet.defer import Deferred, fail
from twisted.internet.error import ConnectionDone, ConnectionLost, ConnectionRefusedError
from twisted.internet.interfaces import IReactorTime
from twisted.internet.protocol import Protocol
from twisted.python.failure import Failure
from twisted.web.client import ResponseDone
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent, IResponse
from zope.interface import implementer


@implementer(IAgent)
@define(eq=False)
class FakeNetwork:
    """Engines by ``host:port``, and an agent that reaches them. Nobody listens elsewhere."""

    clock: IReactorTime
    engines: dict[str, FakeEngine] = field(factory=dict)

    def request(self, method: bytes, uri: bytes, headers: Any = None, bodyProducer: Any = None) -> Deferred[IResponse]:
        parts = urlsplit(uri.decode("ascii"))
        engine = self.engines.get(parts.netloc)
        if engine is None or not engine.listening:
            return fail(ConnectionRefusedError())
        body = BytesIO()
        if bodyProducer is not None:
            bodyProducer.startProducing(body)
        path = uri.decode("ascii").split(parts.netloc, 1)[1]
        exchange = FakeExchange(self.clock, method.decode(), path, headers or Headers(), body.getvalue())
        self.clock.callLater(0, engine.asked, exchange)
        return exchange.answered


@define(eq=False)
class FakeExchange:
    """One request as the engine sees it, and its answer as the client does. :ivar gone: it is over, for either."""

    clock: IReactorTime
    method: str
    path: str
    headers: Headers
    body: bytes
    gone: bool = False
    answered: Deferred[IResponse] = field(init=False)
    _response: FakeResponse | None = field(default=None, init=False)

    def __attrs_post_init__(self) -> None:
        self.answered = Deferred(lambda _: self.leave())

    def header(self, name: str) -> str | None:
        found = self.headers.getRawHeaders(name)
        return str(found[0]) if found else None

    def begin(self, status: int, headers: dict[str, str] | None = None) -> None:
        """Answer status and headers."""
        if not self.gone and self._response is None:
            found = Headers({name: [value] for name, value in (headers or {}).items()})
            self._response = FakeResponse(status, found, self.clock, self.leave)
            self.clock.callLater(0, self._tell, self._response)

    def write(self, data: bytes) -> None:
        if not self.gone:
            assert self._response is not None
            self._response.received(data)

    def finish(self) -> None:
        if not self.gone:
            assert self._response is not None
            self.gone = True
            self._response.ended(Failure(ResponseDone()))

    def abort(self) -> None:
        """Break the connection."""
        if self.gone:
            return
        self.gone = True
        if self._response is not None:
            self._response.ended(Failure(ConnectionLost()))
        elif not self.answered.called:
            self.answered.errback(ConnectionLost())

    def leave(self) -> None:
        """The client has gone."""
        self.gone = True

    def _tell(self, response: FakeResponse) -> None:
        if not self.answered.called:
            self.answered.callback(response)


@implementer(IResponse)
class FakeResponse:
    """An answer whose body comes as the engine writes it."""

    version = (b"HTTP", 1, 1)
    phrase = b""
    length = 0
    request: Any = None
    previousResponse: Any = None

    def __init__(self, code: int, headers: Headers, clock: IReactorTime, leave: Callable[[], None]) -> None:
        self.code = code
        self.headers = headers
        self._clock = clock
        self._leave = leave
        self._waiting: list[bytes | Failure] = []
        self._protocol: Any = None

    def setPreviousResponse(self, response: Any) -> None:
        self.previousResponse = response

    def deliverBody(self, protocol: Protocol) -> None:
        self._protocol = protocol
        protocol.makeConnection(self)
        self._clock.callLater(0, self._deliver)

    def received(self, data: bytes) -> None:
        self._waiting.append(data)
        self._clock.callLater(0, self._deliver)

    def ended(self, reason: Failure) -> None:
        self._waiting.append(reason)
        self._clock.callLater(0, self._deliver)

    def loseConnection(self) -> None:
        """The client has had enough."""
        self._leave()
        self.ended(Failure(ConnectionDone()))

    def _deliver(self) -> None:
        while self._waiting and self._protocol is not None:
            news = self._waiting.pop(0)
            if isinstance(news, bytes):
                self._protocol.dataReceived(news)
            else:
                protocol, self._protocol = self._protocol, None
                protocol.connectionLost(news)


class FakeEngine:
    """An engine in this process: ``answer`` is asked for each request, and may answer later.

    :ivar requests: ``METHOD /path`` of each request, in order.
    :ivar faults: answer this instead, by path prefix: a status and a body; None as status: nothing at all.
    """

    port = 0

    def __init__(self, network: FakeNetwork) -> None:
        self.clock = network.clock
        self.requests: list[str] = []
        self.faults: dict[str, tuple[int | None, bytes]] = {}
        self.listening = False
        self.address = f"127.0.0.1:{9000 + len(network.engines)}"
        network.engines[self.address] = self
        self._open: list[FakeExchange] = []

    def start(self) -> None:
        """Listen, where it did before."""
        self.listening = True

    def stop(self) -> None:
        """Go away: no port, no connections. What is stored stays."""
        self.listening = False
        exchanges, self._open = self._open, []
        for exchange in exchanges:
            exchange.abort()
        self.interrupted()

    def interrupted(self) -> None:
        """All connections are gone."""

    def asked(self, exchange: FakeExchange) -> None:
        if not self.listening:
            exchange.abort()
            return
        self._open = [each for each in self._open if not each.gone]
        self._open.append(exchange)
        self.requests.append(f"{exchange.method} {exchange.path}")
        for prefix, (status, text) in self.faults.items():
            if exchange.path.startswith(prefix):
                if status is not None:
                    self.finish(exchange, status, text)
                return
        answering: Deferred[None] = Deferred.fromCoroutine(self.answer(exchange, exchange.path, exchange.body))
        answering.addErrback(self._failed, exchange)

    async def answer(self, request: FakeExchange, path: str, body: bytes) -> None:
        raise NotImplementedError

    def finish(
        self, request: FakeExchange, status: int, body: bytes | Any, headers: dict[str, str] | None = None
    ) -> None:
        """Answer, unless the client has gone."""
        if not request.gone:
            request.begin(status, headers)
            request.write(body if isinstance(body, bytes) else orjson.dumps(body))
            request.finish()

    def _failed(self, failure: Failure, request: FakeExchange) -> None:
        failure.printTraceback()
        self.finish(request, 500, b"the fake failed")
