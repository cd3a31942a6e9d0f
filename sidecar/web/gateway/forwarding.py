"""One forwarded request, at the client's end: its body goes on as it comes, and so does the answer."""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus
from typing import Any, Final

from twisted.internet.interfaces import IPushProducer
from zope.interface import implementer

from sidecar.interfaces import IClient, IPendingCall, ITransport
from sidecar.model import Caller, CallPolicy, Node
from sidecar.net.client.streamed.head import ResponseHead
from sidecar.net.http.events import Fields
from sidecar.net.http.head import BODILESS, status_line
from sidecar.rpc.proxy.call import ForwardedCall
from sidecar.rpc.proxy.request import ForwardedReply, ForwardedRequest, IForwarded
from sidecar.rpc.receipts import Receipt
from sidecar.web.gateway.prepared import PreparedHead
from sidecar.web.gateway.tunnel import Tunnel
from sidecar.web.requests import requestids
from sidecar.web.response import StreamedRequest, tell
from sidecar.wire.gateway import forwarding
from sidecar.wire.gateway.mapping import PathTarget

#: Answers what went wrong before the answer began.
Failed = Callable[[StreamedRequest, PathTarget, BaseException, Receipt | None], None]

_SWITCHING: Final = 101


@implementer(IPushProducer)
class Forwarding:
    """Stands between a request of our channel and its exchange with a node.

    :ivar has_body: a body follows the head. :ivar whole: all of it is here.
    :ivar chunked: it goes in chunks. :ivar upgrade: the answer may be 101.
    """

    _began = False
    _taking = False
    _exchange: IForwarded | None = None
    _pending: IPendingCall | None = None
    _tunnel: Tunnel | None = None
    _call: ForwardedRequest | None = None
    _lines = b""  # its id and its trace, for the node

    def __init__(
        self,
        request: StreamedRequest,
        prepared: PreparedHead,
        receipt: Receipt | None,
        failed: Failed,
        transport: ITransport,
        told_of_all: bool,
    ) -> None:
        self._transport = transport
        self._request = request
        self._prepared = prepared
        self._receipt = receipt
        self._failed = failed
        self._told_of_all = told_of_all
        self._left = length = prepared.length
        self.chunked = length < 0
        self.has_body = length != 0
        self.whole = length == 0 or not request.streaming
        self.upgrade = request.upgrade

    def start(self, client: IClient, policy: CallPolicy, caller: Caller, noted: Receipt | None) -> None:
        """Find a node and go on. :param noted: is told of the attempts."""
        request, prepared = self._request, self._prepared
        identity = request.id_line
        if identity is not None:
            pass
        elif prepared.has_id:
            identity = requestids.line(request)
        else:
            identity = request.id_line = request.site.request_ids.line()
        traces, trace, lines = request.site.traces, prepared.trace, prepared.trace_lines
        if trace is None:
            lines = traces.begun()
        elif (taken := traces.taken(trace)) is not trace:
            lines = b"Traceparent: %b\r\n" % str(taken).encode("ascii")
        self._lines = lines if prepared.has_id else identity + lines
        target, lines = prepared.target, identity + lines
        call = self._call = ForwardedRequest(
            target.service, prepared.method, b"", "", lines=lines, source=self, transport=self._transport
        )
        self._pending = client.start(call, policy, caller, self._done, None, noted, ForwardedCall)
        if not request.finished:
            request.on_lost = self._lost

    # --- For the exchange -------------------------------------------------------------------------------------------

    def request(self, node: Node) -> bytes:
        request, prepared = self._request, self._prepared
        if prepared.node is not node:
            own = node.metadata.get("host") if node.metadata else None
            host = own.encode() if own else request.fields.get(b"host") or node.hostport.encode()
            start = b"%b %b HTTP/1.1\r\nHost: %b\r\n%b" % (request.method, request.uri, host, prepared.lines)
            prepared.node, prepared.start = node, start
        return b"%b%b\r\n%b" % (prepared.start, self._lines, request.body)

    def connected(self, exchange: IForwarded) -> bool:
        self._exchange = exchange
        if self._taking:
            self._request.resume_body()
        else:
            self._taking = True
            self._request.stream_body(self)
        return self._request.body_follows

    def disconnected(self) -> None:
        self._exchange = None
        if self._taking:
            self._request.pause_body()

    def pause_request(self) -> None:
        if self._tunnel is not None:
            self._tunnel.pause()
        else:
            self._request.pause_body()

    def resume_request(self) -> None:
        if self._tunnel is not None:
            self._tunnel.resume()
        else:
            self._request.resume_body()

    def informed(self, head: ResponseHead) -> None:
        self._request.inform(head.status, forwarding.answer_lines(head.block, head.fields_raw, head.fields))

    def answer_data(self, data: bytes) -> None:
        if self._tunnel is not None:
            self._tunnel.write(data)
        elif self._request.channel is not None:
            self._request.write(data)

    def answer_ended(self, trailers: Fields) -> None:
        self._exchange = None
        if self._tunnel is not None:
            self._tunnel.close()
        elif self._request.channel is not None:
            self._finish(trailers)

    def answer_broken(self, why: str) -> None:
        self._exchange = None
        request = self._request
        if self._tunnel is not None:
            self._tunnel.close()
        elif request.channel is not None:
            request.why = f"the answer was cut: {why}"
            self._tell(int(HTTPStatus.BAD_GATEWAY), request.sentLength)
            request.channel.abort()

    # --- For the channel --------------------------------------------------------------------------------------------

    def received(self, data: bytes) -> None:
        """A piece of the request's body."""
        more = True
        if self._left > 0:
            self._left -= len(data)
            more = self._left > 0
        if self._exchange is not None:
            self._exchange.write(data, more)

    def ended(self, trailers: Fields) -> None:
        """That was the last."""
        if self._exchange is not None and self.has_body:
            self._exchange.finish(forwarding.trailer_fields(trailers))

    def pauseProducing(self) -> None:
        if self._exchange is not None:
            self._exchange.pause()

    def resumeProducing(self) -> None:
        if self._exchange is not None:
            self._exchange.resume()

    def stopProducing(self) -> None:
        """The client is lost, which is told otherwise."""

    # --- Within -----------------------------------------------------------------------------------------------------

    def _lost(self) -> None:
        exchange, self._exchange = self._exchange, None
        if not self._began and self._pending is not None:
            self._pending.cancel()
        elif exchange is not None:
            exchange.cancel()

    def _done(self, context: object, reply: Any, error: BaseException | None) -> None:
        """:param reply: a ``ForwardedReply``, or None."""
        request = self._request
        self._pending = None  # it knows us: no circle is left for the collector
        if reply is None:
            assert error is not None
            request.call, request.attempts = self._call, getattr(error, "attempts", ())
            self._exchange = None
            self._failed(request, self._prepared.target, error, self._receipt)
            return
        self._began = True
        if reply.ended:
            self._exchange = None
            self._answer_whole(reply)
            return
        self._exchange = reply.exchange
        if reply.head.status == _SWITCHING:
            self._switch(reply)
        else:
            self._answer(reply)

    def _answer(self, reply: ForwardedReply) -> None:
        request, head = self._request, reply.head
        length = head.length if head.length >= 0 else None
        request.begin(head.status, self._own(head), reply.body, head.reason, self._date(head), length)
        if request.channel is not None:
            request.registerProducer(self, True)

    def _answer_whole(self, reply: ForwardedReply) -> None:
        """The same in one write."""
        request, head, body = self._request, reply.head, reply.body
        if head.prepared and self._receipt is None and not request.dressed:
            lines = head.prepared if b"x-request-id" in head.fields else head.prepared + (request.id_line or b"")
        else:
            lines = self._own(head)
        if b"date" not in head.fields:
            lines = self._date(head) + lines
        if head.length < 0 and head.status not in BODILESS:  # all of it is here: that is simpler than chunks
            lines = b"%bContent-Length: %d\r\n" % (lines, len(body))
        if self._told_of_all or head.status >= 400:
            self._tell(head.status, len(body))
        else:
            self._call = None  # as that does
        request.relay(head.status, head.first_line + lines, body)

    def _date(self, head: ResponseHead) -> bytes:
        """The line that the answer lacks, "" where it has one."""
        if b"date" in head.fields:
            return b""
        ours: bytes = self._request.site.preamble
        return ours[ours.index(b"Date:") :]

    def _own(self, head: ResponseHead) -> bytes:
        """The answer's fields, and ours."""
        request = self._request
        if request.dressed and request.responseHeaders.hasHeader(b"Access-Control-Allow-Origin"):
            ours = frozenset(name for name in head.fields if name.startswith(b"access-control-"))
            lines = forwarding.answer_lines(head.block, head.fields_raw, head.fields, ours)
        else:
            lines = head.prepared
            if not lines:
                lines = head.prepared = forwarding.answer_lines(head.block, head.fields_raw, head.fields)
        if b"x-request-id" not in head.fields:
            lines += request.id_line or b""
        if self._receipt is not None:
            lines += b"Micro-Receipt: %b\r\n" % self._receipt.line().encode("ascii")
        return lines

    def _finish(self, trailers: Fields) -> None:
        request = self._request
        self._tell(request.code, request.sentLength)
        request.finish(forwarding.trailer_fields(trailers) if trailers else ())

    def _tell(self, status: int, size: int) -> None:
        call, self._call = self._call, None  # it knows us
        if self._told_of_all or status >= 400:
            request = self._request
            request.call = call
            tell(request, status, size)
            request.call = None  # likewise

    def _switch(self, reply: ForwardedReply) -> None:
        request, head = self._request, reply.head
        lines = self._own(head) + b"Connection: Upgrade\r\nUpgrade: %b\r\n" % head.fields.get(b"upgrade", b"websocket")
        self._tell(_SWITCHING, 0)
        transport, early = request.take_connection()
        self._tunnel = Tunnel(reply.exchange)
        self._tunnel.take(transport)
        self._tunnel.write(b"%b%b\r\n%b" % (status_line(_SWITCHING, head.reason), lines, reply.body))
        if early:
            self._tunnel.dataReceived(early)
