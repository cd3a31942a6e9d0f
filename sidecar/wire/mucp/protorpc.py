"""go-micro's protobuf envelope, as its callers write and read it: two netstrings, a header message and the payload.

The payload is opaque here: whoever calls knows its messages.

:source: micro/go-micro@d3bfdc79:codec/protorpc, micro/go-micro@v6.10.0:codec/protorpc
"""

from __future__ import annotations

from sidecar.errors import BadAnswer, ServiceFault
from sidecar.wire import faults
from sidecar.wire.mucp.jsonrpc import Header, raise_from_headers, raise_unsupported

PROTO_RPC = "application/proto-rpc"

#: Tags of the header messages: field number and wire type in one byte.
_METHOD, _SEQUENCE, _ERROR = 0x0A, 0x11, 0x1A


def request(method: str, sequence: int, payload: bytes) -> bytes:
    """A request whole. :param sequence: a number of the caller's, up to 64 bits, that the answer repeats."""
    name = method.encode("utf-8")
    header = b"\x0a" + varint(len(name)) + name + b"\x11" + sequence.to_bytes(8, "little")
    return netstring(header) + netstring(payload)


def result(body: bytes, header: Header) -> bytes:
    """Read the body of an answer with status 200.

    :returns: the payload.
    :raises ServiceFault: the service answered an error. :raises BadAnswer: this is no answer.
    """
    try:
        head, at = cut(body, 0)
        # A header without a payload ends the answer of some servers after an error.
        payload = cut(body, at)[0] if at < len(body) else b""
        error = _error(head)
    except ValueError as broken:
        raise_from_headers(header)
        raise_unsupported(body, header)
        raise BadAnswer(f"answered something that is not a proto-rpc envelope: {broken}") from None
    if error:
        raise ServiceFault(faults.parse(error))
    return payload


def _error(head: bytes) -> str:
    """The error in a response header, "" for none. Fields that we do not know are skipped, as protobuf wants it."""
    at, error = 0, b""
    while at < len(head):
        tag, at = read_varint(head, at)
        kind = tag & 7
        if kind == 0:
            _, at = read_varint(head, at)
        elif kind in (1, 5):
            at += 8 if kind == 1 else 4
        elif kind == 2:
            length, at = read_varint(head, at)
            if tag == _ERROR:
                error = head[at : at + length]
            at += length
        else:
            raise ValueError(f"wire type {kind} in its header")
    if at != len(head):
        raise ValueError("its header is cut short")
    return error.decode("utf-8", "replace")


def netstring(data: bytes) -> bytes:
    """Four bytes of length, and the data."""
    return len(data).to_bytes(4, "big") + data


def cut(body: bytes, at: int) -> tuple[bytes, int]:
    """The netstring at ``at``, and where it ends. :raises ValueError: it is not whole."""
    start = at + 4
    end = start + int.from_bytes(body[at:start], "big")
    if start > len(body) or end > len(body):
        raise ValueError("it is cut short")
    return body[start:end], end


def varint(value: int) -> bytes:
    """A number as protobuf writes it."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def read_varint(data: bytes, at: int) -> tuple[int, int]:
    """The number at ``at``, and where it ends. :raises ValueError: it is not whole."""
    value = shift = 0
    while at < len(data) and shift < 64:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
    raise ValueError("a number in its header is cut short")
