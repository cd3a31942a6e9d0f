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
{more}
function done(summary, latency, requests)
  io.write(string.format("RESULT %d %d %d %d %d %d\\n", summary.requests, summary.duration,
    summary.errors.status, summary.errors.connect + summary.errors.read + summary.errors.write,
    latency:percentile(50), latency:percentile(99)))
end
"""


#: Ids have to be unique: go-micro from v1.9 on loses a request whose id it has seen on the connection.
_UNIQUE = """
local count = 0
request = function()
  count = count + 1
  for _, name in ipairs({"Micro-Id", "X-Micro-Id", "Micro-Stream"}) do wrk.headers[name] = "bench-" .. count end
  return wrk.format()
end
"""


def _universal(method: str) -> str:
    """The headers that the sidecar sends to a node, so that a service has the same work behind any proxy."""
    named = [("Service", "bench"), ("Method", method), ("Endpoint", method)]
    lines = [f'wrk.headers["{twin}Micro-{name}"] = "{value}"' for name, value in named for twin in ("", "X-")]
    lines += ['wrk.headers["Accept"] = "application/json-rpc"', 'wrk.headers["Timeout"] = "5000000000"']
    return "\n".join(lines) + _UNIQUE


@frozen
class Load:
    """One shape of load. :ivar call: of what go-micro method this is the universal request, "" for something else."""

    path: str
    method: str = "POST"
    body: str = ""
    content_type: str = "application/json"
    connections: int = 32
    tls: bool = False
    call: str = ""


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
        more = _universal(load.call) if load.call else ""
        body = f"[==[{load.body}]==]"
        script.write(_SCRIPT.format(method=load.method, body=body, content_type=load.content_type, more=more))
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
