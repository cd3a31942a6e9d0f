"""Saves what can be read of a damaged state file."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from sidecar.registry.storefile import StateFile, statement


def repair(path: Path) -> dict[str, int]:
    """Put what can be read of a damaged file into a new one in its place. The damaged one is kept beside it.

    :returns: how many rows of each table were saved.
    :raises OSError: the directory cannot be written.
    """
    damaged = path.with_name(f"{path.name}.before-repair-{int(time.time())}")
    for tail in ("", "-wal"):
        if Path(f"{path}{tail}").exists():
            os.replace(f"{path}{tail}", f"{damaged}{tail}")
    Path(f"{path}-shm").unlink(missing_ok=True)
    made = StateFile(path)
    made.open()
    saved: dict[str, int] = {}
    with closing(sqlite3.connect(damaged)) as connection:
        for table in ("registrations", "apps", "maintenance", "entries", "before", "facts"):
            saved[table] = len({row for row in _readable(connection, table) if _saved(made, table, row)})
    made.close()
    return saved


def _saved(made: StateFile, table: str, row: tuple[Any, ...]) -> bool:
    """Write one row of a damaged file. :returns: whether it fits."""
    marks = ", ".join("?" * len(row))
    try:
        made.write([statement(f"INSERT OR REPLACE INTO {table} VALUES ({marks})", *row)])  # noqa: S608  # our own tables
    except sqlite3.Error:
        return False
    return True


def _readable(damaged: sqlite3.Connection, table: str) -> Iterator[tuple[Any, ...]]:
    """The rows of ``table`` up to where it cannot be read, and, from its other end, down to there."""
    key = "number" if table == "entries" else "name"
    for order in ("ASC", "DESC"):
        try:
            yield from damaged.execute(f"SELECT * FROM {table} ORDER BY {key} {order}")  # noqa: S608  # our own tables
        except sqlite3.Error:
            continue
        return
