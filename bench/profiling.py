"""Where a call's time goes: POST /rpc under the profiler, as microseconds a call by function.

The profiler itself slows every Python function by about half a microsecond, so the sum is more than a call really
takes; the order of the rows and what is missing from them is what to read.
"""

from __future__ import annotations

import pstats
import signal
import sys
import tempfile
from pathlib import Path
from typing import Any

from bench import programs, wrk
from bench.suites import call_body, register, running

_PROGRAM = """
import cProfile, sys
from sidecar.cli.serve import serve
profile = cProfile.Profile()
try:
    profile.runcall(serve, sys.argv[2:], "micro sidecar")
finally:
    profile.dump_stats(sys.argv[1])
"""


def main(seconds: float = 5.0, rows: int = 40) -> None:
    with tempfile.TemporaryDirectory() as folder:
        results = Path(folder, "profile")
        port = programs.free_port()
        command = [sys.executable, "-c", _PROGRAM, str(results), f"--port={port}"]
        with running(programs.nginx_backend, lambda: programs.Program("microsidecar", command, port)) as (
            backend,
            ours,
        ):
            register(ours, backend.port)
            load = wrk.Load("/rpc", body=call_body(100))
            wrk.run(ours, load, 1)
            outcome = wrk.run(ours, load, seconds)
            calls = int(outcome.rate * (seconds + 1))
            ours.process.send_signal(signal.SIGTERM)
            ours.process.wait(30)
        show(pstats.Stats(str(results)), calls, rows)


def show(stats: Any, calls: int, rows: int) -> None:
    """Print the functions that take most, themselves and not what they call. :param calls: about how many."""
    table: list[tuple[float, float, str]] = []
    for (file, line, name), (_, count, own, _, _) in stats.stats.items():
        place = f"{'/'.join(Path(file).parts[-2:])}:{line} " if line else ""
        table.append((1e6 * own / calls, count / calls, f"{place}{name}"))
    table.sort(reverse=True)
    print(f"about {calls:,} calls\n\n{'µs a call':>10} {'times a call':>13}  function")
    for own, count, name in table[:rows]:
        print(f"{own:10.2f} {count:13.2f}  {name}")


if __name__ == "__main__":
    main()
