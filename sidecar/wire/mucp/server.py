"""go-micro RPC as a server hears it: requests of every generation read, answers written in the caller's dialect.

:source: ``server/rpc_server.go`` and ``server/rpc_codec.go`` of micro/go-micro@d3bfdc79, @v0.20.0, @v1.18.0, @v6.10.0
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import orjson
from attrs import frozen

from sidecar.errors import BadRequest, UnsupportedMedia
from sidecar.model import Fault, Reply
from sidecar.wire import faults, rawjson
from sidecar.wire.mucp import protorpc
from sidecar.wire.rawjson import elements, kind, members, string

Dialect = Literal["jsonrpc", "protorpc", "json", "proto"]

#: Content type to codec where no header names the target: the first generation, and everything that imitates it.
_LEGACY: dict[str, Dialect] = {
    "application/json": "jsonrpc",
    "application/json-rpc": "jsonrpc",
    "application/protobuf": "protorpc",
    "application/proto-rpc": "protorpc",
    "application/octet-stream": "protorpc",
}
#: The same where ``Micro-*`` headers name it.
_NEW: dict[str, Dialect] = {
    "application/json": "json",
    "application/json-rpc": "jsonrpc",
    "application/protobuf": "proto",
    "application/proto": "proto",
    "application/proto-rpc": "protorpc",
}


@frozen
class IncomingCall:
    """A call that came in. :ivar sequence: the caller's id for it, as raw JSON or as eight bytes, to be echoed.
    :ivar body: the payload alone. :ivar event: the topic, where this is a message and no call."""

    dialect: Dialect
    content_type: str
    service: str
    method: str
    sequence: bytes
    body: bytes
    event: str = ""

    @property
    def is_json(self) -> bool:
        return self.dialect in ("json", "jsonrpc")


class Unreadable(BadRequest):
    """The envelope cannot be read, or there is none. :ivar call: what is known, to answer in the caller's dialect."""

    def __init__(self, why: str, call: IncomingCall) -> None:
        super().__init__(why)
        self.call = call


def decode(headers: Mapping[str, str], body: bytes) -> IncomingCall:
    """Read a request. :param headers: names in lower case.

    :raises UnsupportedMedia: no codec has that content type. :raises Unreadable: the envelope cannot be read.
    """

    def header(name: str) -> str:
        return headers.get(f"micro-{name}") or headers.get(f"x-micro-{name}") or ""

    service, endpoint, method = header("service"), header("endpoint"), header("method")
    named = bool(header("protocol") or ((service or endpoint or method) and not header("target")))
    content_type = headers.get("content-type", "").partition(";")[0].strip().lower()
    dialect = (_NEW if named else _LEGACY).get(content_type or "application/protobuf")
    if dialect is None:
        raise UnsupportedMedia(f"unsupported Content-Type: {content_type}")
    topic = header("topic")
    if topic:
        return IncomingCall(dialect, content_type, service, "", b"", body, event=topic)
    target = endpoint or method
    if dialect in ("jsonrpc", "protorpc"):
        try:
            inner, sequence, payload = _read_jsonrpc(body, target) if dialect == "jsonrpc" else _read_protorpc(body)
        except BadRequest as error:
            unknown = b"null" if dialect == "jsonrpc" else bytes(8)
            call = IncomingCall(dialect, content_type, service, target, unknown, b"")
            raise Unreadable(str(error), call) from None
        return IncomingCall(dialect, content_type, service, target or inner, sequence, payload)
    if dialect == "json":
        body = rawjson.without_bom(body) or b"{}"
    return IncomingCall(dialect, content_type, service, target, b"", body)


def encode(call: IncomingCall, answer: Reply | Fault) -> tuple[dict[str, str], bytes]:
    """Write the answer in the dialect of ``call``: headers and body, to go out under status 200."""
    headers = {"Content-Type": call.content_type or "application/protobuf"}
    fault = answer if isinstance(answer, Fault) else None
    payload = answer.body if isinstance(answer, Reply) else b""
    error = faults.encode(fault).decode("utf-8") if fault else ""
    if error:
        for name in ("Micro-Error", "X-Micro-Error"):
            headers[name] = header_text(error)
    if call.dialect == "jsonrpc":
        quoted = orjson.dumps(error) if error else b"null"
        result = b"null" if fault else payload or b"null"
        return headers, b'{"id":' + call.sequence + b',"result":' + result + b',"error":' + quoted + b"}\n"
    if call.dialect == "protorpc":
        return headers, protorpc.netstring(_response_header(call, error)) + protorpc.netstring(payload)
    return headers, payload


