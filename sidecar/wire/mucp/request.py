"""The request of a call in go-micro's protocol, in the one form that servers of every generation understand.

Much of a request is the same for every call of one method at one node, so it is written once, with holes.

:source: what each line is for: micro/go-micro ``server/rpc_server.go`` and ``server/rpc_codec.go`` @d3bfdc79 (routes by
    the body), @v0.17.0 (by ``X-Micro-*``), @v0.22.0 and later (by ``Micro-*``)
"""

from __future__ import annotations

from typing import NamedTuple

from sidecar.errors import BadRequest
from sidecar.wire.mucp import jsonrpc, protorpc
from sidecar.wire.rpc import JSON


class RequestTemplate(NamedTuple):
    """All of a request but what differs from call to call.

    :ivar text: the request with holes for ``%``. :ivar envelope: bytes of the JSON envelope around payload and id.
    :ivar routed: whether the Micro headers are there, and with them three holes for the id.
    :ivar method: what a protobuf envelope names, "" for JSON.
    """

    text: bytes
    envelope: int
    routed: bool
    method: str

    def fill(self, number: int, id: bytes, seconds: float, metadata: bytes, payload: bytes) -> bytes:
        """A whole request.

        :param number: of the call. It has to be unique among all calls that the node ever saw on a connection: servers
            hand a request whose id they know already to whoever had it first, and it is never answered.
        :param id: the same in decimal digits. :param seconds: what is left of the caller's time.
        :param metadata: header lines. :param payload: one JSON value, or protobuf.
        """
        nanos = int(seconds * 1e9)
        if self.method:
            payload = protorpc.request(self.method, number, payload)
            return self.text % (id, id, id, nanos, len(payload), metadata, payload)
        length = self.envelope + len(payload) + len(id)
        if self.routed:
            return self.text % (id, id, id, nanos, length, metadata, payload, id)
        return self.text % (nanos, length, metadata, payload, id)


def template(host: bytes, service: str, method: str, content_type: str, prefix: bytes, lean: bool) -> RequestTemplate:
    """Prepare the requests for one method of one service at one node.

    :param host: ``host:port``. :param content_type: of the payload.
    :param prefix: what makes ids unique beyond this process.
    :param lean: leave out what a server of 2016 to 2018 does not read, since it pays for each header that it echoes.
    :raises BadRequest: a name that would disturb the wire.
    """
    for name, value in (("service", service), ("method", method)):
        if not value.isprintable():
            raise BadRequest(f"invalid {name}: holds a control character")
    is_json = content_type == JSON
    routed = not (lean and is_json)
    coding = (jsonrpc.JSON_RPC if is_json else protorpc.PROTO_RPC).encode("ascii")
    lines = [b"POST / HTTP/1.1", b"Host: " + host, b"Content-Type: " + coding]
    if routed:
        lines.append(b"Accept: " + coding)
        for title, text in ((b"Service", service), (b"Method", method), (b"Endpoint", method)):
            line = b"Micro-" + title + b": " + text.encode("utf-8")
            lines += [line, b"X-" + line]
    # Names may hold a percent sign, which is no hole.
    whole = b"\r\n".join(lines).replace(b"%", b"%%") + b"\r\n"
    if routed:
        for title in (b"Micro-Id", b"X-Micro-Id", b"Micro-Stream"):
            whole += title + b": " + prefix + b"%b\r\n"
    whole += b"Timeout: %d\r\nContent-Length: %d\r\n%b\r\n"
    if not is_json:
        return RequestTemplate(whole + b"%b", 0, True, method)
    opening = jsonrpc.opening(method)
    whole += opening.replace(b"%", b"%%") + b"%b" + jsonrpc.closing(b"%b")
    return RequestTemplate(whole, len(opening) + len(jsonrpc.closing(b"")), routed, "")
