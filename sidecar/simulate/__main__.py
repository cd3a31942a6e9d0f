"""``python -m sidecar.simulate --seed 1 --runs 100``: simulations of consecutive seeds, and what came of them.

Each seed is a scenario of calls, registrations and messages among crashes, stalls, lies, cut wires, jumping clocks.
It is run with production code on both sides of every wire, in virtual time, and judged by what a sidecar promises. A
seed that fails prints itself and the shortest part of its scenario that still fails; the exit code is 1 then.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence

from twisted.logger import ILogObserver, LogEvent, globalLogBeginner
from zope.interface import provider

from sidecar.simulate import scenario
from sidecar.simulate.shrink import shrink
from sidecar.simulate.world import simulate


def main(arguments: Sequence[str] | None = None) -> int:
    """:returns: the exit code: 0 where every promise was kept."""
    parser = argparse.ArgumentParser(
        prog="python -m sidecar.simulate", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seed", type=int, default=1, help="the first seed (1)")
    parser.add_argument("--runs", type=int, default=100, help="how many seeds, one after the other (100)")
    parser.add_argument("--actions", type=int, default=120, help="what happens in each (120)")
    given = parser.parse_args(arguments)
    if given.runs < 1 or given.actions < 1:
        parser.error("--runs and --actions are 1 at least")
    globalLogBeginner.beginLoggingTo([unheard], redirectStandardIO=False, discardBuffer=True)
    began = time.monotonic()
    failed = 0
    for seed in range(given.seed, given.seed + given.runs):
        actions = scenario.make(seed, given.actions)
        broken = simulate(seed, actions)
        if broken:
            failed += 1
            tell(seed, actions, broken)
    took = time.monotonic() - began
    print(f"{given.runs} seeds from {given.seed}: {given.runs - failed} clean, {failed} failed, {took:.1f} s")
    return 1 if failed else 0


@provider(ILogObserver)
def unheard(event: LogEvent) -> None:
    """What daemons log in a simulation is nobody's."""


def tell(seed: int, actions: tuple[scenario.Action, ...], broken: Sequence[str]) -> None:
    """Print what a seed broke, and the shortest part of its scenario that breaks something."""
    print(f"seed {seed} breaks {len(broken)} promises:")
    for each in broken[:10]:
        print(f"  {each}")
    shortest = shrink(actions, lambda some: bool(simulate(seed, some)))
    print(f"  of its {len(actions)} actions these are enough (python -m sidecar.simulate --seed {seed} --runs 1):")
    for action in shortest:
        print(f"    {action.told()}")


if __name__ == "__main__":
    sys.exit(main())
