"""What a process of ours may have of this machine: descriptors, and a data directory."""

from __future__ import annotations

import os
import resource
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

from sidecar.cli.doctor.diagnosis import Diagnosis, fault, ok, warning

#: Each connection takes a descriptor, each call under way another.
_FEW_FILES = 4096
_LITTLE_SPACE = 64 * 1024 * 1024
#: No clock was before the release that this is.
_EARLIEST = 1_767_225_600


def examine(data_dir: str) -> Iterator[Diagnosis]:
    """:param data_dir: where state is kept, "" for nowhere."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if hard != resource.RLIM_INFINITY and hard < _FEW_FILES:
        fix = "raise the limit: LimitNOFILE= in the unit, or ulimit -Hn in the shell"
        yield warning("descriptors", f"{hard} at most", fix, "ulimit -Hn 65536")
    else:
        yield ok("descriptors", "as many as one likes" if hard == resource.RLIM_INFINITY else f"{hard} at most")
    if time.time() < _EARLIEST:
        told = f"says {time.strftime('%Y-%m-%d %H:%M', time.gmtime())}, which is past"
        yield fault("clock", told, "set this machine's clock by NTP", "timedatectl set-ntp true")
    if data_dir:
        yield _directory(Path(data_dir))


def _directory(place: Path) -> Diagnosis:
    existing = next(parent for parent in (place, *place.absolute().parents) if parent.exists())
    if existing == place and not place.is_dir():
        return fault(
            f"data directory {place}", "is a file", "name a directory by --data_dir, or none by --data_dir=none"
        )
    if not os.access(existing, os.W_OK | os.X_OK):
        fix = "let the sidecar's user write there, or name another by --data_dir"
        return fault(f"data directory {place}", "cannot be written", fix, f"ls -ld {existing}")
    free = shutil.disk_usage(existing).free
    if free < _LITTLE_SPACE:
        return fault(
            f"data directory {place}", f"only {free // 1048576} MiB are free", "make room", f"df -h {existing}"
        )
    return ok(f"data directory {place}", f"can be written, {free // 1048576} MiB are free")