def encode_end(call: IncomingCall) -> tuple[dict[str, str], bytes]:
    """The end of a stream, said well: in the headers, and in the envelope where there is one."""
    headers = {"Content-Type": call.content_type or "application/protobuf"}
    headers.update(dict.fromkeys(("Micro-Error", "X-Micro-Error"), "EOS"))
    if call.dialect == "jsonrpc":
        return headers, b'{"id":' + call.sequence + b',"result":null,"error":"EOS"}\n'
    if call.dialect == "protorpc":
        return headers, protorpc.netstring(_response_header(call, "EOS")) + protorpc.netstring(b"")
    return headers, b""


#: By these clients of some generation match an answer.
_ECHOED = tuple(
    prefix + name
    for prefix in ("", "X-")
    for name in ("Micro-Id", "Micro-Service", "Micro-Method", "Micro-Endpoint", "Micro-Stream")
)


def echoed(headers: Mapping[str, str]) -> dict[str, str]:
    """The headers of a request that belong into its answer. :param headers: names in lower case."""
    return {name: headers[name.lower()] for name in _ECHOED if headers.get(name.lower())}


def header_text(text: str) -> str:
    """JSON in a header: other letters than ASCII as escapes, which mean the same."""
    return "".join(letter if " " <= letter <= "~" else _escape(letter) for letter in text)


def _escape(letter: str) -> str:
    units = letter.encode("utf-16-be")
    return "".join(f"\\u{units[at : at + 2].hex()}" for at in range(0, len(units), 2))


def _read_jsonrpc(body: bytes, target: str) -> tuple[str, bytes, bytes]:
    """Method, id as raw JSON, and the parameter as the bytes that it came in: the first of an array, or an object.

    :param target: the method that the headers name, "" for none.
    :raises BadRequest: that is no envelope. What a caller sends bare would be lost, and its call an empty one.
    """
    try:
        parts = members(body)
        params = parts.get("params", b"null")
        items = elements(params) if params.startswith(b"[") else [params] if params.startswith(b"{") else []
    except ValueError as error:
        raise BadRequest(f"JSON-RPC envelope: {error}") from error
    method = string(parts.get("method", b'""'))
    if method is None:
        raise BadRequest("JSON-RPC envelope: method is not a string")
    if "params" not in parts and not (method and target in ("", method)):
        raise BadRequest(
            'there is no JSON-RPC envelope: send {"method": ..., "params": [...], "id": ...}, or the bare request as '
            "application/json with the method in Micro-Endpoint"
        )
    if params != b"null" and not items and not params.startswith(b"["):
        raise BadRequest(f"JSON-RPC envelope: params is {kind(params)}, and must be an array that holds the request")
    if len(items) > 1:
        raise BadRequest(f"JSON-RPC envelope: params holds {len(items)} values, and a call has one request")
    return method, parts.get("id", b"null"), items[0] if items else b"{}"


def _read_protorpc(body: bytes) -> tuple[str, bytes, bytes]:
    """Method, sequence as its eight bytes, and payload."""
    try:
        header, end = protorpc.cut(body, 0)
        payload = protorpc.cut(body, end)[0] if end < len(body) else b""
        method, sequence = _request_header(header)
    except ValueError as error:
        raise BadRequest(f"proto-rpc envelope: {error}") from None
    return method, sequence, payload


def _request_header(header: bytes) -> tuple[str, bytes]:
    method, sequence, at = "", bytes(8), 0
    while at < len(header):
        tag, at = protorpc.read_varint(header, at)
        if tag == 0x0A:
            length, at = protorpc.read_varint(header, at)
            method = header[at : at + length].decode("utf-8", "replace")
            at += length
        elif tag == 0x11:
            sequence = header[at : at + 8]
            at += 8
        else:
            raise ValueError(f"field {tag >> 3} in its header is unknown")
    if at != len(header) or len(sequence) != 8:
        raise ValueError("its header is cut short")
    return method, sequence


def _response_header(call: IncomingCall, error: str) -> bytes:
    def text(tag: bytes, value: str) -> bytes:
        data = value.encode("utf-8")
        return tag + protorpc.varint(len(data)) + data

    return text(b"\x0a", call.method) + b"\x11" + call.sequence + text(b"\x1a", error)
