"""What a restart keeps: the store's file, its thread, and the embedded registry over it."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from attrs import define, evolve, field
from twisted.internet import reactor
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase, TestCase

from sidecar.errors import ConfigError, NotFound, StorageFailed
from sidecar.model import ANONYMOUS, Caller, Cause, Change, Service
from sidecar.registry.journal import Journal
from sidecar.registry.memory import MemoryRegistry
from sidecar.registry.store import StateStore
from sidecar.registry.storefile import NAME, StateFile, Write
from sidecar.registry.storerecords import StoredMaintenance, StoredRegistration, StoredState, grace
from sidecar.registry.storerepair import repair
from sidecar.test.contracts.registry import RegistryContract, a_service
from sidecar.test.doubles.virtualtime import OnVirtualTime
from sidecar.test.doubles.watcher import RecordingWatcher
from sidecar.waiting import Clocks

WALL = 1_700_000_000.0


class StateFileCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.path = Path(self.mktemp())
        self.path.mkdir()
        self.path /= NAME
        self.monotonic, self.wall, self.boot = 1000.0, WALL, "boot-1"
        self.file = self.opened()

    def opened(self) -> StateFile:
        file = StateFile(self.path, lambda: self.monotonic, lambda: self.wall, self.boot)
        file.open()
        self.addCleanup(file.close)
        return file

    def again(self) -> StoredState:
        """What the next process finds."""
        self.file.close()
        self.file = self.opened()
        return self.file.read()


class Kept(StateFileCase):
    def test_empty(self) -> None:
        """A new file holds nothing, and goes back to when it was made."""
        self.wall += 100
        self.assertEqual(self.again(), StoredState(began=WALL))

    def test_registration(self) -> None:
        """A registration is there again with all it said, who made it and since when; a later one replaces it."""
        service = a_service()
        stored = StoredRegistration(service, None, 0.0, "caller alice", WALL - 5)
        self.file.write([self.file.registered(stored)])
        self.assertEqual(self.again().registrations, (stored,))
        moved = evolve(service, nodes=(evolve(service.nodes[0], port=4242),))
        self.file.write([self.file.registered(StoredRegistration(moved))])
        self.assertEqual([each.service for each in self.again().registrations], [moved])
        self.file.write([self.file.deregistered(service.name, service.nodes[0].id)])
        self.assertEqual(self.again().registrations, ())

    def left(self) -> float:
        (stored,) = self.again().registrations
        return stored.left

    def test_time_that_passes(self) -> None:
        """What is left of a TTL counts the time that passed while nobody ran."""
        self.file.write([self.file.registered(StoredRegistration(a_service(), 60.0))])
        self.assertEqual(self.left(), 60.0)
        self.monotonic += 20
        self.wall += 20
        self.assertEqual(self.left(), 40.0)
        self.monotonic += 50
        self.wall += 50
        self.assertEqual(self.left(), -10.0)

    def test_wall_clock_set(self) -> None:
        """A wall clock that is set either way changes nothing within one run of the machine."""
        self.file.write([self.file.registered(StoredRegistration(a_service(), 60.0))])
        self.monotonic += 10
        for shift in (-7200, 86_400):
            self.wall += shift
            self.assertEqual(self.left(), 50.0)

    def test_machine_restarted(self) -> None:
        """After the machine was started anew the wall clock counts; it gives nobody more than the whole TTL."""
        self.file.write([self.file.registered(StoredRegistration(a_service(), 60.0))])
        self.boot, self.monotonic = "boot-2", 3.0
        self.wall += 25
        self.assertEqual(self.left(), 35.0)
        self.wall -= 7200
        self.assertEqual(self.left(), 60.0)

    def test_apps_and_maintenance(self) -> None:
        """Ids of apps and what is in maintenance are there again."""
        one = StoredMaintenance("foo", "foo-1", WALL, "a new disk", "caller alice")
        other = StoredMaintenance("bar", "", WALL)
        self.file.write(
            [
                self.file.named("foo", "127.0.0.1:9090", "machine", "foo-1"),
                self.file.maintained(one),
                self.file.maintained(other),
            ]
        )
        found = self.again()
        self.assertEqual(found.apps, {("foo", "127.0.0.1:9090", "machine"): "foo-1"})
        self.assertEqual(set(found.maintenance), {one, other})
        self.file.write([self.file.released("bar", "")])
        self.assertEqual(self.again().maintenance, (one,))

    def test_journal(self) -> None:
        """The journal is there again as it was, also how the catalog was before its first entry."""
        timer = Clock()
        clock = Clocks(timer, lambda: timer.seconds() + WALL)
        journal = Journal(clock, entries=3)
        journal.keep = lambda entry, first: self.file.write([self.file.happened(entry, first)])
        services = [a_service("foo") for _ in range(4)]
        for service in services:
            timer.advance(10)
            journal.changed(Change.of("create", service, Cause(by="caller alice")))
        timer.advance(10)
        journal.changed(Change.of("delete", services[0], Cause("check failed", "answered 503", "check")))
        found = self.again()
        again = Journal(clock, entries=3)
        again.restore(found.entries, found.before, found.began)
        self.assertEqual(again.find(), journal.find())
        self.assertEqual((again.index, again.began), (journal.index, journal.began))
        for time in (WALL + 20, WALL + 35, WALL + 50):
            one, other = (
                {node.id for each in each_journal.at("foo", time) or () for node in each.nodes}
                for each_journal in (again, journal)
            )
            self.assertEqual(one, other)

    def test_all_or_nothing(self) -> None:
        """Of writes that go together none is done where one fails."""
        write = self.file.registered(StoredRegistration(a_service()))
        self.assertRaises(sqlite3.Error, self.file.write, [write, lambda connection: connection.execute("nonsense")])
        self.file.write([self.file.deregistered("nobody", "x")])
        self.assertEqual(self.again().registrations, ())

    def test_unreadable_row(self) -> None:
        """A row that cannot be read is left out and told; the others are there."""
        good = a_service()
        self.file.write(
            [
                self.file.registered(StoredRegistration(good)),
                lambda connection: connection.execute(
                    "INSERT INTO registrations VALUES ('bad', 'x', X'7b', NULL, '', NULL, NULL, '', 0)"
                ),
            ]
        )
        found = self.again()
        self.assertEqual([each.service for each in found.registrations], [good])
        (said,) = found.skipped
        self.assertIn("registration of x of bad", said)


class Damaged(StateFileCase):
    def refused(self) -> str:
        return str(self.assertRaises(ConfigError, StateFile(self.path).open))

    def test_newer(self) -> None:
        """A file of a newer schema is refused, with what to do."""
        self.file.write([lambda connection: connection.execute("PRAGMA user_version = 99")])
        self.file.close()
        self.assertIn("newer microsidecar", self.refused())

    def test_no_database(self) -> None:
        """What is no database is refused: which file, that a copy is kept, how to go on."""
        self.file.close()
        for path in self.path.parent.iterdir():
            path.unlink()
        self.path.write_bytes(b"nonsense" * 1000)
        said = self.refused()
        for word in (str(self.path), "damaged", "copy", "micro repair --data_dir", "remove it"):
            self.assertIn(word, said)
        (copy,) = self.path.parent.glob("*.damaged-*")
        self.assertEqual(copy.read_bytes(), self.path.read_bytes())
        self.assertEqual(set(repair(self.path).values()), {0})
        self.assertEqual(self.again().registrations, ())

    def test_repaired(self) -> None:
        """What can be read of a file with broken pages is saved, and the damaged one is kept."""
        for number in range(500):
            self.file.write([self.file.registered(StoredRegistration(a_service(f"s{number:03}")))])
        self.file.close()
        size = self.path.stat().st_size
        with self.path.open("r+b") as broken:
            broken.seek(size // 2 // 4096 * 4096)
            broken.write(os.urandom(4096))
        self.assertIn("damaged", self.refused())
        saved = repair(self.path)
        self.assertGreater(saved["registrations"], 100)
        self.assertEqual(len(self.again().registrations), saved["registrations"])
        self.assertEqual(len(list(self.path.parent.glob("*.before-repair-*"))), 1)

    def test_private(self) -> None:
        """Nobody else may read a new file, nor what lies beside it, whatever the directory lets others do."""
        self.path.parent.chmod(0o755)
        self.assertEqual({path.stat().st_mode & 0o777 for path in self.path.parent.iterdir()}, {0o600})

    def test_cannot_be_written(self) -> None:
        """A directory that cannot be written is told as such."""
        nowhere = StateFile(self.path.parent / "no" / NAME)
        said = str(self.assertRaises(ConfigError, nowhere.open))
        self.assertIn("cannot be used", said)


@define(eq=False)
class PickyFile(StateFile):
    """A file on a disk that may be full, or slow.

    :ivar ready: while it is not set, a transaction waits. :ivar batches: how many writes each transaction had.
    """

    full: bool = False
    ready: threading.Event = field(factory=threading.Event)
    batches: list[int] = field(factory=list)

    def write(self, writes: Iterable[Write]) -> None:
        if self.full:
            raise sqlite3.OperationalError("database or disk is full")
        together = list(writes)
        self.batches.append(len(together))
        self.ready.wait(60)
        StateFile.write(self, together)


class StoreCase(TestCase):
    timeout = 60

    def setUp(self) -> None:
        self.path = Path(self.mktemp())
        self.path.mkdir()
        self.path /= NAME

    file: PickyFile

    def store(self) -> StateStore:
        """Of the next process."""
        file = self.file = PickyFile(self.path)
        file.ready.set()
        file.open()
        store = StateStore(reactor, file, file.read())
        store.startService()
        self.addCleanup(store.stopService)
        return store


class PromptStore(StateStore):
    """A store that writes at once, without a thread."""

    def startService(self) -> None:
        self.running = 1

    def stopService(self) -> Deferred[None]:
        self.running = 0
        self.file.close()
        return succeed(None)

    def write(self, *writes: Write) -> Deferred[None]:
        self.file.write(writes)
        return succeed(None)

    def note(self, *writes: Write) -> None:
        self.file.write(writes)


class Contract(OnVirtualTime, RegistryContract, TestCase):
    """The registry's contract, with a store under it."""

    def made_file(self) -> StateFile:
        directory = Path(self.mktemp())
        directory.mkdir()
        file = StateFile(directory / NAME, self.clock.seconds)
        file.open()
        return file

    async def make_registry(self) -> Any:
        file = self.made_file()
        store = PromptStore(self.clock, file, file.read())
        store.startService()
        self.addCleanup(store.stopService)
        registry = MemoryRegistry(self.clock, store)
        registry.startService()
        return registry


