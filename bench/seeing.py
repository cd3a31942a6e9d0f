"""``python -m bench.seeing``: what it costs a call that somebody looks, each way beside nobody looking in the same run.

All ways are measured in turn, round after round, by the CPU that the sidecar takes for a call, so that a slow minute is
slow for all. A ratio is the median of those of each round.
"""

from __future__ import annotations

import argparse
import contextlib
import socket
import statistics
import threading
import urllib.request
from collections.abc import Callable, Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from bench import programs, wrk
from bench.programs import Program
from bench.suites import call_body, register, running

#: Seconds between two scrapes of /metrics.
SCRAPE = 1.0
BODY = call_body(100)
PLAIN = wrk.Load("/rpc", body=BODY)
EXPLAINED = wrk.Load("/rpc?explain=1", body=BODY)


class Sink(BaseHTTPRequestHandler):
    """A collector that takes everything and keeps nothing."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Nobody reads that."""


@contextlib.contextmanager
def reading(path: str, program: Program) -> Iterator[None]:
    """Somebody reads a stream of events as fast as it comes."""
    sock = socket.create_connection(("127.0.0.1", program.port), timeout=30)
    sock.sendall(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{program.port}\r\n\r\n".encode())
    sock.recv(65536)

    def read() -> None:
        with contextlib.suppress(OSError):
            while sock.recv(65536):
                pass

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)
        reader.join(10)
        sock.close()


@contextlib.contextmanager
def scraping(program: Program) -> Iterator[None]:
    """Somebody asks for /metrics each second."""
    over = threading.Event()

    def scrape() -> None:
        while not over.is_set():
            with urllib.request.urlopen(f"http://127.0.0.1:{program.port}/metrics", timeout=30) as answer:
                answer.read()
            over.wait(SCRAPE)

    scraper = threading.Thread(target=scrape, daemon=True)
    scraper.start()
    try:
        yield
    finally:
        over.set()
        scraper.join(10)


def nobody(program: Program) -> contextlib.AbstractContextManager[None]:
    """Nobody looks."""
    return contextlib.nullcontext()


def measure(rounds: int, seconds: float) -> dict[str, list[float]]:
    """:returns: microseconds of CPU a call, one a round, by who looks how."""
    sink = ThreadingHTTPServer(("127.0.0.1", 0), Sink)
    threading.Thread(target=sink.serve_forever, daemon=True).start()
    traced = partial(programs.sidecar, f"--otlp_endpoint=http://127.0.0.1:{sink.server_port}")
    starts: tuple[Callable[[], Program], ...] = (
        programs.sidecar,
        partial(programs.sidecar, "--access_log=all", "--log_format=json"),
        partial(traced, env={"OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": "0.01"}),
        traced,
    )
    with running(programs.nginx_backend) as (backend,), running(*starts) as (plain, logging, sampled, all_traced):
        for program in (plain, logging, sampled, all_traced):
            register(program, backend.port)
        ways = {
            "nobody looks": (plain, PLAIN, nobody),
            "every call with explain=1": (plain, EXPLAINED, nobody),
            "/live open (micro top, the dashboard)": (plain, PLAIN, partial(reading, "/live")),
            "/tap open, 50 calls a second shown": (plain, PLAIN, partial(reading, "/tap?rate=50")),
            "/metrics scraped each second": (plain, PLAIN, scraping),
            "--access_log=all, JSON to a file": (logging, PLAIN, nobody),
            "--otlp_endpoint, 1% of the traces sampled": (sampled, PLAIN, nobody),
            "--otlp_endpoint, all traces sampled": (all_traced, PLAIN, nobody),
        }
        taken: dict[str, list[float]] = {way: [] for way in ways}
        for _ in range(rounds):
            for way, (program, load, looking) in ways.items():
                with looking(program):
                    taken[way].append(1e6 * wrk.run(program, load, seconds).cpu)
    sink.shutdown()
    return taken


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.seeing", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="rounds of each measurement (5)")
    parser.add_argument("--seconds", type=float, default=2, help="seconds of one measurement (2)")
    given = parser.parse_args()
    taken = measure(given.rounds, given.seconds)
    base = taken["nobody looks"]
    print(f"{'who looks':44} {'median':>9}  {'least to most':>18}  {'ratio':>6}")
    for way, values in taken.items():
        ratio = statistics.median(value / plain for value, plain in zip(values, base, strict=True))
        spread = f"{min(values):.1f} to {max(values):.1f} µs"
        print(f"{way:44} {statistics.median(values):6.1f} µs  {spread:>18}  {ratio:6.2f}")


if __name__ == "__main__":
    main()
