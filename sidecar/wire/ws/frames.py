"""WebSocket frames: a server's made whole, a client's cut from the stream.

Only the plain case is understood here, since nearly all frames are plain: a whole message of text or bytes in one
masked frame. Any other complete frame is passed on as it came, to the full protocol implementation that judges it.

:source: RFC 6455, 5.2
"""

from __future__ import annotations

import sys
from typing import Final

TEXT: Final = 0x1
BINARY: Final = 0x2

#: The first byte of a whole message in one frame.
WHOLE_TEXT: Final = 0x80 | TEXT
WHOLE_BINARY: Final = 0x80 | BINARY
#: In place of a first byte: not a plain frame, in the bytes that came.
OTHER: Final = 0

_WHOLE: Final = (WHOLE_TEXT, WHOLE_BINARY)
_MASKED: Final = 0x80


def frame(opcode: int, payload: bytes) -> bytes:
    """A server's frame: final, unmasked, uncompressed."""
    length = len(payload)
    if length < 126:
        return bytes((0x80 | opcode, length)) + payload
    if length < 65536:
        return bytes((0x80 | opcode, 126, length >> 8, length & 255)) + payload
    return bytes((0x80 | opcode, 127)) + length.to_bytes(8, "big") + payload


def cut(data: bytes, most: int, count: int = sys.maxsize) -> tuple[list[tuple[int, bytes]], bytes, int]:
    """Cut the complete frames from the front of ``data``.

    :param most: bytes of the largest payload to wait for. :param count: frames to cut; the rest is left as it is.
    :returns: the frames (``WHOLE_TEXT`` or ``WHOLE_BINARY`` with the payload unmasked, or ``OTHER`` with the frame as
        it came); what is left; and how many bytes are missing, at least, until the first frame of that is complete.
        -1 is said for missing where the rest is not to be waited for: a frame over ``most`` bytes or without a mask.
    """
    cuttings: list[tuple[int, bytes]] = []
    at, end = 0, len(data)
    missing = 0
    while at < end and len(cuttings) < count:
        if end - at < 2:
            missing = 1
            break
        first, second = data[at], data[at + 1]
        if second < _MASKED:
            missing = -1
            break
        length = second & 0x7F
        key, shortest = at + 2, 0
        if length == 126:
            key, shortest = at + 4, 126
            if end < key:
                missing = key - end
                break
            length = data[at + 2] << 8 | data[at + 3]
        elif length == 127:
            key, shortest = at + 10, 65536
            if end < key:
                missing = key - end
                break
            length = int.from_bytes(data[at + 2 : key], "big")
        if length > most:
            missing = -1
            break
        body = key + 4
        after = body + length
        if end < after:
            missing = after - end
            break
        if first in _WHOLE and length >= shortest:
            cuttings.append((first, unmask(data[body:after], data[key:body])))
        else:
            cuttings.append((OTHER, data[at:after]))
        at = after
    return cuttings, data[at:] if at else data, missing


def unmask(payload: bytes, key: bytes) -> bytes:
    """Undo a client's mask, as one operation on two big numbers. :param key: four bytes."""
    length = len(payload)
    pad = (key * (length // 4 + 1))[:length]
    return (int.from_bytes(payload, "little") ^ int.from_bytes(pad, "little")).to_bytes(length, "little")
