"""Those who watch the registry: what each costs in memory, and how soon all of them have a change."""

from __future__ import annotations

import contextlib
import resource
import selectors
import socket
import time
import urllib.request
from collections.abc import Iterator

from bench import sockets
from bench.programs import Program

#: Changes that each watcher hears before memory is looked at.
CHANGES = 10


def raise_limit(count: int) -> None:
    """Let this process have ``count`` sockets, where it may."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, count + 500), hard))


def _request(port: int, path: str) -> socket.socket:
    sock = socket.create_connection(("127.0.0.1", port), timeout=60)
    sock.sendall(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode())
    return sock


def events(port: int) -> socket.socket:
    """A reader of ``/registry/watch``, opened."""
    sock = _request(port, "/registry/watch")
    head = b""
    while b"\nid: " not in head:
        head += sock.recv(4096)
    return sock


def websocket(port: int) -> socket.socket:
    """A watch over a WebSocket."""
    return sockets.connect(port, "/registry")


def query(port: int, index: int) -> socket.socket:
    """A blocking query that waits."""
    return _request(port, f"/registry?index={index}&wait=10m")


def index(port: int) -> int:
    """The registry's index now."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/registry", timeout=60) as answer:
        return int(answer.headers["X-Micro-Index"])


def await_open(port: int, count: int) -> None:
    """Wait until so many watch or wait, by the sidecar's own word."""
    deadline = time.monotonic() + 60
    while True:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=60) as answer:
            text = answer.read().decode()
        (line,) = (line for line in text.splitlines() if line.startswith("microsidecar_watchers "))
        if float(line.split(" ")[1]) >= count:
            return
        if time.monotonic() > deadline:
            raise RuntimeError(f"{line}, not {count}, after a minute")
        time.sleep(0.05)


@contextlib.contextmanager
def watching(socks: list[socket.socket]) -> Iterator[list[socket.socket]]:
    """:returns: the same sockets, closed at the end."""
    try:
        yield socks
    finally:
        for sock in socks:
            sock.close()


def told(socks: list[socket.socket], marker: bytes) -> float:
    """Wait until each has read something with ``marker``. :returns: seconds that took."""
    began = time.monotonic()
    with selectors.DefaultSelector() as selector:
        for sock in socks:
            selector.register(sock, selectors.EVENT_READ, b"")
        left = len(socks)
        while left:
            ready = selector.select(60)
            if not ready:
                raise RuntimeError(f"{left} of {len(socks)} watchers heard nothing for a minute")
            for key, _ in ready:
                sock = key.fileobj
                assert isinstance(sock, socket.socket)
                seen = key.data + sock.recv(65536)
                if marker in seen:
                    selector.unregister(sock)
                    left -= 1
                else:
                    selector.modify(sock, selectors.EVENT_READ, seen[-len(marker) :])
    return time.monotonic() - began


def each(program: Program, before: int, count: int) -> float:
    """:returns: KiB that each of ``count`` has taken. :param before: bytes of memory without them."""
    return (program.memory() - before) / count / 1024
