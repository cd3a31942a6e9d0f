"""The peer to be ahead of: POST /rpc on stock ``twisted.web.server.Site``, with treq to the backend.

``python -m bench.stock PORT BACKEND`` proxies; ``python -m bench.stock PORT bytes TEXT`` answers TEXT to every GET.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import treq
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.web.client import HTTPConnectionPool
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Site


class Rpc(Resource):
    isLeaf = True

    def __init__(self, backend: int) -> None:
        super().__init__()
        self._url = f"http://127.0.0.1:{backend}/"
        self._pool = HTTPConnectionPool(reactor)
        self._pool.maxPersistentPerHost = 512

    def render_POST(self, request: Any) -> int:
        Deferred.fromCoroutine(self._proxy(request))
        return NOT_DONE_YET

    async def _proxy(self, request: Any) -> None:
        call = json.loads(request.content.read())
        envelope = json.dumps({"method": call["method"], "params": [call["request"]], "id": 1}).encode()
        response = await treq.post(
            self._url, envelope, headers={"Content-Type": "application/json-rpc"}, pool=self._pool, timeout=5
        )
        answer = json.loads(await response.content())
        request.setHeader(b"content-type", b"application/json")
        request.write(json.dumps(answer["result"]).encode())
        request.finish()


class Bytes(Resource):
    isLeaf = True

    def __init__(self, answer: bytes) -> None:
        super().__init__()
        self._answer = answer

    def render_GET(self, request: Any) -> bytes:
        request.setHeader(b"content-type", b"application/json")
        return self._answer


def main(port: str, *rest: str) -> None:
    resource = Bytes(rest[1].encode()) if rest[0] == "bytes" else Rpc(int(rest[0]))
    reactor.listenTCP(int(port), Site(resource), backlog=4096, interface="127.0.0.1")  # type: ignore[attr-defined]
    reactor.run()  # type: ignore[attr-defined]


if __name__ == "__main__":
    main(*sys.argv[1:])
