"""A WebSocket client that can do everything wrong: it makes and takes apart frames, and leaves the rest to the test."""

from __future__ import annotations

from attrs import define, field

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10


def client_frame(
    payload: bytes | str, opcode: int = TEXT, *, fin: bool = True, rsv: int = 0, mask: bytes = b"\x5a\x01\xfe\x33"
) -> bytes:
    """A masked frame."""
    data = payload.encode() if isinstance(payload, str) else payload
    size = len(data)
    if size < 126:
        length = bytes((0x80 | size,))
    elif size < 65536:
        length = b"\xfe" + size.to_bytes(2, "big")
    else:
        length = b"\xff" + size.to_bytes(8, "big")
    pad = (mask * (size // 4 + 1))[:size]
    masked = (int.from_bytes(data, "big") ^ int.from_bytes(pad, "big")).to_bytes(size, "big")
    return bytes(((0x80 if fin else 0) | rsv << 4 | opcode,)) + length + mask + masked


def handshake(target: str, host: str = "localhost", **fields: str) -> bytes:
    """The request that opens a WebSocket. :param fields: more header fields, or others (``Sec_WebSocket_Key``)."""
    header = {
        "Host": host,
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
        "Sec-WebSocket-Version": "13",
        **{name.replace("_", "-"): value for name, value in fields.items()},
    }
    lines = "".join(f"{name}: {value}\r\n" for name, value in header.items() if value)
    return f"GET {target} HTTP/1.1\r\n{lines}\r\n".encode()


@define(eq=False)
class Reader:
    """Takes a server's bytes apart.

    :ivar head: the answer to the handshake, None before it is complete. :ivar frames: opcode and payload.
    """

    head: bytes | None = None
    frames: list[tuple[int, bytes]] = field(factory=list)
    _rest: bytes = b""

    @property
    def status(self) -> int | None:
        return int(self.head.split()[1]) if self.head is not None else None

    @property
    def body(self) -> bytes:
        """What followed the head of a refusal."""
        return self._rest

    @property
    def messages(self) -> list[bytes]:
        return [payload for opcode, payload in self.frames if opcode in (TEXT, BINARY)]

    @property
    def closed(self) -> int | None:
        """The close code that the server said, None before it said any."""
        codes = [int.from_bytes(payload[:2], "big") for opcode, payload in self.frames if opcode == CLOSE]
        return codes[0] if codes else None

    def feed(self, data: bytes) -> None:
        self._rest += data
        if self.head is None and b"\r\n\r\n" in self._rest:
            self.head, _, self._rest = self._rest.partition(b"\r\n\r\n")
        while self.status == 101 and self._take():
            pass

    def _take(self) -> bool:
        rest = self._rest
        if len(rest) < 2:
            return False
        assert rest[0] & 0x70 == 0, "reserved bits in a server's frame"
        assert rest[0] & 0x80, "a fragment from the server"
        assert rest[1] < 128, "a mask from the server"
        field_size = {126: 2, 127: 8}.get(rest[1], 0)
        if len(rest) < 2 + field_size:
            return False
        size = int.from_bytes(rest[2 : 2 + field_size], "big") if field_size else rest[1]
        end = 2 + field_size + size
        if len(rest) < end:
            return False
        self.frames.append((rest[0] & 0x0F, rest[2 + field_size : end]))
        self._rest = rest[end:]
        return True