class Writing(StoreCase):
    async def test_in_batches(self) -> None:
        """Many writes while one is written take few transactions, and each is told when it is done."""
        store = self.store()
        self.file.batches.clear()
        self.file.ready.clear()
        waiting = [store.write(store.file.registered(StoredRegistration(a_service()))) for _ in range(500)]
        self.file.ready.set()
        for each in waiting:
            await each
        self.assertEqual(sum(self.file.batches), 500)
        self.assertLess(len(self.file.batches), 10)
        await store.stopService()
        self.assertEqual(len(self.store().restored.registrations), 500)

    async def test_full_disk(self) -> None:
        """A write that the disk does not take is refused in words; it is told once, and the next one is done when there
        is room. What nobody waits for is done then, too."""
        store = self.store()
        self.file.full = True
        store.note(store.file.named("foo", "h:1", "machine", "foo-1"))
        for _ in range(3):
            self.assertIn("disk is full", await self.refusal(store))
        self.assertIn("disk is full", store.failing)
        self.file.full = False
        await store.write(store.file.registered(StoredRegistration(a_service())))
        self.assertEqual(store.failing, "")
        await store.stopService()
        restored = self.store().restored
        self.assertEqual((len(restored.registrations), len(restored.apps)), (1, 1))

    async def refusal(self, store: StateStore) -> str:
        """Why a write is refused."""
        try:
            await store.write(store.file.registered(StoredRegistration(a_service())))
        except StorageFailed as error:
            return str(error)
        return "taken"

    async def test_stopped(self) -> None:
        """What was asked for before the stop is written; what comes after is refused."""
        store = self.store()
        written = store.write(store.file.registered(StoredRegistration(a_service())))
        await store.stopService()
        self.successResultOf(written)
        await self.assertFailure(store.write(), StorageFailed)
        self.assertEqual(len(self.store().restored.registrations), 1)

    def test_app_ids(self) -> None:
        """An app keeps its id by name, address and machine; another gets its own."""
        store = self.store()
        self.assertEqual(store.app_id("foo", "h:1", "m", "foo-1"), "foo-1")
        self.assertEqual(store.app_id("foo", "h:1", "m", "foo-2"), "foo-1")
        self.assertEqual(store.app_id("foo", "h:2", "m", "foo-3"), "foo-3")
        self.assertEqual(store.app_id("foo", "h:1", "other", "foo-4"), "foo-4")


