"""``POST /``: what go-micro clients send whom ``MICRO_PROXY`` (v1: ``MICRO_PROXY_ADDRESS``) names as their proxy.

They speak to the proxy as to a node: the headers ``Micro-Service`` and ``Micro-Endpoint`` name the target, the body is
the bare request. The answer is in their dialect too: always 200, and errors in ``Micro-Error``.

:source: ``client/rpc_client.go``, ``util/net/net.go`` of micro/go-micro@v1.18.0, @v4.11.0, @v5.30.0
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from attrs import evolve

from sidecar import problems
from sidecar.errors import BadRequest, SidecarError, StreamsUnsupported, UnsupportedMedia
from sidecar.interfaces import IClient
from sidecar.model import Call, CallPolicy, Fault, Reply
from sidecar.problems import API, MethodNotAllowed
from sidecar.web.params import body, shown
from sidecar.web.resource import Renderer
from sidecar.web.response import Answer, Request, write
from sidecar.web.rpc import Asked, CallingResource, metadata
from sidecar.wire import durations, faults, rpc
from sidecar.wire.mucp import server

_NAMES: Final = tuple(
    prefix + name for prefix in (b"micro-", b"x-micro-") for name in (b"service", b"endpoint", b"method")
)


class TransparentResource(CallingResource):
    """The path ``/``: an index for those who look, a proxy for go-micro clients."""

    def __init__(
        self, index: Renderer, client: IClient, policy: CallPolicy, max_body: int, *more: Any, **named: Any
    ) -> None:
        """:param index: answers a GET. As for :class:`~sidecar.web.rpc.CallingResource` otherwise."""
        super().__init__({"GET": index, "POST": self._call}, API, client, policy, max_body, *more, **named)

    def _call(self, request: Request) -> int | Answer:
        if not any(name in request.fields for name in _NAMES):
            raise MethodNotAllowed("POST without Micro-Service", shown(request.path), ("GET", "HEAD", "OPTIONS"))
        content = body(request, self.max_body)
        fields = {name.decode("latin-1"): value.decode("latin-1") for name, value in request.fields.items()}
        try:
            incoming = server.decode(fields, content)
        except server.Unreadable as error:
            return self._answer(request, error.call, problems.problem(error, API).fault)
        except UnsupportedMedia as error:
            # What servers of every generation say of it.
            said = server.header_text(str(error)).encode("ascii")
            return Answer(said, headers=((b"Content-Type", b"text/plain"), (b"Micro-Error", said)))
        try:
            call, timeout = self._read(request, fields, incoming)
            return self.start(request, call, timeout, incoming)
        except SidecarError as error:
            return self._answer(request, incoming, problems.problem(error, API).fault)

    def _read(
        self, request: Request, fields: Mapping[str, str], incoming: server.IncomingCall
    ) -> tuple[Call, float | None]:
        """:raises BadRequest: it is no call that could be made."""
        if incoming.event:
            raise BadRequest(
                f"Micro-Topic {incoming.event[:100]!r}: this is a message and no call; publish it by the broker, or by "
                "POST /broker?topic="
            )
        for name, value in (("Micro-Service", incoming.service), ("Micro-Endpoint", incoming.method)):
            if not value or not value.isprintable():
                raise BadRequest(f"{name}: is {'no name' if value else 'missing'}; it says what to call")
        if incoming.dialect in ("json", "proto") and (fields.get("micro-stream") or fields.get("micro-error")):
            raise StreamsUnsupported(
                f"{incoming.service} {incoming.method}: streams do not go through this proxy; open them at "
                "/rpc/stream, or call the service without MICRO_PROXY"
            )
        kind = rpc.JSON if incoming.is_json else rpc.PROTOBUF
        text = fields.get("timeout")
        try:
            timeout = durations.timeout(text) if text else None
        except ValueError as error:
            raise BadRequest(f"invalid Timeout header: {error}") from None
        return Call(incoming.service, incoming.method, incoming.body, kind, metadata(request)), timeout or None

    def failed(self, asked: Asked, error: BaseException) -> None:
        request, call, _, incoming = asked
        found = problems.problem(self.why(call.service, error), API)
        request.why = found.fault.detail
        write(request, self._answer(request, incoming, found.fault))

    def replied(self, asked: Asked, reply: Reply) -> None:
        request, _, receipt, incoming = asked
        answer = self._answer(request, incoming, reply)
        if receipt is not None:
            answer = evolve(answer, headers=(*answer.headers, (b"Micro-Receipt", receipt.line().encode("ascii"))))
        write(request, answer)

    @staticmethod
    def _answer(request: Request, incoming: server.IncomingCall, result: Reply | Fault) -> Answer:
        """The answer in the caller's dialect."""
        fields = {name.decode("latin-1"): value.decode("latin-1") for name, value in request.fields.items()}
        own, payload = server.encode(incoming, result)
        if isinstance(result, Fault) and incoming.dialect == "json":
            # Go's clients look at Micro-Error alone. This is for everybody else: what says JSON is JSON.
            payload = faults.encode(result)
        pairs = {**server.echoed(fields), **own}
        return Answer(payload, headers=tuple((k.encode("latin-1"), v.encode("latin-1")) for k, v in pairs.items()))
