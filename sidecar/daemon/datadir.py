"""The data directory: which it is, that no other daemon uses it, and what is read from it at start."""

from __future__ import annotations

import fcntl
import os
import re
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attrs import define, evolve, frozen
from twisted.internet.defer import Deferred, succeed
from twisted.logger import Logger

from sidecar.daemon.cmdline.settings import AppSettings, EndpointPort, Settings
from sidecar.errors import ConfigError, UnsafeSetting
from sidecar.model import Cause
from sidecar.registry.journal import Journal, JournalEntry

if TYPE_CHECKING:
    from sidecar.registry.store import StateStore

log = Logger()

#: What ``--data_dir`` is called where nothing is kept.
NOTHING = "none"


@frozen
class DataDirectory:
    """Where state is kept.

    :ivar named: whether the user said so: then it has to work. Else what stands in the way is a warning.
    """

    path: Path
    named: bool


class DirectoryUnusable(Exception):
    """The directory cannot be used. :ivar locked: since another daemon does."""

    def __init__(self, why: str, locked: bool = False) -> None:
        super().__init__(why)
        self.locked = locked


def place(settings: Settings, environ: Mapping[str, str]) -> DataDirectory | None:
    """:returns: the data directory of these settings, None for none."""
    given = settings.state.data_dir
    if given == NOTHING:
        return None
    if given:
        return DataDirectory(Path(given), True)
    where = settings.listen.where
    if not isinstance(where, EndpointPort) and where.port == 0:
        return None  # nobody could find it again
    unit = environ.get("STATE_DIRECTORY", "").partition(":")[0]
    if unit:
        return DataDirectory(Path(unit), False)
    home = environ.get("XDG_STATE_HOME", "")
    if not os.path.isabs(home):
        base = environ.get("HOME", "")
        if not os.path.isabs(base):
            return None
        home = f"{base}/.local/state"
    name = where.description if isinstance(where, EndpointPort) else f"{where.host or '0.0.0.0'}_{where.port}"  # noqa: S104  # a name, not bound
    return DataDirectory(Path(home) / "microsidecar" / escaped(name), False)


def escaped(name: str) -> str:
    """``name`` as the name of a directory: what is no letter, digit, dot, colon or dash becomes ``-``."""
    return re.sub(r"[^A-Za-z0-9._:-]+", "-", name.removeprefix("unix:")).strip("-.") or "sidecar"


def open_store(settings: Settings, environ: Mapping[str, str], reactor: Any) -> StateStore | None:
    """What an earlier life kept, and where ours is kept; the store is to be started before what uses it.

    :returns: None where nothing is kept.
    :raises ConfigError: the directory was named and cannot be used, or what is in it is damaged.
    """
    directory = place(settings, environ)
    if directory is None:
        return None
    try:
        held = lock(directory.path)
    except DirectoryUnusable as error:
        if not directory.named:
            log.warn("Nothing survives a restart: {why}; see --data_dir", why=str(error))
            return None
        wrong = UnsafeSetting if error.locked else ConfigError
        raise wrong(f"--data_dir={directory.path}: {error}") from error
    # Imported here: who keeps nothing does not wait for SQLite.
    from sidecar.registry.store import StateStore
    from sidecar.registry.storefile import NAME, StateFile

    file = StateFile(directory.path / NAME)
    try:
        file.open()
        restored = file.read()
    except ConfigError:
        os.close(held)
        raise
    for said in restored.skipped:
        log.warn("{path}: left out: {why}", path=str(file.path), why=said)
    return StateStore(reactor, file, restored, lambda: os.close(held))


@define(eq=False)
class KeptState:
    """What survives a restart, while we run.

    :ivar store: where it is kept, None for nowhere. :ivar journal: what came and went in the registry.
    :ivar machine: what tells this machine from one with a copy of its disk, "" where that is not known.
    """

    store: StateStore | None
    journal: Journal
    machine: str

    @classmethod
    def open(cls, settings: Settings, environ: Mapping[str, str], reactor: Any) -> KeptState:
        """Go on with what an earlier life kept. :raises ConfigError: see :func:`open_store`."""
        store = open_store(settings, environ, reactor)
        journal = Journal(reactor, settings.state.journal_entries, settings.state.journal_age)
        if store is not None:
            journal.restore(store.restored.entries, store.restored.before, store.restored.began)
            journal.keep = partial(_keep, store)
        return cls(store, journal, machine_id())

    def maintained(self) -> dict[str, Cause]:
        """The apps that were in maintenance when we stopped, each with why."""
        if self.store is None:
            return {}
        return {one.name: Cause("maintenance", one.detail, one.by) for one in self.store.restored.maintenance}

    def maintain(self, causes: Mapping[str, Cause | None]) -> Deferred[None]:
        """Have a restart find which apps are in maintenance, and why; None: no more.

        :returns: fires when it would. :raises StorageFailed: it would not."""
        return succeed(None) if self.store is None or not causes else self.store.maintain(causes)

    def with_ids(self, settings: Settings) -> Settings:
        """``settings``, each app whose id was made up with the one that it had before."""
        return evolve(settings, apps=tuple(self._with_id(app) for app in settings.apps))

    def _with_id(self, app: AppSettings) -> AppSettings:
        if self.store is None or not self.machine or not app.made_id:
            return app
        return evolve(app, id=self.store.app_id(app.name, f"{app.host}:{app.port}", self.machine, app.id))


def _keep(store: StateStore, entry: JournalEntry, first: int) -> None:
    store.note(store.file.happened(entry, first))


def machine_id() -> str:
    """What tells this machine from others, "" where it does not say. :source: machine-id(5)"""
    try:
        return Path("/etc/machine-id").read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return ""


def lock(path: Path) -> int:
    """Make the directory and take its lock.

    :returns: the descriptor that holds it until it is closed. :raises DirectoryUnusable: with the reason.
    """
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise DirectoryUnusable(f"{path} cannot be written: {error.strerror}") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        holder = os.read(descriptor, 20).decode("ascii", "replace").strip()
        os.close(descriptor)
        who = f" (process {holder})" if holder else ""
        raise DirectoryUnusable(f"{path} is used by another sidecar{who}: give each its own", locked=True) from None
    os.ftruncate(descriptor, 0)
    os.write(descriptor, f"{os.getpid()}\n".encode())
    return descriptor
