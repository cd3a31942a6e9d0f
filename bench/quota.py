"""A share of the processor for one program and no more, by a control group: so that a load of many times of what it can
carry can be made on the same machine. It needs root."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path

from bench.programs import Missing, Program

GROUPS = Path("/sys/fs/cgroup")
#: Microseconds for which a share is given at a time: short, so that nobody waits for long once it is used up.
PERIOD = 10_000


@contextlib.contextmanager
def limited(program: Program, cores: float) -> Iterator[None]:
    """Have ``program`` use that much of the processor while this lasts. :param cores: 0 for all that there is."""
    if not cores:
        yield
        return
    quota = int(cores * PERIOD)
    unified = (GROUPS / "cgroup.controllers").exists()
    group = (GROUPS if unified else GROUPS / "cpu") / f"microsidecar-bench-{os.getpid()}"
    try:
        group.mkdir()
        if unified:
            (group / "cpu.max").write_text(f"{quota} {PERIOD}")
        else:
            (group / "cpu.cfs_period_us").write_text(str(PERIOD))
            (group / "cpu.cfs_quota_us").write_text(str(quota))
    except OSError as error:
        raise Missing(f"no control group for a share of the processor: {error}") from error
    try:
        for pid in program.pids():
            (group / "cgroup.procs").write_text(str(pid))
        yield
    finally:
        for pid in program.pids():
            with contextlib.suppress(OSError):
                (group.parent / "cgroup.procs").write_text(str(pid))
        for _ in range(50):
            try:
                group.rmdir()
                break
            except OSError:
                time.sleep(0.1)
