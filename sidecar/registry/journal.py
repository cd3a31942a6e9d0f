"""The journal: what came, altered and went in the registry, with time, reason and who did it, as far as it is kept."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator

from attrs import define, field, frozen
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IReactorTime
from zope.interface import implementer

from sidecar.interfaces import IWatcher
from sidecar.model import Action, Cause, Change, Reason, Service
from sidecar.registry.catalog import Catalog
from sidecar.registry.waiters import Waiters
from sidecar.waiting import wall

#: Entries and seconds that are kept where nobody says otherwise.
ENTRIES, AGE = 100_000, 7 * 86_400.0


@frozen
class JournalEntry:
    """One change of the registry.

    :ivar index: counts up; no two entries share one.
    :ivar time: when it was noticed, in seconds since the epoch.
    :ivar service: the service at one version, with just the nodes that changed.
    """

    index: int
    time: float
    action: Action
    reason: Reason
    detail: str
    by: str
    service: Service

    @property
    def cause(self) -> Cause:
        return Cause(self.reason, self.detail, self.by)


@define(eq=False)
class _ServiceLog:
    """The entries of one service. :ivar last: the index of its last entry, also when that is kept no more."""

    entries: deque[JournalEntry] = field(factory=deque)
    last: int = 0


@implementer(IWatcher)
@define(eq=False)
class Journal:
    """A bounded list of changes, by count and by age, and the catalog before the first of them.

    It begins empty, or with :meth:`restore`. Without anything restored it counts from the time of its start in
    microseconds, so that an index of an earlier life is never a valid wrong one.

    :ivar entries: how many are kept. :ivar age: for how many seconds.
    :ivar keep: told of each new entry, and of the index before which entries are kept no more (0 for none).
    """

    _clock: IReactorTime
    entries: int = ENTRIES
    age: float = AGE
    keep: Callable[[JournalEntry, int], None] | None = None
    #: The index before the first entry.
    start: int = field(init=False)
    _last: int = field(init=False)
    _began: float = field(init=False)
    _log: deque[JournalEntry] = field(factory=deque, init=False)
    _services: dict[str, _ServiceLog] = field(factory=dict, init=False)
    #: What there was before the first entry that is kept.
    _before: Catalog = field(factory=Catalog, init=False)
    #: What there is after the last.
    _now: Catalog = field(factory=Catalog, init=False)
    _waiters: Waiters = field(factory=Waiters, init=False)
    _followers: dict[int, Callable[[JournalEntry], None]] = field(factory=dict, init=False)
    _count: int = field(default=0, init=False)

    def __attrs_post_init__(self) -> None:
        self._began = wall(self._clock)
        self.start = self._last = int(self._began * 1e6)

    def __len__(self) -> int:
        return len(self._log)

    def restore(self, entries: Iterable[JournalEntry], before: Iterable[Service], began: float) -> None:
        """Go on with what an earlier life kept.

        :param entries: in order. :param before: what there was before the first of them.
        :param began: since when they go back, in seconds since the epoch.
        """
        for service in before:
            self._before.put(service)
            self._now.put(service)
        for entry in entries:
            self._append(entry)
        if self._log:
            self.start = self._log[0].index - 1
        for name in self._before.names():
            # Else it had the index of the whole journal's start, which others move.
            log = self._services.setdefault(name, _ServiceLog())
            log.last = log.last or self.start
        self._began = min(began, self._began)
        self._trim(wall(self._clock))

    # --- IWatcher ---------------------------------------------------------------------------------------------------

    def changed(self, change: Change) -> None:
        now = wall(self._clock)
        entry = JournalEntry(
            self._last + 1,
            change.time or now,
            change.action,
            change.reason,
            change.detail,
            change.by,
            change.service,
        )
        self._append(entry)
        trimmed = self._trim(now)
        if self.keep is not None:
            self.keep(entry, trimmed)
        for follow in list(self._followers.values()):
            follow(entry)
        self._waiters.wake(entry.service.name)

    def invalidated(self, name: str) -> None:
        """Nobody can say what changed: there is nothing to write down."""

    # --- Reading ----------------------------------------------------------------------------------------------------

    @property
    def index(self) -> int:
        """The index of the last entry of all."""
        return self._last

    @property
    def began(self) -> float:
        """Since when it goes back, in seconds since the epoch."""
        self._trim(wall(self._clock))
        return self._began

    def index_of(self, name: str) -> int:
        """The index of the last entry of service ``name``; the journal's start where it has none."""
        log = self._services.get(name)
        return log.last if log is not None and log.last else self.start

    def knows(self, index: int) -> bool:
        """Whether everything after ``index`` is still here."""
        first = self._log[0].index if self._log else self._last + 1
        return first - 1 <= index <= self._last

    def after(self, index: int, name: str | None = None) -> Iterator[JournalEntry]:
        """The entries after ``index``, in order. :param name: of one service alone."""
        yield from _later_than(self._of(name), index)

    def find(
        self, name: str | None = None, since: float | None = None, reason: str | None = None, limit: int | None = None
    ) -> list[JournalEntry]:
        """Entries, oldest first.

        :param since: seconds since the epoch. :param limit: how many at most: the newest.
        """
        self._trim(wall(self._clock))
        found: list[JournalEntry] = []
        for entry in reversed(self._of(name)):
            if limit is not None and len(found) >= limit:
                break
            if (since is None or entry.time >= since) and (reason is None or entry.reason == reason):
                found.append(entry)
        found.reverse()
        return found

    def names_at(self, time: float) -> tuple[str, ...] | None:
        """The names of all services at a time in the past. :returns: None for a time before the journal begins."""
        catalog = self._catalog_at(time, None)
        return None if catalog is None else catalog.names()

    def at(self, name: str, time: float) -> tuple[Service, ...] | None:
        """The service ``name`` as it was.

        :param time: seconds since the epoch.
        :returns: one a version, none where it was not there; None for a time before the journal begins.
        """
        catalog = self._catalog_at(time, name)
        return None if catalog is None else catalog.get(name)

    def before(self) -> Iterator[Service]:
        """What there was before the first entry that is kept."""
        for name in self._before.names():
            yield from self._before.get(name)

    def present(self, name: str | None = None) -> Iterator[Service]:
        """What there is after the last entry, one a version. :param name: of one service alone."""
        for each in self._now.names() if name is None else (name,):
            yield from self._now.get(each)

    def index_at(self, time: float) -> int:
        """The index of the last entry of all at a time in the past; the journal's start where there is none."""
        return next((entry.index for entry in reversed(self._log) if entry.time <= time), self.start)

    def _of(self, name: str | None) -> deque[JournalEntry]:
        if name is None:
            return self._log
        log = self._services.get(name)
        return deque() if log is None else log.entries

    def _catalog_at(self, time: float, name: str | None) -> Catalog | None:
        if time < self.began:
            return None
        catalog = Catalog()
        for service in self._before.get(name) if name is not None else self.before():
            catalog.put(service)
        for entry in self._of(name):
            if entry.time <= time:
                _apply(entry, catalog)
        return catalog

    # --- Waiting ----------------------------------------------------------------------------------------------------

    def wait(self, name: str | None, index: int) -> Deferred[None]:
        """Wait until there is an entry after ``index``. A wake-up promises no more than that.

        :param name: of one service; nobody is woken for another. None for any.
        :param index: what the caller has seen: of this service or, later, of another.
        :returns: fires at once where there is such an entry, or where ``index`` is of the future. To be cancelled by
            whoever loses patience.
        """
        present = self._last if name is None else self.index_of(name)
        return self._waiters.wait(name) if present <= index <= self._last else succeed(None)

    def follow(self, follower: Callable[[JournalEntry], None]) -> Callable[[], None]:
        """Call ``follower`` with each new entry. :returns: what ends that."""
        self._count += 1
        number = self._count
        self._followers[number] = follower
        return lambda: self._followers.pop(number, None) and None

    # --- Keeping ----------------------------------------------------------------------------------------------------

    def _append(self, entry: JournalEntry) -> None:
        log = self._services.setdefault(entry.service.name, _ServiceLog())
        self._log.append(entry)
        log.entries.append(entry)
        self._last = log.last = entry.index
        _apply(entry, self._now)

    def _trim(self, now: float) -> int:
        """Let go of what is too much or too old.

        :returns: the index of the first entry that is kept; 0 where none went.
        """
        oldest = now - self.age
        gone = 0
        while self._log and (len(self._log) > self.entries or self._log[0].time < oldest):
            entry = self._log.popleft()
            name = entry.service.name
            log = self._services[name]
            log.entries.popleft()
            _apply(entry, self._before)
            self._began, self.start = max(self._began, entry.time), entry.index
            gone = entry.index + 1
            if not log.entries and name not in self._before:
                # Nothing is known of a service that is not there: its index is the journal's start from now on.
                del self._services[name]
        return gone


def _apply(entry: JournalEntry, catalog: Catalog) -> None:
    """Do to ``catalog`` what ``entry`` tells."""
    if entry.action == "delete":
        catalog.drop(entry.service.name, [node.id for node in entry.service.nodes])
    else:
        catalog.put(entry.service)


def _later_than(entries: deque[JournalEntry], index: int) -> list[JournalEntry]:
    """Those of ``entries`` after ``index``, in order, without a look at the others."""
    found: list[JournalEntry] = []
    for entry in reversed(entries):
        if entry.index <= index:
            break
        found.append(entry)
    found.reverse()
    return found
