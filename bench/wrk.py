"""Closed-loop load through wrk: as many calls as the peer answers."""

from __future__ import annotations

import re
import subprocess
import tempfile

from attrs import frozen

from bench.programs import Program, find

_SCRIPT = """
wrk.method = "{method}"
wrk.body = {body}
wrk.headers["Content-Type"] = "{content_type}"
function done(summary, latency, requests)
  io.write(string.format("RESULT %d %d %d %d %d %d\\n", summary.requests, summary.duration,
    summary.errors.status, summary.errors.connect + summary.errors.read + summary.errors.write,
    latency:percentile(50), latency:percentile(99)))
end
"""


@frozen
class Load:
    """One shape of load. :ivar size: bytes of the payload, about."""

    path: str
    method: str = "POST"
    body: str = ""
    content_type: str = "application/json"
    connections: int = 32
    tls: bool = False


@frozen
class Outcome:
    """:ivar rate: calls a second. :ivar cpu: seconds of CPU a call of the program under load.
    :ivar errors: answers that were not 2xx or 3xx, and connections that broke. Latencies in seconds."""

    rate: float
    cpu: float
    errors: int
    p50: float
    p99: float


def run(program: Program, load: Load, seconds: float, port: int = 0) -> Outcome:
    """:param seconds: how long; whole seconds, at least 1."""
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        script.write(
            _SCRIPT.format(method=load.method, body="[==[" + load.body + "]==]", content_type=load.content_type)
        )
        script.flush()
        scheme = "https" if load.tls else "http"
        before = program.cpu()
        url = f"{scheme}://127.0.0.1:{port or program.port}{load.path}"
        command = [find("wrk"), "-t1", f"-c{load.connections}", f"-d{max(1, round(seconds))}s", "-s", script.name, url]
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 60)
        cpu = program.cpu() - before
    match = re.search(r"RESULT (\d+) (\d+) (\d+) (\d+) (\d+) (\d+)", done.stdout)
    if match is None:
        raise RuntimeError(f"wrk failed: {done.stdout} {done.stderr}")
    calls, micros, bad, broken, p50, p99 = (int(group) for group in match.groups())
    return Outcome(calls / (micros / 1e6), cpu / max(1, calls), bad + broken, p50 / 1e6, p99 / 1e6)
