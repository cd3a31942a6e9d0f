"""Who is told of changes, and when: in the next turn of the reactor, never inside the call that caused them."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from attrs import define, field
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from zope.interface import implementer

from sidecar.interfaces import IWatch
from sidecar.model import Change

Notify = Callable[[Change], None]


@implementer(IWatch)
@define(eq=False)
class Watch:
    """One watcher's place."""

    _watchers: Watchers
    notify: Notify
    active: bool = True

    def cancel(self) -> None:
        self.active = False
        self._watchers.remove(self)


@define(eq=False)
class Watchers:
    """Fans changes out in order. What a watcher raises is logged and keeps nobody else from hearing."""

    log = Logger()

    _clock: IReactorTime
    _watches: dict[Watch, None] = field(factory=dict)
    #: Changes that wait for the next turn, each with those who watched when it happened.
    _waiting: list[tuple[Change, tuple[Watch, ...]]] = field(factory=list)

    def add(self, notify: Notify) -> Watch:
        """Call ``notify`` for each change from now on."""
        watch = Watch(self, notify)
        self._watches[watch] = None
        return watch

    def remove(self, watch: Watch) -> None:
        self._watches.pop(watch, None)

    def __len__(self) -> int:
        return len(self._watches)

    def tell(self, changes: Iterable[Change]) -> None:
        """Have every present watcher hear ``changes``, in order, in the next turn."""
        if not self._watches:
            return
        present = tuple(self._watches)
        idle = not self._waiting
        self._waiting.extend((change, present) for change in changes)
        if idle and self._waiting:
            self._clock.callLater(0, self._deliver)

    def _deliver(self) -> None:
        waiting, self._waiting = self._waiting, []
        for change, watches in waiting:
            for watch in watches:
                if not watch.active:
                    continue
                try:
                    watch.notify(change)
                except Exception:
                    # A watcher is somebody else's code: its fault is its own.
                    self.log.failure(
                        "A watcher of the registry failed on {action} of {name}",
                        action=change.action,
                        name=change.service.name,
                    )
