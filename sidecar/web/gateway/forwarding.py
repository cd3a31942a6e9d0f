"""One forwarded request, at the client's end: its body goes on as it comes, and so does the answer."""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus
from typing import Final, cast

from attrs import define
from twisted.internet.interfaces import IPushProducer
from zope.interface import implementer

from sidecar.interfaces import IClient, IPendingCall, ITransport
from sidecar.model import Caller, CallPolicy, Node, Reply
from sidecar.net.client.streamed.head import ResponseHead
from sidecar.net.http.events import Fields
from sidecar.net.http.head import BODILESS, status_line
from sidecar.rpc.proxy.call import ForwardedCall
from sidecar.rpc.proxy.request import ForwardedReply, ForwardedRequest, IForwarded
from sidecar.rpc.receipts import Receipt
from sidecar.web.auth import address_of
from sidecar.web.gateway.tunnel import Tunnel
from sidecar.web.requests import requestids
from sidecar.web.response import StreamedRequest, tell
from sidecar.wire.gateway import forwarding
from sidecar.wire.gateway.forwarding import Hop
from sidecar.wire.gateway.mapping import PathTarget

#: Answers what went wrong before the answer began.
Failed = Callable[[StreamedRequest, PathTarget, BaseException, Receipt | None], None]

_ASKED: Final = (b"1", b"true", b"yes")
_SWITCHING: Final = 101


@define(eq=False)
class PreparedHead:
    """What a request's header comes to. Clients send the same one again and again on a connection, which keeps it.

    :ivar raw: the header's fields, by which it is known again. :ivar target: what its path means.
    :ivar lines: for a node, all but Host and our id. :ivar length: bytes of the body, -1 for one in chunks.
    :ivar has_id: the request has an id of its client's. :ivar explain: it asks for a receipt.
    """

    raw: Fields
    target: PathTarget
    lines: bytes
    length: int
    has_id: bool
    explain: bool
    method: str


def known(request: StreamedRequest) -> PreparedHead | None:
    """What was made of the same header before, on this connection."""
    found: PreparedHead | None = request.head.prepared
    return found if found is not None and found.raw is request.fields_raw else None


def prepare(request: StreamedRequest, target: PathTarget) -> PreparedHead:
    """Make of a header what its request and all like it need. :param target: what the path means."""
    fields, raw, channel = request.fields, request.fields_raw, request.channel
    hop = Hop(address_of(channel.getPeer()), channel.isSecure())
    lines = forwarding.request_lines(raw, fields, hop, request.upgrade)
    length = -1 if b"transfer-encoding" in fields else int(fields.get(b"content-length", b"0"))
    explain = fields.get(b"micro-explain", b"").strip().lower() in _ASKED
    method = request.method.decode("latin-1")
    made = PreparedHead(raw, target, lines, length, b"x-request-id" in fields, explain, method)
    if not request.upgrade:
        request.head.prepared = made
    return made


@implementer(IPushProducer)
class Forwarding:
    """Stands between a request of our channel and its exchange with a node.

    :ivar has_body: a body follows the head. :ivar chunked: it goes in chunks. :ivar upgrade: the answer may be 101.
    """

    _began = False
    _taking = False
    _exchange: IForwarded | None = None
    _pending: IPendingCall | None = None
    _tunnel: Tunnel | None = None
    _lines = b""

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
        self.upgrade = request.upgrade

    def start(self, client: IClient, policy: CallPolicy, caller: Caller) -> None:
        """Find a node and go on."""
        request, prepared = self._request, self._prepared
        identity = requestids.line(request)
        self._lines = prepared.lines if prepared.has_id else prepared.lines + identity
        call = ForwardedRequest(
            prepared.target.service,
            prepared.method,
            b"",
            lines=identity,
            source=self,
            transport=self._transport,
        )
        request.call = call
        self._pending = client.start(call, policy, caller, self._done, None, self._receipt, ForwardedCall)
        if not request.finished:
            request.on_lost = self._lost
        if not self.has_body and not self.upgrade:
            request.stream_body(self)  # there is only its end

    # --- For the exchange -------------------------------------------------------------------------------------------

    def head(self, node: Node) -> bytes:
        request = self._request
        own = node.metadata.get("host") if node.metadata else None
        host = own.encode() if own else request.fields.get(b"host") or node.hostport.encode()
        return b"%b %b HTTP/1.1\r\nHost: %b\r\n%b\r\n" % (request.method, request.uri, host, self._lines)

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
            tell(request, int(HTTPStatus.BAD_GATEWAY), request.sentLength)
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

    def _done(self, context: object, reply: Reply | None, error: BaseException | None) -> None:
        request = self._request
        if reply is None:
            assert error is not None
            request.attempts = getattr(error, "attempts", ())
            self._exchange = None
            self._failed(request, self._prepared.target, error, self._receipt)
            return
        begun = cast(ForwardedReply, reply)
        self._began = True
        self._exchange = None if begun.ended else begun.exchange
        if begun.head.status == _SWITCHING:
            self._switch(begun)
        else:
            self._answer(begun)

    def _answer(self, reply: ForwardedReply) -> None:
        request, head = self._request, reply.head
        fields, status = head.fields, head.status
        lines, length = self._own(head), head.length
        if reply.ended and length < 0 and status not in BODILESS:
            length = len(reply.body)  # all of it is here: that is simpler than chunks
            lines += b"Content-Length: %d\r\n" % length
        preamble = b""
        if b"date" not in fields:
            ours = request.site.preamble
            preamble = ours[ours.index(b"Date:") :]
        request.begin(status, lines, reply.body, head.reason, preamble, length if length >= 0 else None)
        if reply.ended:
            self._finish([])
        elif request.channel is not None:
            request.registerProducer(self, True)

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
            lines += requestids.line(request)
        if self._receipt is not None:
            lines += b"Micro-Receipt: %b\r\n" % self._receipt.line().encode("ascii")
        return lines

    def _finish(self, trailers: Fields) -> None:
        request = self._request
        if self._told_of_all or request.code >= 400:
            tell(request, request.code, request.sentLength)
        request.finish(forwarding.trailer_fields(trailers) if trailers else ())

    def _switch(self, reply: ForwardedReply) -> None:
        request, head = self._request, reply.head
        lines = self._own(head) + b"Connection: Upgrade\r\nUpgrade: %b\r\n" % head.fields.get(b"upgrade", b"websocket")
        tell(request, _SWITCHING, 0)
        transport, early = request.take_connection()
        self._tunnel = Tunnel(reply.exchange)
        self._tunnel.take(transport)
        self._tunnel.write(b"%b%b\r\n%b" % (status_line(_SWITCHING, head.reason), lines, reply.body))
        if early:
            self._tunnel.dataReceived(early)
