"""One publisher, N subscribers, all on WebSockets: deliveries a second, and how long one message takes."""

from __future__ import annotations

import selectors
import socket
import statistics
import time
from collections.abc import Callable

from attrs import define, frozen

from bench.programs import Nats, Program
from bench.sockets import connect, frame

#: Stands in every message once; a message is counted when it was seen.
MARK = b"<<mark>>"


@frozen
class Outcome:
    """:ivar rate: messages a second that reached *every* subscriber. :ivar deliveries: the same times subscribers.
    :ivar latency: seconds from publish to the last delivery of a lone message, median. :ivar cpu: seconds of the
    server's CPU a delivery."""

    rate: float
    deliveries: float
    latency: float
    cpu: float


@define(eq=False)
class Subscriber:
    sock: socket.socket
    seen: int = 0
    tail: bytes = b""

    def read(self, buffer: memoryview) -> None:
        size = self.sock.recv_into(buffer)
        if not size:
            raise RuntimeError(f"the server dropped a subscriber after {self.seen} messages")
        data = self.tail + bytes(buffer[:size])
        self.seen += data.count(MARK)
        last = data.rfind(MARK)
        keep = len(MARK) - 1
        # A mark that was counted must not stand in the tail again.
        self.tail = data[max(len(data) - keep, last + len(MARK)) :] if last >= 0 else data[-keep:]


def payload(size: int) -> bytes:
    return MARK + b"x" * (size - len(MARK))


def sidecar_dialect(
    program: Program, size: int
) -> tuple[Callable[[], socket.socket], Callable[[], socket.socket], bytes]:
    def subscribe() -> socket.socket:
        return connect(program.port, "/broker?topic=bench&format=raw")

    return subscribe, subscribe, frame(payload(size))


def nats_dialect(program: Nats, size: int) -> tuple[Callable[[], socket.socket], Callable[[], socket.socket], bytes]:
    def greet() -> socket.socket:
        sock = connect(program.websocket, "/")
        sock.sendall(frame(b'CONNECT {"verbose":false,"pedantic":false}\r\n'))
        return sock

    def subscribe() -> socket.socket:
        sock = greet()
        sock.sendall(frame(b"SUB bench 1\r\nPING\r\n"))
        answer = b""
        while b"PONG" not in answer:
            answer += sock.recv(4096)
        return sock

    body = payload(size)
    return subscribe, greet, frame(b"PUB bench %d\r\n%b\r\n" % (len(body), body))


def run(program: Program, subscribers: int, size: int, seconds: float, batch: int = 0) -> Outcome:
    """:param batch: messages written at once; the publisher keeps at most four batches under way."""
    dialect = nats_dialect(program, size) if isinstance(program, Nats) else sidecar_dialect(program, size)
    subscribe, greet, message = dialect
    batch = batch or max(8, min(256, 4096 // subscribers))
    selector = selectors.DefaultSelector()
    readers = [Subscriber(subscribe()) for _ in range(subscribers)]
    for reader in readers:
        reader.sock.setblocking(False)
        selector.register(reader.sock, selectors.EVENT_READ, reader)
    # On /broker a publisher is a subscriber too, so one of the subscribers publishes; NATS has one that only does.
    sender = readers[0].sock if not isinstance(program, Nats) else greet()
    sender.setblocking(True)
    buffer = memoryview(bytearray(1 << 20))
    try:
        latency = _latency(sender, message, readers, selector, buffer)
        sent = readers[0].seen
        block = message * batch
        before = program.cpu()
        begin = time.perf_counter()
        first = sent
        while time.perf_counter() - begin < seconds:
            while sent - min(reader.seen for reader in readers) <= 3 * batch:
                sender.sendall(block)
                sent += batch
            _read(selector, buffer)
        _until(sent, readers, selector, buffer)
        elapsed = time.perf_counter() - begin
        cpu = program.cpu() - before
    finally:
        sender.close()
        for reader in readers:
            reader.sock.close()
        selector.close()
    count = sent - first
    return Outcome(count / elapsed, count * subscribers / elapsed, latency, cpu / max(1, count * subscribers))


def _latency(
    sender: socket.socket,
    message: bytes,
    readers: list[Subscriber],
    selector: selectors.BaseSelector,
    buffer: memoryview,
    times: int = 50,
) -> float:
    took = []
    for n in range(1, times + 1):
        begin = time.perf_counter()
        sender.sendall(message)
        _until(n, readers, selector, buffer)
        took.append(time.perf_counter() - begin)
    return statistics.median(took)


def _until(count: int, readers: list[Subscriber], selector: selectors.BaseSelector, buffer: memoryview) -> None:
    deadline = time.perf_counter() + 30
    while min(reader.seen for reader in readers) < count:
        _read(selector, buffer)
        if time.perf_counter() > deadline:
            raise RuntimeError(f"messages are missing: {count} sent, {sorted(r.seen for r in readers)[:5]} seen")


def _read(selector: selectors.BaseSelector, buffer: memoryview) -> None:
    for key, _ in selector.select(1):
        key.data.read(buffer)