class Restarted(StoreCase):
    """The embedded registry, from one life to the next."""

    def registry(self, clock: Any = reactor) -> Any:
        registry = MemoryRegistry(clock, self.store())
        self.watcher = RecordingWatcher()
        registry.watch(self.watcher)
        registry.startService()
        self.addCleanup(registry.stopService)
        return registry

    async def next(self, registry: Any, clock: Any = reactor) -> Any:
        await registry.stopService()
        await registry._store.stopService()  # as the next process would find it
        return self.registry(clock)

    async def test_there_again(self) -> None:
        """What was registered is there again and told as restored; what was taken out is not."""
        lasting, leased, gone = a_service(nodes=2), a_service(), a_service()
        registry = self.registry()
        await registry.register(lasting, None, Caller("alice"))
        await registry.register(leased, 60.0, ANONYMOUS)
        await registry.register(gone, None, ANONYMOUS)
        await registry.deregister(gone, ANONYMOUS)
        registry = await self.next(registry)
        self.assertEqual(await registry.list(), tuple(sorted((lasting.name, leased.name))))
        (found,) = await registry.get(lasting.name)
        self.assertEqual({node.id for node in found.nodes}, {node.id for node in lasting.nodes})
        await Deferred.fromCoroutine(self.turn())
        self.assertEqual({reason for _, reason in self.watcher.told()}, {"restored"})
        self.assertIn("caller alice", {change.by for change in self.watcher.changes})

    async def turn(self) -> None:
        turned: Deferred[None] = Deferred()
        reactor.callLater(0.01, turned.callback, None)
        await turned

    async def test_over_meanwhile(self) -> None:
        """What ran out while nobody ran is not there again, and its end is told with its reason."""
        service = a_service()
        registry = self.registry()
        await registry.register(service, 60.0, ANONYMOUS)
        await registry.stopService()
        store = registry._store
        await store.stopService()
        file = StateFile(self.path, seconds=lambda: 1e12)
        file.open()
        restored = file.read()
        file.close()
        later = self.store()
        later.restored = restored
        registry = MemoryRegistry(reactor, later)
        watcher = RecordingWatcher()
        registry.watch(watcher)
        registry.startService()
        self.addCleanup(registry.stopService)
        await self.assertFailure(registry.get(service.name), NotFound)
        await self.turn()
        self.assertEqual(watcher.told(), [("delete", "expired")])

    async def test_refused_write_leaves_nothing(self) -> None:
        """A registration that could not be kept is not there, and one that could not be taken out still is."""
        registry = self.registry()
        known = a_service()
        await registry.register(known, None, ANONYMOUS)

        self.file.full = True
        service = a_service()
        await self.assertFailure(registry.register(service, None, ANONYMOUS), StorageFailed)
        await self.assertFailure(registry.deregister(known, ANONYMOUS), StorageFailed)
        await self.assertFailure(registry.get(service.name), NotFound)
        self.assertEqual(len(await registry.get(known.name)), 1)
        self.assertIn("disk is full", registry.state().detail)


class Grace(SynchronousTestCase):
    def test_share(self) -> None:
        """Half of the TTL, a second at least, thirty at most."""
        self.assertEqual([grace(ttl) for ttl in (0.5, 2.0, 10.0, 60.0, 3600.0)], [1.0, 1.0, 5.0, 30.0, 30.0])

    def test_what_lives_gets_it(self) -> None:
        """A registration with a moment left gets the grace after a restart, and runs out then."""
        clock = Clock()

        class Restored:
            """Of a store that held one registration."""

            restored = StoredState((StoredRegistration(Service("foo", nodes=a_service().nodes), 10.0, 0.5),))

            class file:  # stands for the attribute
                deregistered = staticmethod(lambda *key: key)

            noted: list[Any] = []  # one instance

            def note(self, *writes: Any) -> None:
                self.noted.append(writes)

        registry = MemoryRegistry(clock, Restored())  # type: ignore[arg-type]  # as much of it as is asked for
        registry.startService()
        self.addCleanup(registry.stopService)
        clock.advance(4.9)
        self.assertEqual(self.successResultOf(registry.list()), ("foo",))
        clock.advance(0.2)
        self.assertEqual(self.successResultOf(registry.list()), ())
        self.assertEqual(len(Restored.noted), 1)
