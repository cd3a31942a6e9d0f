"""gRPC over HTTP/2, as go-micro's v2 line speaks it and as plain gRPC servers do: paths, frames, statuses.

:source: github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md; ``client/grpc/grpc.go``, ``server/grpc/grpc.go``
    and ``util/grpc`` of micro/go-micro@v2.9.1
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from http import HTTPStatus
from urllib.parse import unquote

from sidecar.errors import BadAnswer, BadRequest, TooLarge
from sidecar.model import Call, Fault
from sidecar.wire import faults
from sidecar.wire.headers import forwardable, pairs_of

#: gRPC status to HTTP status, for errors that are not go-micro's own.
#: :source: google/rpc/code.proto, whose comments give the HTTP mapping of each code
HTTP_OF: dict[int, int] = {
    1: 499, 2: 500, 3: 400, 4: 504, 5: 404, 6: 409, 7: 403, 8: 429, 9: 400,
    10: 409, 11: 400, 12: 501, 13: 500, 14: 503, 15: 500, 16: 401,
}  # fmt: skip

#: HTTP status to gRPC status, for what we answer.
GRPC_OF: dict[int, int] = {
    400: 3, 401: 16, 403: 7, 404: 5, 408: 4, 409: 6, 429: 8, 499: 1, 500: 13, 501: 12, 503: 14, 504: 4,
}  # fmt: skip

_TOKEN = re.compile(r"[0-9a-z_.\-]+")
_UNSAFE = re.compile(r"[^\x20-\x7e]")
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")

#: Names that are the protocol's own and never metadata.
_RESERVED = frozenset(
    {"connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade", "te", "trailer", "host"}
    | {"content-type", "content-length", "user-agent", "grpc-timeout", "timeout"}
)


def path(service: str, method: str) -> str:
    """The request path of ``method``: go-micro's ``Type.Method``, or a path as plain gRPC names it.

    >>> path("srv.say", "Say.Hello"), path("greeter", "helloworld.Greeter.SayHello")
    ('/srv.say.Say/Hello', '/helloworld.Greeter/SayHello')

    :raises BadRequest: the method is neither.
    """
    if "/" in method:
        name = method if method.startswith("/") else "/" + method
    else:
        kind, dot, call = method.rpartition(".")
        if not dot or not kind or not call:
            raise BadRequest(f"method: {method!r} is neither Type.Method nor package.Service/Method")
        name = f"/{service}.{kind}/{call}" if "." not in kind and service else f"/{kind}/{call}"
    if not re.fullmatch(r"/[!-~]+/[!-~]+", name):
        raise BadRequest(f"method: {method!r} cannot be a gRPC path")
    return name


def request_headers(authority: str, call: Call, timeout: float | None, secure: bool = False) -> list[tuple[str, str]]:
    """The headers of a call.

    :param timeout: seconds that remain, or None for a stream without a deadline. :param secure: whether it goes by TLS.
    :raises BadRequest: a method that makes no path, or metadata that no header can hold.
    """
    subtype = "json" if is_json(call.content_type) else "proto"
    headers = [
        (":method", "POST"),
        (":scheme", "https" if secure else "http"),
        (":path", path(call.service, call.method)),
        (":authority", authority),
        ("content-type", f"application/grpc+{subtype}"),
        ("te", "trailers"),
        ("user-agent", "microsidecar"),
        ("x-content-type", f"application/grpc+{subtype}"),
    ]
    if timeout is not None:
        headers.append(("grpc-timeout", timeout_text(timeout)))
        headers.append(("timeout", str(max(1, int(timeout * 1e9)))))
    headers.extend(_metadata({**call.metadata, **dict(pairs_of(call.lines))} if call.lines else call.metadata))
    return headers


def is_json(content_type: str) -> bool:
    return "json" in content_type


def _metadata(metadata: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    for name, value in metadata.items():
        lowered = name.lower()
        if not _TOKEN.fullmatch(lowered) or lowered in _RESERVED or lowered.startswith("grpc-"):
            continue
        if forwardable(lowered):
            if _CONTROL.search(value):
                raise BadRequest(f"metadata {name}: holds a control character")
            yield lowered, _UNSAFE.sub("?", value)


def timeout_text(seconds: float) -> str:
    """``grpc-timeout``: at most eight digits and a unit."""
    for unit, scale in (("u", 1e6), ("m", 1e3), ("S", 1.0)):
        amount = max(1, int(seconds * scale))
        if amount < 100_000_000:
            return f"{amount}{unit}"
    return "99999999S"


def timeout_seconds(text: str) -> float | None:
    """``grpc-timeout`` read; None where it is none."""
    scales = {"H": 3600.0, "M": 60.0, "S": 1.0, "m": 1e-3, "u": 1e-6, "n": 1e-9}
    match = re.fullmatch(r"(\d{1,8})([HMSmun])", text)
    return int(match[1]) * scales[match[2]] if match else None


def frame(message: bytes) -> bytes:
    """One message as it goes on a stream: not compressed, length, bytes."""
    return b"\0" + len(message).to_bytes(4, "big") + message


class Deframer:
    """Cuts a stream's bytes into messages. :ivar rest: bytes of a message that has not come whole."""

    def __init__(self, limit: int) -> None:
        """:param limit: bytes of the largest message to take."""
        self._limit = limit
        self._buffer = bytearray()

    @property
    def rest(self) -> int:
        return len(self._buffer)

    def feed(self, data: bytes) -> list[bytes]:
        """:raises TooLarge: a message is over the limit. :raises BadAnswer: it is compressed, unasked."""
        self._buffer += data
        messages = []
        while len(self._buffer) >= 5:
            length = int.from_bytes(self._buffer[1:5], "big")
            if self._buffer[0]:
                raise BadAnswer("a compressed gRPC message, though no compression was agreed")
            if length > self._limit:
                raise TooLarge(f"a gRPC message of {length} bytes is over the limit of {self._limit}")
            if len(self._buffer) < 5 + length:
                break
            messages.append(bytes(self._buffer[5 : 5 + length]))
            del self._buffer[: 5 + length]
        return messages


