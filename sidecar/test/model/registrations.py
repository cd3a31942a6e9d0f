"""The model of registrations: registry, store, leases and an app's checks, through kills, pauses and full disks."""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from attrs import define, evolve, field, frozen
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from sidecar.errors import NotFound, StorageFailed
from sidecar.health.registrar import RETURN, Registrar
from sidecar.health.threshold import CheckResult, Threshold
from sidecar.lifecycle import PauseDetector
from sidecar.model import ANONYMOUS, Change, Node, Service
from sidecar.registry.memory import MemoryRegistry
from sidecar.registry.store import StateStore, _Job
from sidecar.registry.storefile import NAME, StateFile, Write
from sidecar.registry.storerecords import grace
from sidecar.registry.watchers import CallbackWatcher
from sidecar.test.unit.health.test_registrar import AnsweredProbe

#: Services, and how many nodes each may have.
NAMES, NODES = ("foo", "bar"), 3
#: Seconds that the clock goes on by at a time: less than any pause.
STEP = 0.25
#: Seconds for which a lease may be kept while something of its node is being written.
WRITING = 1.0
APP = Service("app", nodes=(Node("app-1", "127.0.0.1", 9),))
RISE, FALL = 2, 2

keys = st.tuples(st.sampled_from(NAMES), st.integers(1, NODES))
Key = tuple[str, int]


def described(key: Key) -> Service:
    """The registration of a node. Its port tells which one it is."""
    name, number = key
    return Service(name, nodes=(Node(f"{name}-{number}", "127.0.0.1", 100 * (NAMES.index(name) + 1) + number),))


class ModelFile(StateFile):
    """A file on a disk that may be full."""

    full = False

    def write(self, writes: Iterable[Write]) -> None:
        if self.full:
            raise sqlite3.OperationalError("database or disk is full")
        StateFile.write(self, writes)


class ModelStore(StateStore):
    """A store whose thread works when the model says so. :ivar jobs: those that wait for it."""

    def startService(self) -> None:
        self.running = 1
        self.jobs: list[_Job] = []

    def write(self, *writes: Write) -> Deferred[None]:
        waiting: Deferred[None] = Deferred()
        self.jobs.append(_Job(writes, waiting))
        return waiting

    def note(self, *writes: Write) -> None:
        self.jobs.append(_Job(writes))
        if len(self.jobs) == 1:
            self.work()

    def work(self, told: bool = True) -> None:
        """Write what waits, as one batch. :param told: else the process dies before anybody is."""
        jobs, self.jobs = self.jobs, []
        error = self._write(jobs)
        if told:
            self._written(jobs, error)


@frozen
class Lease:
    """What is known of a registration that was acknowledged.

    :ivar until: it is there before that; None: for ever. :ivar latest: it is gone from then on.
    """

    ttl: float | None
    until: float | None
    latest: float | None

    @classmethod
    def of(cls, ttl: float | None, until: float | None) -> Lease:
        return cls(ttl, until, until)


@frozen
class OnDisk:
    """A registration as the disk has it.

    :ivar at: when it was asked for, :ivar wall: by the wall clock.
    :ivar ended: its time was over, and the disk may not have been told: it was full, or busy.
    """

    ttl: float | None
    at: float
    wall: float
    boot: int
    ended: bool = False


@define
class Asked:
    """A write that was asked for. :ivar stored: what the disk has afterwards, None for nothing."""

    key: Key
    stored: OnDisk | None
    outcome: list[Any] = field(factory=list)


