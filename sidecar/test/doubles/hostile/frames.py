"""What is no WebSocket: handshakes that cannot be, and frames that must not be."""

from __future__ import annotations

import base64
import struct
from collections.abc import Iterator

from sidecar.test.doubles.hostile.attack import MAX_BODY, Attack, request


def attacks() -> Iterator[Attack]:
    """Handshakes, then frames behind a good handshake."""
    yield from _handshakes()
    yield from _frames()


_KEY = base64.b64encode(bytes(16)).decode()
_UPGRADE: dict[str, bytes | str] = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Key": _KEY,
    "Sec-WebSocket-Version": "13",
}


def _handshakes() -> Iterator[Attack]:
    target = "/broker?topic=hostile"
    for label, data in {
        "no topic": request("GET", "/broker", headers=_UPGRADE),
        "empty topic": request("GET", "/broker?topic=", headers=_UPGRADE),
        "topic not UTF-8": request("GET", "/broker?topic=%ff", headers=_UPGRADE),
        "format unknown": request("GET", f"{target}&format=xml", headers=_UPGRADE),
        "no key": request("GET", target, headers={k: v for k, v in _UPGRADE.items() if k != "Sec-WebSocket-Key"}),
        "short key": request("GET", target, headers={**_UPGRADE, "Sec-WebSocket-Key": "short"}),
        "version 7": request("GET", target, headers={**_UPGRADE, "Sec-WebSocket-Version": "7"}),
        "version of words": request("GET", target, headers={**_UPGRADE, "Sec-WebSocket-Version": "new"}),
        "stranger": request("GET", target, headers={**_UPGRADE, "Origin": "http://evil.example"}),
        "stranger from nowhere": request("GET", target, headers={**_UPGRADE, "Origin": "null"}),
        "with a body": request("GET", target, b"body", headers=_UPGRADE),
        "on no path": request("GET", "/nowhere", headers=_UPGRADE),
    }.items():
        yield Attack(f"handshake: {label}", data)


def _frame(first: int, payload: bytes = b"", *, masked: bool = True, length: bytes | None = None) -> bytes:
    """A frame of the client's. :param length: length bytes to lie with."""
    bit = 0x80 if masked else 0
    if length is None:
        if len(payload) < 126:
            length = bytes([bit | len(payload)])
        elif len(payload) < 65536:
            length = bytes([bit | 126]) + struct.pack(">H", len(payload))
        else:
            length = bytes([bit | 127]) + struct.pack(">Q", len(payload))
    # A mask of zeros masks nothing, and is a mask.
    return bytes([first]) + length + (bytes(4) if masked else b"") + payload


def _frames() -> Iterator[Attack]:
    opening = request("GET", "/broker?topic=hostile", headers=_UPGRADE)
    for label, (frames, codes) in {
        "not masked": (_frame(0x81, b"hi", masked=False), (1002,)),
        "reserved bits": (_frame(0xF1, b"hi"), (1002,)),
        "compressed without asking": (_frame(0xC1, b"hi"), (1002,)),
        "reserved opcode": (_frame(0x83, b"hi"), (1002,)),
        "reserved control opcode": (_frame(0x8B), (1002,)),
        "ping too long": (_frame(0x89, b"x" * 126), (1002,)),
        "ping in pieces": (_frame(0x09, b"x"), (1002,)),
        "continuation of nothing": (_frame(0x80, b"x"), (1002,)),
        "text inside text": (_frame(0x01, b"a") + _frame(0x81, b"b"), (1002,)),
        "text not UTF-8": (_frame(0x81, b"\xff\xfe\xfd"), (1007,)),
        "text not UTF-8, in pieces": (_frame(0x01, b"\xe2") + _frame(0x80, b"("), (1007,)),
        "length not minimal": (_frame(0x82, b"x", length=bytes([0xFE, 0, 1])), (1002,)),
        "length below zero": (_frame(0x82, length=bytes([0xFF, 0x80, *bytes(7)])), (1002,)),
        "length of an exabyte": (_frame(0x82, length=bytes([0xFF, 0x0F, *bytes(7)])), (1002, 1009)),
        "binary too large": (_frame(0x82, bytes(MAX_BODY + 1)), (1009,)),
        "text too large": (_frame(0x81, b"x" * (MAX_BODY + 1)), (1009,)),
        "pieces too large": (_frame(0x02, bytes(40_000)) + _frame(0x80, bytes(40_000)), (1009,)),
        "pieces without end": (_frame(0x02, bytes(30_000)) + _frame(0x00, bytes(30_000)) * 9, (1009,)),
        "close with half a code": (_frame(0x88, b"\x03"), (1002,)),
        "close with code 999": (_frame(0x88, struct.pack(">H", 999)), (1002,)),
        "close with code 1005": (_frame(0x88, struct.pack(">H", 1005)), (1002,)),
        "close not UTF-8": (_frame(0x88, struct.pack(">H", 1000) + b"\xff"), (1002, 1007)),
        "noise": (bytes((number * 37 + 11) % 256 for number in range(4_096)), (1002,)),
        "HTTP": (b"GET / HTTP/1.1\r\nHost: h\r\n\r\n", (1002,)),
        "binary, then goodbye": (_frame(0x82, bytes(range(256))) + _frame(0x88, struct.pack(">H", 1000)), (1000,)),
        "ten thousand pings": (_frame(0x89, b"x") * 10_000 + _frame(0x88, struct.pack(">H", 1000)), (1000,)),
    }.items():
        yield Attack(f"frames: {label}", opening + frames, (101,), codes)
