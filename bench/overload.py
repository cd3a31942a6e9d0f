"""What is carried of small calls when far more come than can be: ``python -m bench.overload``.

wrk asks on few connections, which finds the best, and then on 4,000, each with a call under way at any time: what is
refused comes again at once, so that this is many times of what can be carried. A row shows good answers a second and
their share of the best, refusals a second, how long calls took, and the longest that ``/health`` took, asked by a
process of its own, beside how late an idle process woke as control.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
import urllib.request

from bench.programs import Program, find, nginx_backend, sidecar

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


def load(program: Program, connections: int, seconds: int) -> tuple[list[int], dict[str, float]]:
    """:returns: wrk's numbers, times in microseconds, and the prober's."""
    command = [sys.executable, "-m", "bench.siege", "--probe", str(program.port)]
    prober = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    time.sleep(0.5)
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        script.write(_SCRIPT)
        script.flush()
        command = [find("wrk"), "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "10s", "-s", script.name]
        said = subprocess.run(
            [*command, f"http://127.0.0.1:{program.port}/rpc"], capture_output=True, text=True, check=True
        ).stdout
    probed = json.loads(prober.communicate("")[0])
    found = re.search(r"RESULT ([\d ]+)", said)
    assert found is not None, said
    return [int(number) for number in found[1].split()], probed


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.overload", description=__doc__)
    parser.add_argument("--seconds", type=int, default=8, help="of each load (8)")
    parser.add_argument("--connections", type=int, nargs="*", default=[64, 256, 1000, 4000])
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
            "connections",
            "good/s",
            "of best",
            "503/s",
            "errors",
            "p50 ms",
            "p99 ms",
            "most ms",
            "/health",
            "idle",
        )
        print("".join(f"{name:>12}" for name in names))
        best = 0.0
        for connections in given.connections:
            (good, refused, other, took, p50, p99, most), probed = load(program, connections, given.seconds)
            seconds = took / 1e6
            best = max(best, good / seconds)
            numbers = (
                good / seconds,
                100 * good / seconds / best,
                refused / seconds,
                other,
                p50 / 1e3,
                p99 / 1e3,
                most / 1e3,
            )
            row = "".join(f"{number:>12.0f}" for number in numbers)
            print(f"{connections:>12}{row}{probed['longest'] * 1e3:>12.0f}{probed['control'] * 1e3:>12.0f}", flush=True)
    finally:
        program.stop()
        backend.stop()


if __name__ == "__main__":
    main()
