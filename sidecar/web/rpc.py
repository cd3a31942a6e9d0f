"""``POST /rpc``: a call to a service, by form, JSON or protobuf."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from time import perf_counter
from typing import Any, Final

from attrs import evolve
from twisted.web.server import NOT_DONE_YET

from sidecar.errors import NoNodes, NotFound
from sidecar.interfaces import IAppHealth, IClient
from sidecar.model import Call, Caller, CallPolicy, Reply
from sidecar.problems import RPC, AppUnhealthy
from sidecar.rpc.receipts import Receipt
from sidecar.web.access.grants import check_service
from sidecar.web.auth import caller_of
from sidecar.web.params import body, query
from sidecar.web.requests import requestids, traces
from sidecar.web.requests.callheaders import prepare, prepared
from sidecar.web.requests.requestids import request_id
from sidecar.web.resource import MethodResource, Renderer
from sidecar.web.response import JSON, Request, fail, tell
from sidecar.wire import headers, rpc

_OK: Final = 200

#: What a call is asked for with: the request, the call, the receipt that was asked for, and what else its answer needs.
Asked = tuple[Request, Call, Receipt | None, Any]


def metadata(request: Request) -> Mapping[str, str]:
    """What of a request goes along with its call: headers, its id, its trace."""
    found, trace = traces.lines(request, headers.metadata(request.fields, request.fields_raw))
    own = b"" if requestids.HEADER in found else requestids.line(request)
    return {**found, **dict(headers.pairs_of(own + trace))}


class CallingResource(MethodResource):
    """What all resources that call services share: a subclass reads the call out of a request and starts it.

    It gives the service's own bytes back, unless the subclass writes its answers otherwise.
    """

    def __init__(
        self,
        methods: Mapping[str, Renderer],
        id: str,
        client: IClient,
        policy: CallPolicy,
        max_body: int,
        apps: Mapping[str, IAppHealth] | None = None,
        strategy: str = "",
        seconds: Callable[[], float] = perf_counter,
        told_of_all: bool = False,
    ) -> None:
        """:param policy: how hard to try; a caller can shorten its timeout. :param max_body: bytes of a request.
        :param apps: how the apps beside us are, by the name of their service.
        :param strategy: by which nodes are chosen, and :param seconds: monotonic time, both for receipts.
        :param told_of_all: whether the access log wants the good answers too."""
        self._told_of_all = told_of_all
        self._strategy = strategy
        self._seconds = seconds
        super().__init__(methods, id)
        self._client = client
        self._policy = policy
        self.max_body = max_body
        self._apps: Mapping[str, IAppHealth] = {} if apps is None else apps

    def start(self, request: Request, call: Call, timeout: float | None, context: Any = None) -> int:
        """Make a call for whoever asks. :param timeout: seconds that they give it. :param context: for the answer.

        :raises Forbidden: they may not call this service."""
        fields = request.fields
        caller = caller_of(request)
        if caller.services is not None:
            check_service(caller, "call", call.service)
        policy = self._policy
        if timeout is not None and timeout < policy.timeout:
            policy = evolve(policy, timeout=timeout)
        receipt = None
        if b"micro-explain" in fields or b"explain=" in request.uri:
            receipt = self._receipt(request, request_id(request), policy.timeout)
        noted = receipt
        if self._told_of_all:
            # The access log says of good answers too how many attempts they took.
            noted = noted or Receipt(request_id(request), self._strategy, policy.timeout, self._seconds)
            request.attempts = noted.attempts
        return self._begin((request, call, receipt, context), policy, caller, noted)

    def _begin(self, asked: Asked, policy: CallPolicy, caller: Caller, noted: Receipt | None) -> int:
        request = asked[0]
        pending = self._client.start(asked[1], policy, caller, self._done, asked, noted)
        if not request.finished:
            # The caller hangs up: the attempt is cancelled and its connection closed.
            request.on_lost = pending.cancel
        return NOT_DONE_YET

    def failed(self, asked: Asked, error: BaseException) -> None:
        """Answer with what went wrong."""
        request, call, receipt, _ = asked
        fail(request, self.why(call.service, error), self._id, receipt)

    def replied(self, asked: Asked, reply: Reply) -> None:
        """Answer with what the service said."""
        request, _, receipt, _ = asked
        told = request.id_line or requestids.line(request)
        if receipt is not None:
            told += b"Micro-Receipt: %b\r\n" % receipt.line().encode("ascii")
        if reply.content_type == rpc.JSON:
            request.answer(_OK, JSON + told, reply.body)
        else:
            headers = b"Content-Type: %b\r\n" % reply.content_type.encode("latin-1")
            request.answer(_OK, headers + told, reply.body)

    def why(self, service: str, error: BaseException) -> BaseException:
        """An app of ours that is out of the registry since it is ill is no unknown service."""
        app = self._apps.get(service)
        if app is None or not isinstance(error, (NotFound, NoNodes)) or app.healthy() is not False:
            return error
        return AppUnhealthy(f"{service} is not registered, since the app is not healthy: {app.explain()}")

    def _receipt(self, request: Request, identity: str, deadline: float) -> Receipt | None:
        """:returns: a receipt to be filled, where the caller asked for one."""
        asked = request.fields.get(b"micro-explain")
        wanted = asked.decode("latin-1") if asked is not None else query(request.uri).one("explain") or ""
        if wanted.strip().lower() not in ("1", "true", "yes"):
            return None
        return Receipt(identity, self._strategy, deadline, self._seconds)

    def _done(self, asked: Asked, reply: Reply | None, error: BaseException | None) -> None:
        request, call = asked[0], asked[1]
        if reply is None:
            assert error is not None
            request.call = call
            request.attempts = getattr(error, "attempts", ())
            self.failed(asked, error)
            return
        if self._told_of_all:
            request.call = call
            tell(request, _OK, len(reply.body))
        self.replied(asked, reply)


class RpcResource(CallingResource):
    """Reads the call out of the body, has the client make it, and gives the service's own bytes back."""

    def __init__(self, client: IClient, policy: CallPolicy, max_body: int, *more: Any, **named: Any) -> None:
        """As for :class:`CallingResource`."""
        super().__init__({"POST": self._call}, RPC, client, policy, max_body, *more, **named)

    def _call(self, request: Request) -> int:
        header = prepared(request)
        if header is not None and len(request.body) <= self.max_body:
            request.id_line = line = header.ids.line()
            call = header.calls.read(request.body, header.metadata, line + header.traces.begun())
            caller = caller_of(request)
            if call is not None and caller.services is None:
                return self._begin((request, call, None, None), self._policy, caller, None)
        content, fields = body(request, self.max_body), request.fields
        forwarded = headers.metadata(fields, request.fields_raw)
        if header is None and not self._told_of_all:
            prepare(request, forwarded)
        line = b"" if requestids.HEADER in forwarded else requestids.line(request)
        forwarded, trace = traces.lines(request, forwarded)
        call, timeout = rpc.read(content, fields, forwarded, request.uri.partition(b"?")[2], line + trace)
        return self.start(request, call, timeout)
