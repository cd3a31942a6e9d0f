"""What is carried of small calls when far more come than can be: ``python -m bench.overload``.

wrk asks on few connections, which finds the best, and then on 4,000: with pauses between, so that twice and four times
of the best are asked for, and without, so that what is refused comes again at once. Both in turn, since other work may
take the cores meanwhile. A row shows good answers a second and their share of the best, refusals a second, how long
calls took, the longest that ``/health`` took, asked by a process of its own, beside how late an idle process woke as
control, how much of a core the sidecar had, and how soon after the load one call took less than 50 ms. ``--quota=0.4``
gives it no more than so much of one, at its best likewise. Where it had less, other work took it: good answers for
each second that it ran are compared too.
"""

from __future__ import annotations

import argparse
import json
import re
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from statistics import median

from bench.programs import Program, find, nginx_backend, sidecar
from bench.quota import limited

_SCRIPT = """
wrk.method = "POST"
wrk.body = '{"service":"bench","method":"Say.Hello","request":{"name":"John"}}'
wrk.headers["Content-Type"] = "application/json"
good, refused, other = 0, 0, 0
local threads = {}
function setup(thread) table.insert(threads, thread) end
function init() good, refused, other = 0, 0, 0 end
function response(status)
  if status == 200 then good = good + 1 elseif status == 503 then refused = refused + 1 else other = other + 1 end
end
function done(summary, latency)
  local all = {good = 0, refused = 0, other = 0}
  for _, thread in ipairs(threads) do
    for name, count in pairs(all) do all[name] = count + thread:get(name) end
  end
  local e = summary.errors
  io.write(string.format("RESULT %d %d %d %d %d %d %d\\n", all.good, all.refused,
    all.other + e.connect + e.read + e.write + e.timeout, summary.duration, latency:percentile(50),
    latency:percentile(99), latency.max))
end
"""


def load(program: Program, connections: int, seconds: int, pause: float) -> tuple[list[int], dict[str, float]]:
    """:param pause: milliseconds that each connection waits before it asks again, by and large.
    :returns: wrk's numbers, times in microseconds, and the prober's."""
    command = [sys.executable, "-m", "bench.siege", "--probe", str(program.port)]
    prober = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    time.sleep(0.5)
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        script.write(_SCRIPT)
        if pause:
            script.write(f"function delay() return math.floor({2 * pause:.0f} * math.random()) end\n")
        script.flush()
        command = [find("wrk"), "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "10s", "-s", script.name]
        said = subprocess.run(
            [*command, f"http://127.0.0.1:{program.port}/rpc"], capture_output=True, text=True, check=True
        ).stdout
    probed = json.loads(prober.communicate("")[0])
    found = re.search(r"RESULT ([\d ]+)", said)
    assert found is not None, said
    return [int(number) for number in found[1].split()], probed


def again(program: Program) -> float:
    """:returns: seconds until a call is answered well and within 50 ms, from now on."""
    body = b'{"service":"bench","method":"Say.Hello","request":{"name":"John"}}'
    head = b"POST /rpc HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    since = time.monotonic()
    with socket.create_connection(("127.0.0.1", program.port), timeout=30) as sock:
        while True:
            begin = time.monotonic()
            sock.sendall(head % len(body) + body)
            if sock.recv(65536).startswith(b"HTTP/1.1 200") and time.monotonic() - begin < 0.05:
                return begin - since


class Round:
    """Asks on few connections and on many in turn, and keeps what was best on few."""

    def __init__(self, program: Program, seconds: int) -> None:
        self._program = program
        self._seconds = seconds
        self._best = self._best_of_cpu = 0.0
        self.shares: dict[float, list[float]] = {}

    def row(self, connections: int, times: float) -> str:
        """:param times: of the best, that are asked for; 0 for as much as the connections carry, or on few."""
        pause = 1000 * connections / (times * self._best) if times and self._best else 0.0
        ran = self._program.ran()
        (good, refused, other, took, p50, p99, most), probed = load(self._program, connections, self._seconds, pause)
        ran = self._program.ran() - ran
        itself = again(self._program)
        seconds = took / 1e6
        rate, of_cpu = good / seconds, good / ran
        if not times:
            self._best, self._best_of_cpu = rate, of_cpu
        share = 100 * of_cpu / self._best_of_cpu
        self.shares.setdefault(times, []).append(share)
        numbers = (rate, 100 * rate / self._best, share, refused / seconds, other, p50 / 1e3, p99 / 1e3, most / 1e3)
        numbers += (probed["longest"] * 1e3, probed["control"] * 1e3, 100 * ran / seconds, 1e3 * itself)
        return f"{connections:>12}{times:>8g}" + "".join(f"{number:>9.0f}" for number in numbers)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.overload", description=__doc__)
    parser.add_argument("--seconds", type=int, default=15, help="of each load (15)")
    parser.add_argument("--few", type=int, default=64, help="connections that find the best (64)")
    parser.add_argument("--connections", type=int, default=4000)
    parser.add_argument("--times", type=float, nargs="*", default=[2, 4, 1000], help="of the best that are asked for")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--quota", type=float, default=0, help="cores that the sidecar may use, of a control group's")
    parser.add_argument("--micro", default="", help="the command of another build")
    parser.add_argument("--flag", action="append", default=[], help="of the sidecar")
    given = parser.parse_args()
    backend = nginx_backend()
    program = sidecar("--data_dir=none", *given.flag, micro=given.micro)
    url = f"http://127.0.0.1:{program.port}"
    node = {"name": "bench", "nodes": [{"id": "bench-1", "address": f"127.0.0.1:{backend.port}"}]}
    try:
        body = json.dumps(node).encode()
        urllib.request.urlopen(  # our own, on loopback
            urllib.request.Request(f"{url}/registry", body, {"Content-Type": "application/json"})
        ).close()
        names = (
            "good/s",
            "of best",
            "of CPU",
            "503/s",
            "errors",
            "p50 ms",
            "p99 ms",
            "most ms",
            "/health",
            "idle",
            "core %",
            "again ms",
        )
        print(f"{'connections':>12}{'times':>8}" + "".join(f"{name:>9}" for name in names))
        with limited(program, given.quota):
            of_rounds = Round(program, given.seconds)
            load(program, given.few, 2, 0.0)  # which makes the connections to the node
            for _ in range(given.rounds):
                for times in given.times:
                    print(of_rounds.row(given.few, 0), flush=True)
                    print(of_rounds.row(given.connections, times), flush=True)
            for times in given.times:
                print(
                    f"{times:g} times: {median(of_rounds.shares[times]):.0f} % of the best a second of CPU, the median"
                )
    finally:
        program.stop()
        backend.stop()


if __name__ == "__main__":
    main()
