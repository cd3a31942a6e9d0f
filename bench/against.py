"""``python -m bench.against MICRO``: this sidecar beside another build of it, by the CPU of a call and of a delivery.

``MICRO`` is the ``micro`` of an environment that the other build is installed in. Both run at once and are measured in
turn. CPU is compared, since that depends least on what else the machine does.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial

from bench import fanout, programs, wrk
from bench.programs import Program
from bench.suites import call_body, form_body, register, running
from bench.table import HEADING, Table


def measure(table: Table, other: str, seconds: float) -> None:
    """:param other: the other build's ``micro``. :param seconds: of one measurement."""
    with (
        running(programs.nginx_backend) as (backend,),
        running(programs.sidecar, partial(programs.sidecar, micro=other)) as (ours, before),
    ):
        before.name = "the other build"
        for program in (ours, before):
            register(program, backend.port)
        form = "application/x-www-form-urlencoded"
        for what, load in (
            ("POST /rpc json 100 B", wrk.Load("/rpc", body=call_body(100))),
            ("POST /rpc json 64,000 B", wrk.Load("/rpc", body=call_body(64_000))),
            ("POST /rpc form 100 B", wrk.Load("/rpc", body=form_body(100), content_type=form)),
            ("GET /registry?service", wrk.Load("/registry?service=bench", method="GET")),
        ):
            _compare(table, f"CPU, {what}", (ours, before), partial(_of_call, table, load, seconds))
        for count in (1, 10, 100):
            _compare(table, f"CPU, delivery to one of {count}", (ours, before), partial(_of_delivery, count, seconds))


def _of_call(table: Table, load: wrk.Load, seconds: float, program: Program) -> float:
    outcome = wrk.run(program, load, seconds)
    table.errors += outcome.errors
    return 1e6 * outcome.cpu


def _of_delivery(subscribers: int, seconds: float, program: Program) -> float:
    return 1e6 * fanout.run(program, subscribers, 100, seconds).cpu


def _compare(table: Table, what: str, both: tuple[Program, Program], cost: Callable[[Program], float]) -> None:
    table.alternate(what, "µs", both[0].name, {program.name: partial(cost, program) for program in both})


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.against", description=__doc__)
    parser.add_argument("micro", metavar="MICRO", help="the micro command of the other build")
    parser.add_argument("--rounds", type=int, default=9, help="rounds of each measurement (9)")
    parser.add_argument("--seconds", type=float, default=2, help="seconds of one measurement (2)")
    given = parser.parse_args()
    print(HEADING)
    table = Table(given.rounds)
    measure(table, given.micro, given.seconds)
    print(f"calls that failed: {table.errors}")


if __name__ == "__main__":
    main()
