"""Sieges of clients that do not read or do not finish: what they take of memory, and what of everybody's time.

``python -m bench.siege [SIEGE...]`` tries each against a sidecar of its own: ``frames`` (300 WebSockets, each with half
a frame of 4 MiB), ``answers`` (300 answers of 4 MiB that nobody reads), ``subscribers`` (1,000 subscribers that do not
read messages of four bytes), ``http2`` (ten connections of HTTP/2 that take no answer), ``requests`` (300 calls of
4 MiB to a node that does not read), ``watchers`` and ``sockets`` (1,000 that watch the registry by events, or by
WebSockets, and do not read). ``--flag`` gives the sidecar a flag.

A row shows resident memory before, at most and half a minute after, and the longest that ``/health`` took meanwhile,
asked by a process of its own, beside how late an idle process woke as control; then what was given up, by kind.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import contextlib
import json
import os
import re
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import h2.config
import h2.connection
import h2.settings

from bench.programs import Program, free_port, sidecar

MIB = 1024 * 1024
#: What a subscriber asks for.
SUBSCRIBE = "/broker?topic=siege"
#: Bytes of an answer of the app: as much as an answer may have, nearly.
ANSWER = 4 * MIB - 1024


def _connect(port: int, small: bool = False) -> socket.socket:
    sock = socket.socket()
    if small:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.settimeout(30)
    sock.connect(("127.0.0.1", port))
    return sock


def _websocket(port: int, path: str, small: bool = False) -> socket.socket:
    sock = _connect(port, small)
    key = base64.b64encode(os.urandom(16)).decode()
    head = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    sock.sendall(f"{head}Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n".encode())
    said = b""
    while b"\r\n\r\n" not in said:
        piece = sock.recv(4096)
        if not piece:
            raise ConnectionError(f"no WebSocket: {said!r}")
        said += piece
    if b" 101 " not in said.split(b"\r\n", 1)[0]:
        raise ConnectionError(f"no WebSocket: {said[:200]!r}")
    return sock


def frames(program: Program, inbound: int) -> Iterator[socket.socket]:
    half = b"\x82\xff" + (4 * MIB).to_bytes(8, "big") + b"\0\0\0\0" + bytes(4 * MIB - 1)
    for _ in range(300):
        sock = _websocket(program.port, SUBSCRIBE)
        with contextlib.suppress(OSError):  # it may be shed meanwhile
            sock.sendall(half)
        yield sock


def answers(program: Program, inbound: int) -> Iterator[socket.socket]:
    body = b'{"service":"big","method":"Big.Get","request":{}}'
    head = b"POST /rpc HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    for _ in range(300):
        sock = _connect(program.port, small=True)
        with contextlib.suppress(OSError):
            sock.sendall(head % (program.port, len(body)) + body)
        yield sock
        time.sleep(0.15)  # so that one is made at a time: many at once are a load, and no siege


def subscribers(program: Program, inbound: int) -> Iterator[socket.socket]:
    for _ in range(1000):
        yield _websocket(program.port, SUBSCRIBE, small=True)
    sender = _websocket(program.port, SUBSCRIBE)
    sender.setblocking(False)
    message = b"\x82\x84\0\0\0\0abcd" * 1000
    end = time.monotonic() + 60
    sent = 0
    rest = b""
    while time.monotonic() < end and sent < 2_000_000:
        with contextlib.suppress(BlockingIOError):
            rest = rest or message
            count = sender.send(rest)
            sent, rest = sent + count, rest[count:]
        with contextlib.suppress(BlockingIOError):
            sender.recv(1 << 20)
        time.sleep(0.001)
    yield sender


def http2(program: Program, inbound: int) -> Iterator[socket.socket]:
    fields = [(":method", "POST"), (":scheme", "http"), (":path", "/big.Big/Get"), (":authority", "big"),
              ("content-type", "application/grpc+json"), ("te", "trailers")]  # fmt: skip
    for _ in range(10):
        sock = _connect(inbound)
        peer = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True))
        peer.local_settings = h2.settings.Settings(initial_values={h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: 0})
        peer.initiate_connection()
        for _ in range(30):
            stream = peer.get_next_available_stream_id()
            peer.send_headers(stream, fields)
            peer.send_data(stream, b"\0\0\0\0\2{}", end_stream=True)
        with contextlib.suppress(OSError):
            sock.sendall(peer.data_to_send())
        yield sock
        time.sleep(2)


def requests(program: Program, inbound: int) -> Iterator[socket.socket]:
    node = socket.create_server(("127.0.0.1", 0), backlog=1024)
    yield node
    register(program, "deaf", {}, node.getsockname()[1])
    body = b'{"service":"deaf","method":"Deaf.Tell","request":{"text":"%b"}}' % (b"x" * (ANSWER - 1024))
    head = b"POST /rpc HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    for _ in range(300):
        sock = _connect(program.port)
        with contextlib.suppress(OSError):
            sock.sendall(head % (program.port, len(body)) + body)
        yield sock


def watchers(program: Program, inbound: int) -> Iterator[socket.socket]:
    head = b"GET /registry/watch HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nAccept: text/event-stream\r\n\r\n" % program.port
    for _ in range(1000):
        sock = _connect(program.port, small=True)
        sock.sendall(head)
        yield sock
    _change(program)


def sockets(program: Program, inbound: int) -> Iterator[socket.socket]:
    for _ in range(1000):
        yield _websocket(program.port, "/registry", small=True)
    _change(program)


def _change(program: Program) -> None:
    """Change a registration often."""
    for number in range(1500):
        register(program, "changing", {"number": str(number), "text": "x" * 2000})


def register(program: Program, name: str, metadata: dict[str, str], port: int = 9) -> None:
    """Register a node."""
    node = {"id": f"{name}-1", "address": f"127.0.0.1:{port}", "metadata": metadata}
    body = json.dumps({"name": name, "nodes": [node]}).encode()
    url = f"http://127.0.0.1:{program.port}/registry"
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})  # our own, on loopback
    urllib.request.urlopen(request, timeout=60).close()


SIEGES: dict[str, Callable[[Program, int], Iterator[socket.socket]]] = {
    "frames": frames,
    "answers": answers,
    "subscribers": subscribers,
    "http2": http2,
    "requests": requests,
    "watchers": watchers,
    "sockets": sockets,
}


def probe(port: int) -> None:
    """Ask for ``/health`` twenty times a second until standard input ends; print the longest that it took."""
    ended = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), ended.set()), daemon=True).start()
    longest = control = 0.0
    sock = _connect(port)
    request = b"GET /health HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n\r\n" % port
    while not ended.is_set():
        begin = time.perf_counter()
        try:
            sock.sendall(request)
            if not sock.recv(65536):
                raise ConnectionError
        except OSError:
            sock.close()
            sock = _connect(port)
            continue
        longest = max(longest, time.perf_counter() - begin)
        begin = time.perf_counter()
        time.sleep(0.05)
        control = max(control, time.perf_counter() - begin - 0.05)
    print(json.dumps({"longest": longest, "control": control}))


def app(port: int) -> None:
    """Answer every POST with a large document."""
    body = b'{"msg":"' + b"x" * (ANSWER - 10) + b'"}'
    answer = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body) + body

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                for line in head.lower().split(b"\r\n"):
                    if line.startswith(b"content-length:"):
                        await reader.readexactly(int(line.partition(b":")[2]))
                writer.write(answer)
                await writer.drain()
        writer.close()

    async def run() -> None:
        server = await asyncio.start_server(serve, "127.0.0.1", port)
        await server.serve_forever()

    asyncio.run(run())


def besiege(name: str, flags: list[str], micro: str) -> str:
    """:returns: one row."""
    served, inbound = free_port(), free_port()
    big = Program("big app", [sys.executable, "-m", "bench.siege", "--app", str(served)], served)
    program = sidecar(
        "--server_name=big", f"--server_address=127.0.0.1:{served}", "--server_protocol=http",
        f"--server_inbound=127.0.0.1:{inbound}", "--client_request_timeout=30s", "--data_dir=none", *flags, micro=micro,
    )  # fmt: skip
    kept: list[socket.socket] = []
    prober = None
    try:
        time.sleep(1)
        before = peak = program.memory()
        command = [sys.executable, "-m", "bench.siege", "--probe", str(program.port)]
        prober = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        watching = threading.Event()
        seen = [before]

        def watch() -> None:
            while not watching.wait(0.05):
                seen[0] = max(seen[0], program.memory())

        watcher = threading.Thread(target=watch)
        watcher.start()
        kept += SIEGES[name](program, inbound)
        time.sleep(5)
        said = json.loads(prober.communicate("")[0])
        watching.set()
        watcher.join()
        with urllib.request.urlopen(f"http://127.0.0.1:{program.port}/metrics", timeout=30) as answer:
            told = re.findall(r'\nmicrosidecar_memory_shed_total\{kind="(\w+)"\} (\d+)', answer.read().decode())
        shed = ", ".join(" ".join(pair) for pair in told)
        peak = seen[0]
        for sock in kept:
            sock.close()
        time.sleep(30)
        after = program.memory()
    finally:
        if prober is not None and prober.poll() is None:
            prober.kill()
        program.stop()
        big.stop()
    times = f"{said['longest'] * 1000:>10.0f}{said['control'] * 1000:>10.0f}"
    return f"{name:<14}{before / MIB:>10.0f}{peak / MIB:>10.0f}{after / MIB:>10.0f}{times}  {shed}"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.siege", description=__doc__)
    parser.add_argument("sieges", nargs="*", metavar="SIEGE", help=" ".join(SIEGES))
    parser.add_argument("--flag", action="append", default=[], help="of the sidecar, as --flag=--max_memory=64MiB")
    parser.add_argument("--micro", default="", help="the command of another build")
    parser.add_argument("--app", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--probe", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.app:
        app(given.app)
    elif given.probe:
        probe(given.probe)
    else:
        print(f"{'siege':<14}{'MiB before':>10}{'at most':>10}{'after':>10}{'/health ms':>10}{'control':>10}  given up")
        for name in given.sieges or SIEGES:
            print(besiege(name, given.flag, given.micro), flush=True)


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent.parent))
    main()
