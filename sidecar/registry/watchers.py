"""Who is told of changes, and when: in the next turn of the reactor, never inside the call that caused them."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from attrs import define, evolve, field
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from zope.interface import implementer

from sidecar.interfaces import IWatch, IWatcher
from sidecar.model import Change
from sidecar.waiting import wall


@implementer(IWatch)
@define(eq=False)
class Watch:
    """One watcher's standing interest."""

    _watchers: Watchers
    watcher: IWatcher
    active: bool = True

    def cancel(self) -> None:
        self.active = False
        self._watchers.remove(self)


@define(eq=False)
class Watchers:
    """Tells changes to all who watch, in order. What a watcher raises is logged and keeps nobody else from hearing."""

    log = Logger()

    _clock: IReactorTime
    _watches: dict[Watch, None] = field(factory=dict)
    #: What waits for the next turn, each with those who watched when it happened: a change, or a name to forget.
    _waiting: list[tuple[Change | str, tuple[Watch, ...]]] = field(factory=list)

    def add(self, watcher: IWatcher) -> Watch:
        """Tell ``watcher`` of each change from now on."""
        watch = Watch(self, watcher)
        self._watches[watch] = None
        return watch

    def remove(self, watch: Watch) -> None:
        self._watches.pop(watch, None)

    def __len__(self) -> int:
        return len(self._watches)

    def tell(self, changes: Iterable[Change]) -> None:
        """Have every present watcher hear ``changes``, in order, in the next turn. What has no time yet gets it."""
        if not self._watches:
            return
        now = wall(self._clock)
        self._tell([change if change.time else evolve(change, time=now) for change in changes])

    def invalidate(self, name: str) -> None:
        """Have every present watcher forget what it knows of ``name``, in the next turn."""
        if self._watches:
            self._tell([name])

    def _tell(self, news: Iterable[Change | str]) -> None:
        present = tuple(self._watches)
        idle = not self._waiting
        self._waiting.extend((each, present) for each in news)
        if idle and self._waiting:
            self._clock.callLater(0, self._deliver)

    def _deliver(self) -> None:
        waiting, self._waiting = self._waiting, []
        for news, watches in waiting:
            for watch in watches:
                if not watch.active:
                    continue
                try:
                    if isinstance(news, Change):
                        watch.watcher.changed(news)
                    else:
                        watch.watcher.invalidated(news)
                except Exception:
                    # A watcher is somebody else's code: its fault is its own.
                    self.log.failure(
                        "A watcher of the registry failed on news of {name}",
                        name=news.service.name if isinstance(news, Change) else news,
                    )


@implementer(IWatcher)
@define(eq=False)
class CallbackWatcher:
    """A watcher made of two callables, for those who watch several registries and have to tell them apart."""

    changed: Callable[[Change], None]
    invalidated: Callable[[str], None]
