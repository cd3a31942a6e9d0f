"""``python -m bench``: everything, five rounds. ``--quick``: all of it once and short, under a minute."""

from __future__ import annotations

import argparse
import os
import platform
import sys

from bench.suites import Suites
from bench.table import HEADING, Table, line

NAMES = (
    "rpc",
    "proxy",
    "service",
    "open_loop",
    "two_writes",
    "reads",
    "fan_out",
    "nats",
    "tls",
    "footprint",
    "services",
    "watchers",
)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("suites", nargs="*", metavar="SUITE", help=f"which ones (all): {' '.join(NAMES)}")
    parser.add_argument("--quick", action="store_true", help="one short round of each, to see that it works")
    parser.add_argument("--rounds", type=int, help="rounds of each measurement (5)")
    parser.add_argument("--seconds", type=float, help="seconds of one measurement (4)")
    given = parser.parse_args()
    unknown = sorted(set(given.suites) - set(NAMES))
    if unknown:
        parser.error(f"no suite is called {', '.join(unknown)}; there are {', '.join(NAMES)}")
    suites = Suites(given.seconds or (1 if given.quick else 4), given.quick)
    table = Table(given.rounds or (1 if given.quick else 5))
    for name in given.suites or NAMES:
        table.attempt(getattr(suites, name), name)
    print(f"\n{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}, {platform.system()}")
    print(f"command: python -m bench {' '.join(sys.argv[1:])}\n\n{HEADING}")
    for row in table.rows:
        print(line(row))
    for reason in table.left_out:
        print(f"left out: {reason}")
    print(f"calls that failed: {table.errors}")
    return 1 if table.errors else 0


if __name__ == "__main__":
    sys.exit(main())
