"""What the fake engines share: a port that can go away and come back, and faults on request."""

from __future__ import annotations

from typing import Any

import orjson
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure
from twisted.web import resource, server

#: Its full set of interfaces is not in its type.
LOOP: Any = reactor


class FakeEngine(resource.Resource):
    """An engine in this process: ``answer`` is asked for each request, and may answer later."""

    isLeaf = True

    def __init__(self) -> None:
        super().__init__()
        #: ``METHOD /path`` of each request, in order.
        self.requests: list[str] = []
        #: Answer this instead, by path prefix: a status and a body; None as status: nothing at all.
        self.faults: dict[str, tuple[int | None, bytes]] = {}
        self.port: Any = None
        self.number = 0
        self._open: set[Any] = set()
        self._transports: set[Any] = set()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.number}"

    def start(self) -> None:
        """Listen, on the same port as before."""
        site = server.Site(self)
        site.noisy = False
        self.port = LOOP.listenTCP(self.number, site, interface="127.0.0.1")
        self.number = self.port.getHost().port

    async def stop(self) -> None:
        """Go away: no port, no connections. What is stored stays."""
        if self.port is not None:
            port, self.port = self.port, None
            await port.stopListening()
        for transport in tuple(self._transports):
            transport.abortConnection()
        self._transports.clear()
        self.interrupted()

    def interrupted(self) -> None:
        """All connections are gone."""

    def render(self, request: Any) -> int:
        path = request.uri.decode("ascii")
        self.requests.append(f"{request.method.decode()} {path}")
        body = request.content.read()
        self._open.add(request)
        self._transports.add(request.transport)
        request.notifyFinish().addBoth(lambda _: self._open.discard(request))
        for prefix, (status, text) in self.faults.items():
            if path.startswith(prefix):
                if status is not None:
                    self.finish(request, status, text)
                return server.NOT_DONE_YET
        answering: Deferred[None] = Deferred.fromCoroutine(self.answer(request, path, body))
        answering.addErrback(self._failed, request)
        return server.NOT_DONE_YET

    async def answer(self, request: Any, path: str, body: bytes) -> None:
        raise NotImplementedError

    def finish(self, request: Any, status: int, body: bytes | Any, headers: dict[str, str] | None = None) -> None:
        """Answer, unless the client has gone."""
        if request not in self._open:
            return
        request.setResponseCode(status)
        for name, value in (headers or {}).items():
            request.setHeader(name, value)
        request.write(body if isinstance(body, bytes) else orjson.dumps(body))
        request.finish()

    def _failed(self, failure: Failure, request: Any) -> None:
        failure.printTraceback()
        self.finish(request, 500, b"the fake failed")
