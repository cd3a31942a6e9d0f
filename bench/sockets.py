"""WebSockets at their barest, for load: the handshake, ready-made masked frames, and counting what comes back."""

from __future__ import annotations

import base64
import os
import socket


def connect(port: int, path: str) -> socket.socket:
    """Open a WebSocket on loopback. :raises RuntimeError: the server did not upgrade."""
    sock = socket.create_connection(("127.0.0.1", port), timeout=30)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    key = base64.b64encode(os.urandom(16)).decode()
    sock.sendall(
        f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
    )
    head = b""
    while b"\r\n\r\n" not in head:
        # A byte at a time, so that nothing behind the handshake is swallowed.
        piece = sock.recv(1)
        if not piece:
            break
        head += piece
    if b" 101 " not in head.split(b"\r\n")[0]:
        raise RuntimeError(f"no WebSocket at {path}: {head.decode(errors='replace')}")
    return sock


def frame(payload: bytes, opcode: int = 2) -> bytes:
    """One masked frame. The mask is zero, which is a mask like any other and leaves the payload as it is."""
    size = len(payload)
    if size < 126:
        head = bytes([0x80 | opcode, 0x80 | size])
    elif size < 65536:
        head = bytes([0x80 | opcode, 0x80 | 126]) + size.to_bytes(2, "big")
    else:
        head = bytes([0x80 | opcode, 0x80 | 127]) + size.to_bytes(8, "big")
    return head + bytes(4) + payload
