"""``POST /rpc``: a call to a service, by form, JSON or protobuf."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from attrs import evolve
from twisted.web.server import NOT_DONE_YET

from sidecar.errors import NoNodes, NotFound
from sidecar.interfaces import IAppHealth, IClient
from sidecar.model import CallPolicy, Reply
from sidecar.problems import RPC, AppUnhealthy
from sidecar.web.auth import caller_of
from sidecar.web.params import body
from sidecar.web.resource import MethodResource
from sidecar.web.response import JSON, Request, fail
from sidecar.wire import headers, rpc

_OK: Final = 200


class RpcResource(MethodResource):
    """Reads the call, has the client make it, and gives the service's own bytes back."""

    def __init__(
        self, client: IClient, policy: CallPolicy, max_body: int, apps: Mapping[str, IAppHealth] | None = None
    ) -> None:
        """:param policy: how hard to try; a caller can shorten its timeout. :param max_body: bytes of a request.
        :param apps: how the apps beside us are, by the name of their service."""
        super().__init__({"POST": self._call}, RPC)
        self._client = client
        self._policy = policy
        self._max_body = max_body
        self._apps: Mapping[str, IAppHealth] = {} if apps is None else apps

    def _call(self, request: Request) -> int:
        content = body(request, self._max_body)
        fields = request.fields
        metadata = headers.metadata(fields, request.fields_raw)
        call, timeout = rpc.read(content, fields, metadata, request.uri.partition(b"?")[2])
        policy = self._policy
        if timeout is not None and timeout < policy.timeout:
            policy = evolve(policy, timeout=timeout)
        pending = self._client.start(call, policy, caller_of(request), self._done, (request, call.service))
        if not request.finished:
            # The caller hangs up: the attempt is cancelled and its connection closed.
            request.on_lost = pending.cancel
        return NOT_DONE_YET

    def _done(self, asked: tuple[Request, str], reply: Reply | None, error: BaseException | None) -> None:
        request, service = asked
        if reply is None:
            assert error is not None
            fail(request, self._why(service, error), RPC)
        elif reply.content_type == rpc.JSON:
            request.answer(_OK, JSON, reply.body)
        else:
            request.answer(_OK, b"Content-Type: %b\r\n" % reply.content_type.encode("latin-1"), reply.body)

    def _why(self, service: str, error: BaseException) -> BaseException:
        """An app of ours that is out of the registry since it is ill is no unknown service."""
        app = self._apps.get(service)
        if app is None or not isinstance(error, (NotFound, NoNodes)) or app.healthy() is not False:
            return error
        return AppUnhealthy(f"{service} is not registered, since the app is not healthy: {app.explain()}")