def whole_messages(data: bytes | bytearray) -> tuple[int, bool]:
    """:returns: how many messages ``data`` begins with, two at most, and whether it ends with the last of them."""
    count, at = 0, 0
    while count < 2 and len(data) - at >= 5:
        end = at + 5 + int.from_bytes(data[at + 1 : at + 5], "big")
        if end > len(data):
            break
        count, at = count + 1, end
    return count, at == len(data)


def fault(service: str, trailers: Mapping[str, str]) -> Fault | None:
    """What the trailers say went wrong; None when nothing did.

    go-micro puts its error JSON into ``grpc-message``; other servers put words there.
    """
    status = trailers.get("grpc-status", "")
    if status == "0":
        return None
    message = unquote(trailers.get("grpc-message", ""))
    parsed = faults.parse(message)
    if parsed.code > 0:
        return parsed
    number = int(status) if status.isascii() and status.isdigit() else 2
    code = HTTP_OF.get(number, 500)
    return Fault(id=service, code=code, detail=message or f"gRPC status {number}", status=faults.reason(code))


def status_trailers(error: Fault | None) -> list[tuple[str, str]]:
    """The trailers of an answer of ours, with go-micro's error JSON as the message."""
    if error is None:
        return [("grpc-status", "0")]
    text = faults.encode(error).decode("utf-8")
    return [("grpc-status", str(GRPC_OF.get(error.code, 2))), ("grpc-message", percent_encode(text))]


def percent_encode(text: str) -> str:
    """``grpc-message``: printable ASCII as it is, the rest and ``%`` in percent form."""
    return "".join(
        chr(byte) if 0x20 <= byte <= 0x7E and byte != 0x25 else f"%{byte:02X}" for byte in text.encode("utf-8")
    )


def http_problem(status: str) -> str:
    """Why an answer whose HTTP status is not 200 is no gRPC answer."""
    try:
        phrase = HTTPStatus(int(status)).phrase
    except ValueError:
        phrase = "unknown"
    return f"HTTP status {status} ({phrase}) in place of a gRPC answer"
