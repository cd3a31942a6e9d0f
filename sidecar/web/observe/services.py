"""The services and nodes that a live view shows: asked of the registry while somebody looks, and at no other time."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, Final

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from sidecar.errors import NotFound, SidecarError
from sidecar.interfaces import IRegistry, IWatch, IWatcher
from sidecar.model import Change, Service

#: Services whose nodes are known at once, and how many are asked for at a time.
KNOWN: Final = 200
_AT_ONCE: Final = 20
#: Seconds after which the names are asked for again, and the nodes of one service, whatever the registry told.
_NAMES_FRESH, _NODES_FRESH = 5.0, 60.0
_LONG_AGO: Final = float("-inf")
#: When nothing was known, and what.
_NOTHING: Final[tuple[float, tuple[Service, ...]]] = (_LONG_AGO, ())


@implementer(IWatcher)
class LiveServices:
    """What the registry holds, a few seconds old at most.

    :ivar names: of all services.
    """

    log = Logger()

    def __init__(self, registry: IRegistry, clock: IReactorTime) -> None:
        self._registry = registry
        self._seconds = clock.seconds
        self._watch: IWatch | None = None
        self.names: tuple[str, ...] = ()
        self._named_at = _LONG_AGO
        self._known: dict[str, tuple[float, tuple[Service, ...]]] = {}
        self._asking: dict[str, Deferred[Any]] = {}
        self._outdated: set[str] = set()

    def start(self) -> None:
        """Somebody looks."""
        if self._watch is None:
            self._watch = self._registry.watch(self)

    def stop(self) -> None:
        """Nobody looks any more: ask nothing, keep nothing."""
        watch, self._watch = self._watch, None
        if watch is not None:
            watch.cancel()
        asking, self._asking = self._asking, {}
        for each in asking.values():
            each.cancel()
        self._known.clear()
        self.names, self._named_at = (), _LONG_AGO

    def get(self, name: str) -> tuple[Service, ...]:
        """What is known of a service, () before the registry has answered."""
        return self._known.get(name, _NOTHING)[1]

    def refresh(self, shown: Iterable[str]) -> None:
        """Ask the registry for what is not fresh, without waiting. :param shown: the services that are shown."""
        if self._watch is None:
            return
        now = self._seconds()
        if now - self._named_at >= _NAMES_FRESH and "" not in self._asking:
            self._named_at = now
            self._ask("", self._registry.list(), self._named)
        wanted = tuple(shown)[:KNOWN]
        for name in set(self._known).difference(wanted):
            del self._known[name]
        for name in wanted:
            if len(self._asking) > _AT_ONCE:
                break
            if name not in self._asking and now - self._known.get(name, _NOTHING)[0] >= _NODES_FRESH:
                self._ask(name, self._registry.get(name), partial(self._found, name))

    # --- IWatcher -----------------------------------------------------------------------------------------------------

    def changed(self, change: Change) -> None:
        self.invalidated(change.service.name)

    def invalidated(self, name: str) -> None:
        if name in self._asking:
            self._outdated.add(name)
        if name in self._known:
            self._known[name] = (_LONG_AGO, self._known[name][1])
        self._named_at = _LONG_AGO

    # --- Within -------------------------------------------------------------------------------------------------------

    def _ask(self, name: str, asked: Deferred[Any], take: Callable[[Any], None]) -> None:
        """:param name: of the service, "" for the names of all."""

        def done(result: Any) -> None:
            self._asking.pop(name, None)
            if isinstance(result, Failure):
                result.trap(SidecarError, CancelledError)
                if result.check(NotFound):
                    take(())
                if name in self._known:
                    self._known[name] = (self._seconds() - _NODES_FRESH + _NAMES_FRESH, self._known[name][1])
                return  # an engine that is away is told of elsewhere; what was known is shown
            take(result)

        self._outdated.discard(name)
        self._asking[name] = asked
        asked.addBoth(done).addErrback(
            lambda failure: self.log.failure("Looking up {name!r} failed", failure, name=name)
        )

    def _named(self, names: tuple[str, ...]) -> None:
        self.names = names

    def _found(self, name: str, services: tuple[Service, ...]) -> None:
        if self._watch is not None:
            # What changed while it was asked may be missing from the answer.
            self._known[name] = (_LONG_AGO if name in self._outdated else self._seconds(), services)
