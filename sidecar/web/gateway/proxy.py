"""``--sidecar_handler=proxy``: requests go on to a node of the service that their first segment names, as they are."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import cast

from twisted.web.resource import IResource, Resource
from twisted.web.server import NOT_DONE_YET

from sidecar.errors import Forbidden, NoNodes, NotFound
from sidecar.interfaces import IAppHealth, IClient, IRegistry, ITransport
from sidecar.model import CallPolicy
from sidecar.problems import API, AppUnhealthy
from sidecar.rpc.receipts import Receipt
from sidecar.web.access.grants import check_service
from sidecar.web.auth import caller_of
from sidecar.web.cors import CorsPolicy, refusal
from sidecar.web.gateway.forwarding import Forwarding
from sidecar.web.gateway.paths import lacking
from sidecar.web.gateway.prepared import PreparedHead, known, prepare
from sidecar.web.requests.requestids import request_id
from sidecar.web.resource import answer_later
from sidecar.web.response import Answer, Request, StreamedRequest, fail
from sidecar.wire.gateway import mapping
from sidecar.wire.gateway.mapping import PathTarget
from sidecar.wire.ws import handshake


class ProxyResource(Resource):
    """Every path whose first segment names a service. It takes bodies as they come."""

    isLeaf = True
    streaming = True
    #: What the path is in the table of routes.
    route = b"/{service}/{method}"
    takes_options = True
    allowed: tuple[str, ...] = ()

    def __init__(
        self,
        registry: IRegistry,
        namespace: str,
        cors: CorsPolicy,
        transport: ITransport,
        client: IClient,
        policy: CallPolicy,
        apps: Mapping[str, IAppHealth],
        strategy: str,
        seconds: Callable[[], float],
        told_of_all: bool = False,
    ) -> None:
        """:param registry: is asked which service was meant where there is none of a name. :param namespace: before
        each name, "" for none. :param cors: says whose pages may open WebSockets. :param transport: forwards.
        :param client: finds nodes, and has it forward.
        :param policy: how hard to try: its timeout is for the node to begin its answer.
        :param apps: how the apps beside us are, by name.
        :param strategy: by which nodes are chosen, and :param seconds: monotonic time, both for receipts.
        :param told_of_all: whether the access log wants the good answers too."""
        super().__init__()
        self._told_of_all = told_of_all
        self._registry = registry
        self._namespace = namespace
        self._cors = cors
        self._transport = transport
        self._client = client
        self._policy = policy
        self._apps = apps
        self._strategy = strategy
        self._seconds = seconds

    def claim(self, request: Request, fixed: bool) -> IResource | None:
        """:returns: itself where the path names a service, or None."""
        if (
            known(cast(StreamedRequest, request)) is not None
            or mapping.of_app(request.path, self._namespace) is not None
        ):
            return self
        return None

    def render(self, request: StreamedRequest) -> int:
        try:
            prepared: PreparedHead | None = request.head.prepared
            if prepared is None or prepared.raw is not request.fields_raw or prepared.explain:
                self._begin(request)
            else:
                self._forward(request, prepared, None)
        except Exception as error:
            fail(request, error, API)
        return NOT_DONE_YET

    def _forward(self, request: StreamedRequest, prepared: PreparedHead, receipt: Receipt | None) -> None:
        caller = caller_of(request)
        if caller.services is not None:
            check_service(caller, "call", prepared.target.service)
        forwarding = Forwarding(request, prepared, receipt, self._failed, self._transport, self._told_of_all)
        if self._told_of_all:
            # The access log says of good answers too how many attempts they took.
            noted = receipt or self._noting(request)
            request.attempts = noted.attempts
            forwarding.start(self._client, self._policy, caller, noted)
        else:
            forwarding.start(self._client, self._policy, caller, receipt)

    def _noting(self, request: StreamedRequest) -> Receipt:
        return Receipt(request_id(request), self._strategy, self._policy.timeout, self._seconds)

    def _begin(self, request: StreamedRequest) -> None:
        """What is to be found out first, for a request that is not like the one before."""
        prepared = known(request)
        if prepared is None:
            target = mapping.of_app(request.path, self._namespace)
            assert target is not None  # or it was not claimed
            if request.upgrade and not handshake.wanted(request.fields):
                request.decline_upgrade()
            prepared = prepare(request, target)
        if request.upgrade:
            fields = request.fields
            origin = fields.get(b"origin")
            if not self._cors.permits_websocket(origin, fields.get(b"host")):
                raise Forbidden(refusal(origin or b"", fields.get(b"host"), "open a WebSocket here"))
        receipt = None
        if prepared.explain:
            receipt = self._noting(request)
        self._forward(request, prepared, receipt)

    def _failed(
        self, request: StreamedRequest, target: PathTarget, error: BaseException, receipt: Receipt | None
    ) -> None:
        """Answer with what went wrong before the answer began."""
        app = self._apps.get(target.service)
        if app is not None and isinstance(error, (NotFound, NoNodes)) and app.healthy() is False:
            error = AppUnhealthy(f"{target.service} is not registered, since the app is not healthy: {app.explain()}")
        if isinstance(error, NotFound):
            answer_later(request, self._lacking(request, target), API)
        else:
            fail(request, error, API, receipt)

    async def _lacking(self, request: StreamedRequest, target: PathTarget) -> Answer:
        raise await lacking(self._registry, target, self._namespace, caller_of(request), request.path)
