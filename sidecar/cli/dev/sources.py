"""Notices that files changed: looks at their times and sizes now and then, on any file system."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress

#: Files that are looked at, at most.
MOST_FILES = 20_000
#: Directories that hold no source of the app.
_NOT_OURS = frozenset({"node_modules", "__pycache__", "target", "dist", "build", "vendor", "venv", "_trial_temp"})
#: Endings of what programs write while they run.
_WRITTEN = (".pyc", ".pyo", ".log", ".db", ".sqlite", ".sqlite3", "-journal", "-wal", "-shm", ".tmp", ".swp", ".swx")
_ALSO_WRITTEN = (".lock", ".pid", ".sock", "~")

#: What is known of files: when each was changed last, in nanoseconds, and its bytes.
Snapshot = Mapping[str, tuple[int, int]]


def snapshot(places: Iterable[str]) -> Snapshot:
    """:param places: directories, looked through, and files. :returns: how the files are now."""
    found: dict[str, tuple[int, int]] = {}
    for place in places:
        for path in _files(place):
            with suppress(OSError):
                stat = os.stat(path)
                found[path] = (stat.st_mtime_ns, stat.st_size)
            if len(found) >= MOST_FILES:
                return found
    return found


def changed(before: Snapshot, after: Snapshot) -> str:
    """:returns: the first file that came, went or changed, "" where none did."""
    return min((path for path, _ in set(before.items()) ^ set(after.items())), default="")


def _files(place: str) -> Iterator[str]:
    if not os.path.isdir(place):
        yield place
        return
    for directory, inner, names in os.walk(place):
        inner[:] = [
            name
            for name in inner
            if not name.startswith(".")
            and name not in _NOT_OURS
            and not name.endswith(".egg-info")
            and not os.path.exists(os.path.join(directory, name, "pyvenv.cfg"))
        ]
        for name in names:
            if not name.startswith((".", "#")) and not name.endswith(_WRITTEN + _ALSO_WRITTEN):
                yield os.path.join(directory, name)
