"""``python -m sidecar.test.fuzz [TARGET ...] --seconds 20``: each target for so long, by atheris where it is installed.

Inputs that are found to lead somewhere new are kept in ``--corpus``, where they are looked for first the next time. An
input that breaks something is printed, and the exit code is 1.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from importlib.util import find_spec
from itertools import count
from pathlib import Path

from sidecar.test.fuzz import connections, decoders
from sidecar.test.fuzz.mutate import mutated

#: All of them, by name.
TARGETS = {**decoders.TARGETS, **connections.TARGETS}
#: In which one target runs under atheris, whose fuzzing ends its process.
_CHILD = """
import sys, atheris
with atheris.instrument_imports(include=["sidecar"]):
    from sidecar.test.fuzz.__main__ import TARGETS
atheris.Setup(sys.argv, TARGETS["{name}"].run)
atheris.Fuzz()
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """:returns: the exit code: 0 where nothing was found."""
    parser = argparse.ArgumentParser(
        prog="python -m sidecar.test.fuzz", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"which ones (all): {' '.join(TARGETS)}")
    parser.add_argument("--seconds", type=float, default=20, help="for each (20)")
    parser.add_argument("--corpus", type=Path, help="a directory of inputs, one below it for each target")
    given = parser.parse_args(arguments)
    unknown = sorted(set(given.targets) - set(TARGETS))
    if unknown:
        parser.error(f"no target is called {', '.join(unknown)}; there are {', '.join(TARGETS)}")
    by_atheris = find_spec("atheris") is not None
    print(f"by {'atheris' if by_atheris else 'mutation alone: atheris is not installed (pip install atheris)'}")
    judge = fuzz if by_atheris else change
    found = [name for name in given.targets or TARGETS if not judge(name, given)]
    print(f"{len(given.targets or TARGETS)} targets; findings: {' '.join(found) or 'none'}")
    return 1 if found else 0


def fuzz(name: str, given: argparse.Namespace) -> bool:
    """Run one target by atheris. :returns: whether nothing was found."""
    with tempfile.TemporaryDirectory() as folder:
        corpus = Path(given.corpus or folder, name)
        corpus.mkdir(parents=True, exist_ok=True)
        for number, seed in enumerate(TARGETS[name].seeds):
            (corpus / f"seed-{number}").write_bytes(seed)
        seconds = max(1, round(given.seconds))
        flags = [f"-max_total_time={seconds}", "-max_len=4096", "-timeout=20", f"-artifact_prefix={folder}/"]
        words = [sys.executable, "-c", _CHILD.format(name=name), *flags, str(corpus)]
        done = subprocess.run(words, capture_output=True, text=True, timeout=given.seconds * 3 + 120)
        runs = [line for line in done.stderr.splitlines() if "DONE" in line]
        tell(name, runs[-1].split()[0].lstrip("#") if runs else "?", done.returncode == 0)
        if done.returncode:
            print(done.stderr[-3000:])
        return done.returncode == 0


def change(name: str, given: argparse.Namespace) -> bool:
    """Run one target without atheris. :returns: whether nothing was found."""
    target, tried = TARGETS[name], 0
    end = time.monotonic() + given.seconds
    for seed in count(1):
        for data in mutated(target.seeds, seed, 1000):
            tried += 1
            try:
                target.run(data)
            except Exception as error:
                print(f"{name}: {data!r} leads to {type(error).__name__}: {error}")
                return False
        if time.monotonic() > end:
            break
    tell(name, str(tried), True)
    return True


def tell(name: str, inputs: str, clean: bool) -> None:
    """Print what came of a target."""
    print(f"{name:<18} {inputs:>9} inputs  {'clean' if clean else 'FOUND'}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
