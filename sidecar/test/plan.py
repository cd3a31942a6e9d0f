"""What a run of the tests is going to do here, said before it begins: how long it takes, what is skipped and why."""

from __future__ import annotations

import os
import platform
import re
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from attrs import frozen

import sidecar
from sidecar.test.doubles.programs import faketime, process


@frozen
class Part:
    """A part of the suite.

    :ivar tests: how their names begin, after ``sidecar.test.``. :ivar seconds: how long they take on two cores of 2024.
    :ivar programs: what they start; without one of these they are skipped.
    """

    tests: str
    what: str
    seconds: float
    programs: tuple[str, ...] = ()


GENERATIONS = tuple(f"say-{version}" for version in ("v1.18.0", "v2.9.1", "v3.7.1", "v4.11.0", "v5.3.0", "v5.30.0"))

PARTS = (
    Part("unit", "single modules, over fakes", 60),
    Part("unit", "the NATS client, broker and registry over NATS", 30, ("nats-server",)),
    Part("unit", "the RabbitMQ broker over RabbitMQ", 60, ("rabbitmq-server", "epmd")),
    Part("unit", "the Redis broker over Redis", 15, ("redis-server",)),
    Part("unit", "the Consul registry over Consul", 45, ("consul",)),
    Part("unit", "the etcd registry over etcd", 45, ("etcd",)),
    Part("acceptance", "the daemon as a process", 90),
    Part("faults", "outages of Consul", 40, ("consul",)),
    Part("faults", "outages of etcd", 40, ("etcd",)),
    Part("faults", "outages of NATS", 20, ("nats-server",)),
    Part("faults", "a daemon that is killed, stopped, starved and flooded", 120),
    Part("acceptance", "the README's commands", 10, ("curl",)),
    Part("acceptance", "the proxy's journey", 5, ("curl",)),
    Part("acceptance", "the proxy before nginx", 5, ("nginx", "curl")),
    Part("acceptance", "the proxy behind a browser", 10, ("chromium", "chromedriver")),
    Part("acceptance", "the README's app in Express", 5, ("node", "npm")),
    Part("acceptance", "the README's certificate", 2, ("openssl",)),
    Part("acceptance", "the metrics, read by Prometheus' own tool", 2, ("promtool",)),
    Part("acceptance", "the dashboard in a browser", 140, ("chromium", "chromedriver")),
    Part("faults", "a wall clock that is set", 10, ("faketime",)),
    Part("model", "a model that hypothesis drives beside the code", 15),
    Part("interop", "go-micro services that are called", 10, (*GENERATIONS, "curl")),
    Part("interop", "go-micro over TLS", 5, ("secure-v5.30.0",)),
    Part("interop", "the matrix: go-micro programs through Consul", 30, (*GENERATIONS, "consul", "nats-server")),
    Part("interop", "the matrix: go-micro programs through etcd", 30, (*GENERATIONS, "etcd", "nats-server")),
    Part("interop", "the matrix: go-micro programs through mDNS", 30, (*GENERATIONS, "ip", "nats-server")),
    Part("interop", "the matrix: go-micro programs through NATS", 30, (*GENERATIONS, "nats-server")),
    Part("test_bench", "the benchmark, once and short", 30, ("nginx", "wrk", "nats-server")),
    Part("test_architecture", "the architecture", 3),
)

#: Seconds that ``_effort`` took on the machine on which the parts were timed.
REFERENCE = 0.03


def absent(programs: Iterable[str]) -> list[str]:
    """Those of the programs that are not found here."""
    return [name for name in programs if not _is_there(name)]


def _is_there(name: str) -> bool:
    return faketime.unavailable() is None if name == "faketime" else process.find_program(name) is not None


def plan(names: Sequence[str], jobs: int, speed: float, quick: bool, installed: bool) -> str:
    """What a run of these tests is going to be like.

    :param names: what trial was asked to run. :param jobs: how many processes run them.
    :param speed: how much longer than on the reference machine things take. :param quick: no programs are started.
    """
    asked = [part for part in PARTS if any(_covers(name, part) for name in names)]
    lacks: dict[str, list[str]] = {}
    seconds = 0.0
    for part in asked:
        missing = list(part.programs) if quick else absent(part.programs)
        if missing:
            lacks.setdefault(", ".join(missing), []).append(part.what)
        elif installed or part.tests not in ("acceptance", "faults"):
            seconds += part.seconds
    minutes = round(seconds * speed / jobs / 60)
    duration = f"about {minutes} min" if minutes else "less than a minute"
    lines = [
        f"microsidecar {sidecar.__version__} in {Path(sidecar.__file__).parent}, Python {platform.python_version()}:"
        f" {duration} here" + (f" in {jobs} processes" if jobs > 1 else "")
    ]
    if not installed:
        lines.append(f"will be skipped: the commands and backends by name ({process.NOT_INSTALLED})")
    for programs, what in lacks.items():
        why = process.QUICKLY if quick else f"not installed: {programs}; {_advice(programs)}"
        lines.append(f"will be skipped: {', '.join(what)} ({why})")
    if process.no_checkout() is not None:
        lines.append(f"will be skipped: the README, the documents, the bench ({process.NO_CHECKOUT})")
    return "\n".join([*lines, ""])


def _advice(programs: str) -> str:
    if re.search(r"\b(consul|say-)", programs):
        return "interop/build builds what Debian does not have"
    return "Debian has it"


def _covers(name: str, part: Part) -> bool:
    """Whether the tests of ``name`` are all or some of a part's."""
    whole = f"sidecar.test.{part.tests}"
    return whole == name or whole.startswith(name + ".")


def announce(arguments: Sequence[str], environment: Mapping[str, str] = os.environ) -> None:
    """Say it, where this process is trial's and runs more than a few tests."""
    if Path(arguments[0]).parent.name != "trial" and Path(arguments[0]).name != "trial":
        return
    names = [argument.strip("/").replace("/", ".") for argument in arguments[1:] if argument.startswith("sidecar")]
    if any(_covers(name, part) for name in names for part in PARTS):
        quick, installed = bool(environment.get(process.QUICK)), process.not_installed() is None
        print(plan(names, jobs(arguments), _effort() / REFERENCE, quick, installed), flush=True)


def jobs(arguments: Sequence[str]) -> int:
    """:returns: in how many processes trial was asked to run the tests."""
    found = re.search(r"(?<!\S)(?:-j|--jobs)[= ]?(\d+)", " ".join(arguments))
    return max(1, int(found[1])) if found else 1


def _effort() -> float:
    """Seconds that some work takes here and now."""
    best = float("inf")
    for _ in range(3):
        began = time.perf_counter()
        sum(number * number % 7 for number in range(300_000))
        best = min(best, time.perf_counter() - began)
    return best


if __name__ == "__main__":
    print(plan(sys.argv[1:] or ["sidecar"], 1, _effort() / REFERENCE, False, process.not_installed() is None))
