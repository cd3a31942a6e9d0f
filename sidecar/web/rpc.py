"""``POST /rpc``: a call to a service, by form, JSON or protobuf."""

from __future__ import annotations

from typing import Final

from attrs import evolve
from twisted.web.server import NOT_DONE_YET

from sidecar.interfaces import IClient
from sidecar.model import ANONYMOUS, CallPolicy, Reply
from sidecar.problems import RPC
from sidecar.web.params import body
from sidecar.web.resource import MethodResource
from sidecar.web.response import JSON, Request, fail
from sidecar.wire import headers, rpc

_OK: Final = 200


class RpcResource(MethodResource):
    """Reads the call, has the client make it, and gives the service's own bytes back."""

    def __init__(self, client: IClient, policy: CallPolicy, max_body: int) -> None:
        """:param policy: how hard to try; a caller can shorten its timeout. :param max_body: bytes of a request."""
        super().__init__({"POST": self._call}, RPC)
        self._client = client
        self._policy = policy
        self._max_body = max_body

    def _call(self, request: Request) -> int:
        content = body(request, self._max_body)
        fields = request.fields
        metadata = headers.metadata(fields, request.fields_raw)
        call, timeout = rpc.read(content, fields, metadata, request.uri.partition(b"?")[2])
        policy = self._policy
        if timeout is not None and timeout < policy.timeout:
            policy = evolve(policy, timeout=timeout)
        pending = self._client.start(call, policy, ANONYMOUS, _done, request)
        if not request.finished:
            # The caller hangs up: the attempt is cancelled and its connection closed.
            request.on_lost = pending.cancel
        return NOT_DONE_YET


def _done(request: Request, reply: Reply | None, error: BaseException | None) -> None:
    if reply is None:
        assert error is not None
        fail(request, error, RPC)
    elif reply.content_type == rpc.JSON:
        request.answer(_OK, JSON, reply.body)
    else:
        request.answer(_OK, b"Content-Type: %b\r\n" % reply.content_type.encode("latin-1"), reply.body)
