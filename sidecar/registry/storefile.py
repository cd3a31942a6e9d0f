"""The file of what a restart keeps: an SQLite database, its schema, and what to do with a damaged one.

It is written ahead of the database proper (``journal_mode=WAL``), and waits for the disk at checkpoints alone
(``synchronous=NORMAL``): a transaction that was committed survives the death of this process, however sudden, since the
kernel has it; the last ones may be lost with the power, but never in part. Waiting for the disk at each commit
(``FULL``) would cost a registration milliseconds, and who registers with a TTL says so again by itself.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from attrs import define, field

from sidecar.errors import ConfigError, MalformedRecord
from sidecar.model import Service
from sidecar.registry.journal import JournalEntry
from sidecar.registry.storerecords import StoredMaintenance, StoredRegistration, StoredState, decoded, encoded

#: The version of the schema, in the file's ``user_version``.
VERSION = 1
#: The file in the data directory.
NAME = "state.sqlite"

_SCHEMA = """
CREATE TABLE registrations (
    name TEXT NOT NULL, id TEXT NOT NULL, record BLOB NOT NULL, ttl REAL, boot TEXT NOT NULL, monotonic REAL, wall REAL,
    by TEXT NOT NULL, since REAL NOT NULL, PRIMARY KEY (name, id)) WITHOUT ROWID;
CREATE TABLE apps (
    name TEXT NOT NULL, address TEXT NOT NULL, machine TEXT NOT NULL, id TEXT NOT NULL,
    PRIMARY KEY (name, address, machine)) WITHOUT ROWID;
CREATE TABLE maintenance (
    name TEXT NOT NULL, id TEXT NOT NULL, since REAL NOT NULL, detail TEXT NOT NULL, by TEXT NOT NULL,
    PRIMARY KEY (name, id)) WITHOUT ROWID;
CREATE TABLE entries (
    number INTEGER PRIMARY KEY, time REAL NOT NULL, action TEXT NOT NULL, reason TEXT NOT NULL, detail TEXT NOT NULL,
    by TEXT NOT NULL, record BLOB NOT NULL);
CREATE TABLE before (
    name TEXT NOT NULL, id TEXT NOT NULL, record BLOB NOT NULL, PRIMARY KEY (name, id)) WITHOUT ROWID;
CREATE TABLE facts (name TEXT PRIMARY KEY, value REAL NOT NULL) WITHOUT ROWID;
"""

_APPS = "SELECT name, address, machine, id FROM apps"

Write = Callable[[sqlite3.Connection], object]


def boot_id() -> str:
    """What tells one run of this machine from the next, "" where it does not say."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


