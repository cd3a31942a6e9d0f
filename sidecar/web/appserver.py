"""An app that speaks plain HTTP, made a service that go-micro clients of every generation can call.

On a port of its own (``--server_protocol=http``) the sidecar takes JSON-RPC and proto-rpc envelopes, bare JSON and
protobuf, and gRPC, and hands each call on to the app as ``POST /<Type>/<Method>``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import orjson
from twisted.internet.defer import Deferred
from twisted.web.server import NOT_DONE_YET

from sidecar.errors import CallerError, SidecarError
from sidecar.model import Call, Fault, Reply
from sidecar.net.http.server import Host
from sidecar.net.http2.pieces import Http2Answer, PieceReceiver, PieceSender
from sidecar.net.http2.server import Http2ServerConnection
from sidecar.net.http2.stream import Headers
from sidecar.net.http2.switch import hand_over
from sidecar.web.app.app import App
from sidecar.web.app.grpcstream import GrpcStream
from sidecar.web.app.mucpstream import MucpStreamConnection
from sidecar.web.cors import BrowserPolicy
from sidecar.web.params import body
from sidecar.web.resource import MethodResource
from sidecar.web.response import Answer, Request
from sidecar.wire import faults, grpc, headers
from sidecar.wire.builtins import grpchealth
from sidecar.wire.mucp import server

#: Seconds that a call may take whose caller names no time: go-micro's own from v4.10 on.
PATIENCE = 30.0


_Refused = Http2Answer | Callable[[PieceSender], PieceReceiver] | None


class AppServerResource(MethodResource):
    """``POST /`` (and any other path: early servers ignored it), as go-micro's HTTP transport sends it."""

    def __init__(self, app: App, max_body: int, browsers: BrowserPolicy | None = None) -> None:
        """:param max_body: bytes of the largest request. :param browsers: judges each request first."""
        super().__init__({"POST": self._post})
        self._app = app
        self._max_body = max_body
        self._browsers = browsers

    def _post(self, request: Request) -> Answer | Deferred[Answer] | int:
        problem = self._browsers.problem(request) if self._browsers is not None else None
        if problem is not None:
            raise problem
        pairs = [(name, value) for name, values in request.requestHeaders.getAllRawHeaders() for value in values]
        fields = {name.decode("latin-1"): value.decode("latin-1") for name, value in request.fields.items()}
        raw = body(request, self._max_body)
        try:
            incoming = server.decode(fields, raw)
        except server.Unreadable as error:
            return self._answer(fields, error.call, Fault(self._app.name, 400, str(error), faults.reason(400)))
        except CallerError as error:
            return _refused(str(error))
        if incoming.event:
            # Subscribers get their messages through the broker; a service without any says nothing of a stray event.
            return Answer(b"", headers=b"")
        kind = "application/json" if incoming.is_json else "application/protobuf"
        call = Call(self._app.name, incoming.method, incoming.body, kind, headers.sort(pairs)[0])
        channel: Any = getattr(request, "channel", None)
        if self._app.streams is not None and getattr(channel, "succeed", None) is not None:
            as_stream = partial(self._hand_over, channel, incoming, fields, call)
            streamed = fields.get("micro-stream") or fields.get("x-micro-stream")
            if self._app.is_stream(call.method) or (streamed and incoming.dialect in ("json", "proto")):
                as_stream()
                return NOT_DONE_YET
            if streamed:
                channel.on_more = as_stream  # a second message of it before our answer makes it a stream
        return Deferred.fromCoroutine(self._unary(channel, fields, incoming, call))

    async def _unary(
        self, channel: Any, fields: Mapping[str, str], incoming: server.IncomingCall, call: Call
    ) -> Answer:
        try:
            return self._answer(fields, incoming, await self._app.serve(call, _timeout(fields)))
        finally:
            if channel is not None:
                channel.on_more = None

    def _hand_over(self, channel: Any, incoming: server.IncomingCall, fields: Mapping[str, str], call: Call) -> None:
        """Go on with a connection as a stream's."""
        stream = MucpStreamConnection(channel.site, self._app, incoming, fields, call, _timeout(fields))
        hand_over(channel, stream)

    @staticmethod
    def _answer(fields: Mapping[str, str], call: server.IncomingCall, result: Reply | Fault) -> Answer:
        """The answer in the caller's dialect."""
        own, payload = server.encode(call, result)
        echoed = server.echoed(fields)
        return Answer(
            payload, headers=tuple((k.encode("latin-1"), v.encode("latin-1")) for k, v in {**echoed, **own}.items())
        )

    def grpc(self, site: Host) -> Http2ServerConnection:
        """A connection that serves the same app over gRPC. :param site: whose limits it keeps."""
        return Http2ServerConnection(
            site,
            self._serve_grpc,
            self._max_body + 5,
            self._refuse_stream,
            partial(self._overloaded, site.limits.queue_timeout),
        )

    def _overloaded(self, patience: float, fields: Mapping[str, str]) -> Http2Answer:
        """:param patience: seconds for which a call waited."""
        detail = (
            f"more is asked than can be answered: this waited for {patience:g} s (--queue_timeout): try again later"
        )
        fault = Fault(self._app.name, 503, detail, faults.reason(503))
        return Http2Answer(_opening(fields), b"", grpc.status_trailers(fault))

    def _refuse_stream(self, fields: dict[str, str], raw: bytes | bytearray, idle: bool) -> _Refused:
        """A call is one message and the end of the request. Whoever sends a second one, or lets us wait for the end,
        has opened a stream, which an app that speaks plain HTTP has not."""
        if self._app.streams is not None:
            return self._take_stream(fields, raw, idle)
        count, complete = grpc.whole_messages(raw)
        if count < 2 and not (idle and complete):
            return None
        return _unimplemented(fields, self._app.name)

    def _take_stream(self, fields: dict[str, str], raw: bytes | bytearray, idle: bool) -> _Refused:
        """A stream is what the app declares so, what has a second message, or waits for an answer before its end."""
        count, complete = grpc.whole_messages(raw)
        call, timeout = self._grpc_call(fields, b"")
        if fields.get(":path") in (grpchealth.CHECK, grpchealth.WATCH):
            return None
        if self._app.is_stream(call.method) or count > 1 or (idle and complete):
            return partial(GrpcStream, self._app, call, timeout, fields.get("content-type", ""), self._max_body)
        return None

    def _grpc_call(self, fields: Mapping[str, str], request: bytes) -> tuple[Call, float]:
        """The call that a request over gRPC is, and the seconds that it may take."""
        service, _, method = fields.get(":path", "").rpartition("/")
        target = f"{service.rpartition('.')[2].lstrip('/')}.{method}"
        content = "application/json" if grpc.is_json(fields.get("content-type", "")) else "application/protobuf"
        pairs = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in fields.items()]
        timeout = grpc.timeout_seconds(fields.get("grpc-timeout", "")) or _timeout(fields)
        return Call(self._app.name, target, request, content, headers.sort(pairs)[0]), timeout

    def _serve_grpc(self, fields: dict[str, str], raw: bytes) -> Deferred[Http2Answer]:
        return Deferred.fromCoroutine(self._answer_grpc(fields, raw))

    async def _answer_grpc(self, fields: dict[str, str], raw: bytes) -> Http2Answer:
        opening = _opening(fields)
        deframer = grpc.Deframer(self._max_body)
        try:
            messages = deframer.feed(raw)
        except SidecarError as error:
            return Http2Answer(opening, b"", grpc.status_trailers(self._app.fault(error)))
        if len(messages) != 1 or fields.get(":path") == grpchealth.WATCH:
            return _unimplemented(fields, self._app.name)
        call, timeout = self._grpc_call(fields, messages[0])
        serve = self._app.grpc_health if fields.get(":path") == grpchealth.CHECK else self._app.serve
        result = await serve(call, timeout)
        if isinstance(result, Fault):
            return Http2Answer(opening, b"", grpc.status_trailers(result))
        return Http2Answer(opening, grpc.frame(result.body), grpc.status_trailers(None))


def _opening(fields: Mapping[str, str]) -> Headers:
    return [(":status", "200"), ("content-type", fields.get("content-type", "application/grpc"))]


def _unimplemented(fields: Mapping[str, str], name: str) -> Http2Answer:
    detail = f"{fields.get(':path', '')}: {name} speaks plain HTTP behind a sidecar, which has no streams: call it"
    return Http2Answer(_opening(fields), b"", grpc.status_trailers(Fault(name, 501, detail, faults.reason(501))))


def _refused(detail: str) -> Answer:
    """What servers of every generation say of a request that they cannot read: 200, and the reason in plain text."""
    return Answer(
        detail.encode("utf-8"),
        headers=((b"Content-Type", b"text/plain"), (b"Micro-Error", orjson.dumps(detail)[1:-1])),
    )


def _timeout(fields: Mapping[str, str]) -> float:
    """The caller's ``Timeout``, decimal nanoseconds, in seconds."""
    text = fields.get("timeout", "")
    return int(text) / 1e9 if text.isascii() and text.isdigit() and 0 < len(text) < 19 and int(text) else PATIENCE