class Registrations(RuleBasedStateMachine):
    """Rules and promises of registrations. Whoever adds others starts them in :meth:`start`."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.clock.advance(1000.0)
        self.set_by = 1_700_000_000.0
        self.boot = 1
        self.home = Path(tempfile.mkdtemp(prefix="model-"))
        self.leases: dict[Key, Lease] = {}
        self.disk: dict[Key, OnDisk] = {}
        self.asked: list[Asked] = []

    def teardown(self) -> None:
        self.file.close()
        shutil.rmtree(self.home, ignore_errors=True)

    @property
    def now(self) -> float:
        return self.clock.seconds()

    @property
    def wall(self) -> float:
        return self.now + self.set_by

    @initialize()
    def start(self) -> None:
        """Start the process."""
        self.file = ModelFile(self.home / NAME, self.clock.seconds, lambda: self.wall, str(self.boot))
        self.file.open()
        self.store = ModelStore(self.clock, self.file, self.file.read())
        self.store.startService()
        self.registry = MemoryRegistry(self.clock, self.store, PauseDetector(self.clock))
        self.told: set[Key] = set()
        self.app_left: list[str] = []
        self.registry.watch(CallbackWatcher(self.changed, lambda name: None))
        self.registry.startService()
        self.checks = AnsweredProbe()
        self.threshold = Threshold(RISE, FALL)
        self.taken_out = float("-inf")
        self.registrar = Registrar(
            self.registry,
            APP,
            self.clock,
            ttl=20.0,
            renewal=10.0,
            probe=self.checks,
            interval=5.0,
            rise=RISE,
            fall=FALL,
        )
        self.registrar.startService()

    def changed(self, change: Change) -> None:
        """A watcher's view of it."""
        keys = {(change.service.name, int(node.id.rpartition("-")[2])) for node in change.service.nodes}
        self.told = self.told - keys if change.action == "delete" else self.told | keys
        if change.action == "delete" and change.service.name == APP.name:
            self.app_left.append(change.reason)

    # --- What happens -----------------------------------------------------------------------------------------------

    @rule(key=keys, ttl=st.sampled_from((None, 0.5, 2.0, 10.0, 60.0)))
    def register(self, key: Key, ttl: float | None) -> None:
        """An app registers, or renews."""
        asked = Asked(key, OnDisk(ttl, self.now, self.wall, self.boot))
        self.asked.append(asked)
        self.registry.register(described(key), ttl, ANONYMOUS).addBoth(asked.outcome.append)

    @rule(key=keys)
    def deregister(self, key: Key) -> None:
        """An app leaves, or somebody takes it out."""
        asked = Asked(key, None)
        self.asked.append(asked)
        self.registry.deregister(described(key), ANONYMOUS).addBoth(asked.outcome.append)

    @rule()
    def write(self) -> None:
        """The thread of the store gets round to it, and all that was asked for is answered."""
        self.store.work()
        if not self.file.full and self.asked:
            self.disk = {key: stored for key, stored in self.disk.items() if not stored.ended}
        asked, self.asked = self.asked, []
        for each in asked:
            (outcome,) = each.outcome
            if self.file.full:
                assert outcome.check(StorageFailed), outcome
                continue
            assert outcome is None, outcome
            if each.key[0] == APP.name:
                self.taken_out = self.now
                continue
            self.on_disk(each)
            if each.stored is None:
                self.leases.pop(each.key, None)
            else:
                ttl = each.stored.ttl
                self.leases[each.key] = Lease.of(ttl, None if ttl is None else self.now + ttl)

    def on_disk(self, asked: Asked) -> None:
        """It was written."""
        if asked.stored is None:
            self.disk.pop(asked.key, None)
        else:
            self.disk[asked.key] = asked.stored

    @rule(full=st.booleans())
    def fill(self, full: bool) -> None:
        """The disk is full, or has room again."""
        self.file.full = full

    @rule(seconds=st.sampled_from((0.25, 1.0, 5.0, 25.0)))
    def advance(self, seconds: float) -> None:
        """Time goes by."""
        for _ in range(int(seconds / STEP)):
            self.clock.advance(STEP)
            self.keep_what_is_written()

    @rule(seconds=st.sampled_from((3.0, 10.0, 100.0)))
    def pause(self, seconds: float) -> None:
        """The process stands still for longer than a moment: whoever could not renew gets a grace."""
        self.clock.rightNow += seconds
        for key, lease in self.leases.items():
            if lease.ttl is not None and lease.until is not None:
                until = max(lease.until, self.now + grace(lease.ttl))
                latest = max(until, lease.latest or until)
                # Where something of it was being written it may have been kept beyond its time, or be gone.
                self.leases[key] = Lease(lease.ttl, until if lease.until == lease.latest else lease.until, latest)
        self.clock.advance(0)
        self.keep_what_is_written()

    @rule(hours=st.sampled_from((-2, 24)))
    def set_date(self, hours: int) -> None:
        """Somebody sets the date, which changes nothing within a run of the machine."""
        self.set_by += hours * 3600

    @rule(down=st.sampled_from((0.0, 1.0, 30.0)), written=st.booleans(), reboot=st.booleans())
    def kill(self, down: float, written: bool, reboot: bool) -> None:
        """The process dies at once, and is started again after a while, or the whole machine is.

        :param written: what was asked for is on the disk, and nobody was told."""
        if written and self.store.jobs and not self.file.full:
            self.store.work(told=False)
            for asked in self.asked:
                if asked.key[0] != APP.name:
                    self.on_disk(asked)
        self.file.close()
        self.asked.clear()
        self.boot += reboot
        # Another clock, so that nothing that the old process waited for ever comes.
        now, self.clock = self.now + down, Clock()
        self.clock.advance(now)
        self.leases.clear()
        for key, stored in list(self.disk.items()):
            left = self.left(stored)
            if stored.ttl is None or left is None:
                self.leases[key] = Lease.of(None, None)
            elif left > 0:
                until = self.now + max(left, grace(stored.ttl))
                self.leases[key] = Lease(stored.ttl, self.now if stored.ended else until, until)
            else:
                del self.disk[key]
        self.start()

    def left(self, stored: OnDisk) -> float | None:
        """What is left of its time for the next process, None: it has no end."""
        if stored.ttl is None:
            return None
        since = self.now - stored.at if stored.boot == self.boot else max(0.0, self.wall - stored.wall)
        return stored.ttl - since

    @precondition(lambda self: any(not each.called for each in self.checks.pending[-1:]))
    @rule(healthy=st.booleans())
    def check(self, healthy: bool) -> None:
        """A check of the app beside us ends."""
        self.threshold = self.threshold.found(healthy)
        self.checks.find(CheckResult(healthy, "checked"))

    @rule()
    def take_out(self) -> None:
        """Somebody takes our own app out."""
        asked = Asked(("app", 1), None)
        self.asked.append(asked)
        self.registry.deregister(APP, ANONYMOUS).addBoth(asked.outcome.append)

    # --- What has to hold -------------------------------------------------------------------------------------------

    def keep_what_is_written(self) -> None:
        """A lease does not run out while something of its node is being written, and for a second after that."""
        for asked in self.asked:
            lease = self.leases.get(asked.key)
            if lease is not None and lease.latest is not None:
                self.leases[asked.key] = evolve(lease, latest=max(lease.latest, self.now + WRITING))

    @invariant()
    def registrations_are_kept(self) -> None:
        """What was acknowledged is there until its time is over or it is taken out, and gone then; watchers know it."""
        self.clock.pump([0, 0])
        late = {key for key, lease in self.leases.items() if lease.latest is not None and self.now >= lease.latest}
        assert not late & self.told, f"nobody was told that {late & self.told} are over"
        there = {(name, number) for name in NAMES for number in self.numbers(name)}
        for key, lease in list(self.leases.items()):
            if lease.until is None or self.now < lease.until:
                assert key in there, f"{key} was acknowledged and is lost: {lease}, {self.now}"
            elif lease.latest is not None and self.now >= lease.latest:
                assert key not in there, f"{key} is over and still there: {lease}, {self.now}"
                self.ended(key)
            elif key not in there:
                self.ended(key)
        assert there <= self.leases.keys(), f"never acknowledged: {there - self.leases.keys()}"
        self.clock.pump([0, 0])
        told = {key for key in self.told if key[0] != APP.name}
        assert told == there, f"watchers know {told}, there is {there}"

    def ended(self, key: Key) -> None:
        """Its time is over."""
        del self.leases[key]
        if key in self.disk:
            if self.file.full or self.store.jobs:
                self.disk[key] = evolve(self.disk[key], ended=True)
            else:
                del self.disk[key]

    @invariant()
    def the_app_is_there_while_it_is_well(self) -> None:
        """Our own app is registered exactly while it is healthy, and is back soon where somebody took it out."""
        there = bool(self.numbers(APP.name))
        if self.now > self.taken_out + RETURN + STEP:
            assert there == (self.threshold.healthy is True), (there, self.threshold)
        assert "expired" not in self.app_left, self.app_left

    def numbers(self, name: str) -> set[int]:
        """The nodes of a service."""
        found: list[Any] = []
        self.registry.get(name).addBoth(found.append)
        if isinstance(found[0], tuple):
            return {int(node.id.rpartition("-")[2]) for service in found[0] for node in service.nodes}
        assert found[0].check(NotFound), found
        return set()