@define(eq=False)
class StateFile:
    """An open file. Its methods are for one thread at a time.

    :ivar seconds: the clock that leases are kept by; within one run of the machine it goes on from process to process.
    :ivar wall: the wall clock, for what was written before the machine was started.
    """

    path: Path
    seconds: Callable[[], float] = time.monotonic
    wall: Callable[[], float] = time.time
    boot: str = field(factory=boot_id)
    _connection: sqlite3.Connection = field(init=False)

    def open(self) -> None:
        """Open the file, made where there is none, and bring an older one to the present schema.

        :raises ConfigError: it is damaged, newer than we are, or cannot be written, with what to do.
        """
        try:
            # For us alone, wherever it lies: metadata is often private. What SQLite keeps beside it has the same mode.
            with suppress(OSError):  # it is there already, or SQLite says better what is wrong
                os.close(os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
            self._connection = sqlite3.connect(self.path, timeout=5.0, isolation_level=None, check_same_thread=False)
            self._prepare()
        except sqlite3.DatabaseError as error:
            self.close()
            raise self._unusable(error) from error

    def close(self) -> None:
        connection = getattr(self, "_connection", None)
        if connection is not None:
            connection.close()

    def write(self, writes: Iterable[Write]) -> None:
        """Do all of ``writes`` or none. :raises sqlite3.Error: none was done."""
        connection = self._connection
        connection.execute("BEGIN IMMEDIATE")
        try:
            for write in writes:
                write(connection)
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise

    # --- What can be written ----------------------------------------------------------------------------------------

    def registered(self, stored: StoredRegistration) -> Write:
        """A node was registered, for ``ttl`` seconds from now."""
        service, ttl = stored.service, stored.ttl
        monotonic, wall = (None, None) if ttl is None else (self.seconds() + ttl, self.wall() + ttl)
        row = (service.name, service.nodes[0].id, encoded(service), ttl, self.boot, monotonic, wall)
        return statement(
            "INSERT OR REPLACE INTO registrations VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", *row, stored.by, stored.since
        )

    def deregistered(self, name: str, identity: str) -> Write:
        """A node is gone."""
        return statement("DELETE FROM registrations WHERE name = ? AND id = ?", name, identity)

    def maintained(self, stored: StoredMaintenance) -> Write:
        """A node or service is in maintenance."""
        row = (stored.name, stored.id, stored.since, stored.detail, stored.by)
        return statement("INSERT OR REPLACE INTO maintenance VALUES (?, ?, ?, ?, ?)", *row)

    def released(self, name: str, identity: str) -> Write:
        """It is in maintenance no more."""
        return statement("DELETE FROM maintenance WHERE name = ? AND id = ?", name, identity)

    def happened(self, entry: JournalEntry, first: int) -> Write:
        """An entry of the journal. :param first: the index before which entries are kept no more; 0 for none."""
        row = (entry.index, entry.time, entry.action, entry.reason, entry.detail, entry.by, encoded(entry.service))

        def write(connection: sqlite3.Connection) -> None:
            connection.execute("INSERT OR REPLACE INTO entries VALUES (?, ?, ?, ?, ?, ?, ?)", row)
            if first:
                _forget_entries(connection, first)

        return write

    def named(self, name: str, address: str, machine: str, identity: str) -> Write:
        """The app of this name at this address on this machine has an id."""
        return statement("INSERT OR REPLACE INTO apps VALUES (?, ?, ?, ?)", name, address, machine, identity)

    # --- Reading ----------------------------------------------------------------------------------------------------

    def read(self) -> StoredState:
        """All that is kept. What cannot be read is left out and told.

        :raises ConfigError: the file is damaged.
        """
        skipped: list[str] = []
        try:
            return StoredState(
                tuple(self._registrations(skipped)),
                tuple(StoredMaintenance(*row) for row in self._connection.execute("SELECT * FROM maintenance")),
                {(name, address, machine): id for name, address, machine, id in self._connection.execute(_APPS)},
                tuple(self._entries(skipped)),
                tuple(self._before(skipped)),
                self._began(),
                tuple(skipped),
            )
        except sqlite3.DatabaseError as error:
            raise self._unusable(error) from error

    def _registrations(self, skipped: list[str]) -> Iterator[StoredRegistration]:
        for name, identity, record, ttl, boot, monotonic, wall, by, since in self._connection.execute(
            "SELECT * FROM registrations"
        ):
            service = _decoded(record, f"the registration of {identity} of {name}", skipped)
            if service is None:
                continue
            left = 0.0
            if ttl is not None:
                # Within one run of the machine no wall clock counts, however it was set.
                same = boot and boot == self.boot
                left = monotonic - self.seconds() if same else min(wall - self.wall(), ttl)
            yield StoredRegistration(service, ttl, left, by, since)

    def _entries(self, skipped: list[str]) -> Iterator[JournalEntry]:
        for index, when, action, reason, detail, by, record in self._connection.execute(
            "SELECT * FROM entries ORDER BY number"
        ):
            service = _decoded(record, f"entry {index} of the journal", skipped)
            if service is not None:
                yield JournalEntry(index, when, action, reason, detail, by, service)

    def _before(self, skipped: list[str]) -> Iterator[Service]:
        for name, identity, record in self._connection.execute("SELECT * FROM before"):
            service = _decoded(record, f"what was known of {identity} of {name}", skipped)
            if service is not None:
                yield service

    def _began(self) -> float:
        row = self._connection.execute("SELECT value FROM facts WHERE name = 'began'").fetchone()
        return float(row[0]) if row is not None else self.wall()

    # --- Schema -----------------------------------------------------------------------------------------------------

    def _prepare(self) -> None:
        connection = self._connection
        (sound,) = connection.execute("PRAGMA quick_check(1)").fetchone()
        if sound != "ok":
            raise sqlite3.DatabaseError(str(sound))
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version > VERSION:
            raise ConfigError(
                f"{self.path} was written by a newer microsidecar (its schema is {version}, ours {VERSION}): "
                "start that one, or name another directory by --data_dir"
            )
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        if version == 0:
            began = statement("INSERT INTO facts VALUES ('began', ?)", self.wall())
            tables = [statement(each) for each in _SCHEMA.split(";") if each.strip()]
            self.write([*tables, began, statement(f"PRAGMA user_version = {VERSION}")])
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def _unusable(self, error: sqlite3.DatabaseError) -> ConfigError:
        if isinstance(error, sqlite3.OperationalError):
            return ConfigError(f"{self.path} cannot be used: {error}; see to its permissions and the disk's space")
        copy = self.path.with_name(f"{self.path.name}.damaged-{int(self.wall())}")
        kept = ""
        try:
            shutil.copy2(self.path, copy)
            kept = f" (a copy is kept as {copy})"
        except OSError:
            pass  # what stands in the way is told with the rest: the file is there in any case
        return ConfigError(
            f"{self.path} is damaged: {error}{kept}. To go on with what can be read of it: micro repair --data_dir "
            f"{self.path.parent}; to begin anew: remove it"
        )


def _decoded(record: bytes, what: str, skipped: list[str]) -> Service | None:
    """:param what: it in words, for ``skipped``, which gets why it cannot be read."""
    try:
        return decoded(record)
    except MalformedRecord as error:
        skipped.append(f"{what}: {error}")
        return None


def statement(sql: str, *values: Any) -> Write:
    return lambda connection: connection.execute(sql, values)


def _forget_entries(connection: sqlite3.Connection, first: int) -> None:
    """Let go of the entries before ``first``: what they tell is what there was before."""
    gone = connection.execute(
        "SELECT time, action, record FROM entries WHERE number < ? ORDER BY number", (first,)
    ).fetchall()
    for when, action, record in gone:
        service = _decoded(record, "", []) or Service("")
        for node in service.nodes:
            if action == "delete":
                connection.execute("DELETE FROM before WHERE name = ? AND id = ?", (service.name, node.id))
            else:
                alone = encoded(Service(service.name, service.version, service.metadata, service.endpoints, (node,)))
                connection.execute("INSERT OR REPLACE INTO before VALUES (?, ?, ?)", (service.name, node.id, alone))
        connection.execute("INSERT OR REPLACE INTO facts VALUES ('began', ?)", (when,))
    connection.execute("DELETE FROM entries WHERE number < ?", (first,))
