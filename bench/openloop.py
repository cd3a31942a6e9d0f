"""Open-loop load: calls leave at fixed times whether or not the last one came back, so that waiting is not hidden.

``python -m bench.openloop PORT PATH BODY-FILE RATE CONNECTIONS SECONDS`` prints one JSON line of latencies. It runs in
a process of its own, so that its pauses are not the measuring program's.
"""

from __future__ import annotations

import json
import os
import selectors
import socket
import subprocess
import sys
import tempfile
import time

from attrs import frozen

from bench.programs import Program


@frozen
class Outcome:
    """Latencies in seconds, CPU in thousandths of a core."""

    p50: float
    p90: float
    p99: float
    millicpu: float
    errors: int


def measure(
    program: Program, path: str, body: bytes, rate: float, connections: int, seconds: float, port: int = 0
) -> Outcome:
    """Load ``program`` and say what a call took and what the program used."""
    with tempfile.NamedTemporaryFile() as file:
        file.write(body)
        file.flush()
        before, begin = program.cpu(), time.monotonic()
        command = [sys.executable, "-m", "bench.openloop", str(port or program.port), path, file.name]
        command += [str(rate), str(connections), str(seconds)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 60, check=True)
        cpu, elapsed = program.cpu() - before, time.monotonic() - begin
    said = json.loads(done.stdout)
    took = sorted(said["took"])
    at = [took[min(len(took) - 1, int(len(took) * part))] for part in (0.5, 0.9, 0.99)]
    return Outcome(*at, 1000 * cpu / elapsed, said["errors"])


def load(port: int, path: str, body: bytes, rate: float, connections: int, seconds: float) -> tuple[list[float], int]:
    """Send ``rate`` calls a second, evenly paced and each connection a step behind the last."""
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\n"
    request = head.encode() + b"Content-Length: %d\r\n\r\n" % len(body) + body
    selector = selectors.DefaultSelector()
    socks = []
    for _ in range(connections):
        sock = socket.create_connection(("127.0.0.1", port), timeout=10)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        selector.register(sock, selectors.EVENT_READ)
        socks.append(sock)
    free, due_of, took, errors = list(socks), {}, [], 0
    count = int(rate * seconds)
    begin = time.perf_counter() + 0.05
    sent = 0
    while len(took) + errors < count:
        now = time.perf_counter()
        due = begin + sent / rate
        if sent < count and now >= due and free:
            sock = free.pop(0)
            due_of[sock] = due
            sock.sendall(request)
            sent += 1
            continue
        # The last tenth of a millisecond is spun away: the kernel's timers are coarser than what is measured.
        wait = max(0.0, due - now - 0.0001) if sent < count and free else 1.0
        for key, _ in selector.select(wait):
            sock = key.fileobj
            data = sock.recv(65536)  # type: ignore[union-attr]
            if data.startswith(b"HTTP/1.1 200"):
                took.append(time.perf_counter() - due_of[sock])
            else:
                errors += 1
            free.append(sock)  # type: ignore[arg-type]
        if now - begin > seconds + 20:
            break
    return took, errors


if __name__ == "__main__":
    os.nice(-5) if os.geteuid() == 0 else None
    with open(sys.argv[3], "rb") as given:
        latencies, failed = load(int(sys.argv[1]), sys.argv[2], given.read(), *(float(a) for a in sys.argv[4:5]),
                                 int(sys.argv[5]), float(sys.argv[6]))  # fmt: skip
    print(json.dumps({"took": latencies, "errors": failed}))
