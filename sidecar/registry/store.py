"""Writes what a restart keeps: in batches, in a thread of its own, told when it is on its way to the disk."""

from __future__ import annotations

import sqlite3
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any

from attrs import define
from twisted.application import service
from twisted.internet.defer import Deferred, fail, succeed
from twisted.logger import Logger

from sidecar.errors import StorageFailed
from sidecar.model import Cause
from sidecar.registry.storefile import StateFile, Write
from sidecar.registry.storerecords import StoredMaintenance, StoredState
from sidecar.waiting import wall

#: Writes that one transaction takes at most.
MAX_BATCH = 1000
#: Writes that nobody waits for, kept while the disk takes none; the oldest make room.
MAX_KEPT = 10_000


@define(eq=False)
class _Job:
    """Writes that belong together, and who waits for them; None where nobody does."""

    writes: Sequence[Write]
    waiting: Deferred[None] | None = None


@define(eq=False, slots=False, init=False)
class StateStore(service.Service):
    """Keeps a :class:`StateFile` in a thread of its own. While one batch is written the next one gathers."""

    log = Logger()

    def __init__(
        self, reactor: Any, file: StateFile, restored: StoredState, closed: Callable[[], object] = lambda: None
    ) -> None:
        """:param reactor: to be told by from a thread. :param file: open already. :param restored: what it held.
        :param closed: called when the file is closed."""
        self._closed = closed
        self._reactor = reactor
        self.file = file
        self.restored = restored
        self._ids = dict(restored.apps)
        self._queue: SimpleQueue[_Job | None] = SimpleQueue()
        #: Writes that nobody waits for and that failed.
        self._kept: deque[Write] = deque(maxlen=MAX_KEPT)
        self._failing = ""
        self._stopped: Deferred[None] = Deferred()
        self._thread: Thread | None = None

    @property
    def failing(self) -> str:
        """Why nothing can be written just now, "" while it can."""
        return self._failing

    def startService(self) -> None:
        super().startService()
        self._stopped = Deferred()
        self._thread = Thread(target=self._run, name="microsidecar state", daemon=True)
        self._thread.start()

    def stopService(self) -> Deferred[None]:
        """:returns: fires when all is written and the file is closed."""
        super().stopService()
        if self._thread is None:
            return succeed(None)
        self._queue.put(None)
        return self._stopped

    def write(self, *writes: Write) -> Deferred[None]:
        """Have ``writes`` done, all or none.

        :returns: fires when a restart would find them. :raises StorageFailed: none was done.
        """
        if not self.running:
            return fail(StorageFailed(f"nothing can be kept in {self.file.path}: the sidecar is stopping"))
        waiting: Deferred[None] = Deferred(lambda _: None)
        self._queue.put(_Job(writes, waiting))
        return waiting

    def note(self, *writes: Write) -> None:
        """Have ``writes`` done some time soon; those that fail are tried again with later ones."""
        # Before the start it waits in the queue for the thread.
        self._queue.put(_Job(writes))

    def maintain(self, causes: Mapping[str, Cause | None]) -> Deferred[None]:
        """Keep why services are in maintenance, by name; None: they are no more.

        :returns: fires when a restart would find it. :raises StorageFailed: none was kept."""
        now = wall(self._reactor)
        return self.write(
            *(
                self.file.released(name, "")
                if cause is None
                else self.file.maintained(StoredMaintenance(name, "", now, cause.detail, cause.by))
                for name, cause in causes.items()
            )
        )

    def app_id(self, name: str, address: str, machine: str, fresh: str) -> str:
        """The id that the app of this name at this address on this machine had, or ``fresh`` from now on."""
        known = self._ids.get((name, address, machine))
        if known is None:
            known = self._ids[name, address, machine] = fresh
            self.note(self.file.named(name, address, machine, fresh))
        return known

    # --- In the thread ----------------------------------------------------------------------------------------------

    def _run(self) -> None:
        ending = False
        while not ending:
            jobs = [self._queue.get()]
            try:
                while len(jobs) < MAX_BATCH:
                    jobs.append(self._queue.get_nowait())
            except Empty:
                pass
            ending = None in jobs
            batch = [job for job in jobs if job is not None]
            error = self._write(batch)
            self._reactor.callFromThread(self._written, batch, error)
        self.file.close()
        self._reactor.callFromThread(self._ended)

    def _write(self, batch: Sequence[_Job]) -> str:
        """:returns: why it could not be done, "" where it could."""
        if not batch:
            return ""
        kept = tuple(self._kept)
        try:
            self.file.write([*kept, *(write for job in batch for write in job.writes)])
        except sqlite3.Error as error:
            for job in batch:
                if job.waiting is None:
                    self._kept.extend(job.writes)
            return str(error)
        self._kept.clear()
        return ""

    # --- In the reactor ---------------------------------------------------------------------------------------------

    def _written(self, batch: Sequence[_Job], error: str) -> None:
        if error != self._failing:
            if error:
                self.log.error(
                    "Nothing can be kept in {path}: {why}; registrations are refused until it can, reads go on",
                    path=str(self.file.path),
                    why=error,
                )
            else:
                self.log.info("{path} can be written again", path=str(self.file.path))
            self._failing = error
        for job in batch:
            if job.waiting is None or job.waiting.called:
                continue
            if error:
                job.waiting.errback(
                    StorageFailed(f"the registration cannot be kept in {self.file.path}: {error}; make room there")
                )
            else:
                job.waiting.callback(None)

    def _ended(self) -> None:
        thread, self._thread = self._thread, None
        if thread is not None:
            thread.join()  # it has nothing left to do
        self._closed()
        self._stopped.callback(None)
