"""Who waits for something to happen to a service, or to any."""

from __future__ import annotations

from attrs import define, field
from twisted.internet.defer import Deferred


@define(eq=False)
class Waiters:
    """Deferreds by the name of a service, None for any of them. Who cancels one waits no more."""

    _waiting: dict[str | None, dict[Deferred[None], None]] = field(factory=dict, init=False)

    def __len__(self) -> int:
        return sum(len(each) for each in self._waiting.values())

    def wait(self, name: str | None) -> Deferred[None]:
        """:returns: fires when :meth:`wake` is called for it. To be cancelled by whoever loses patience."""
        waiting: Deferred[None] = Deferred(lambda gone: self._give_up(name, gone))
        self._waiting.setdefault(name, {})[waiting] = None
        return waiting

    def wake(self, name: str) -> None:
        """Something happened to a service: fire for those who wait for it, or for any. They may wait again at once."""
        for each in [*self._waiting.pop(name, {}), *self._waiting.pop(None, {})]:
            if not each.called:
                each.callback(None)

    def _give_up(self, name: str | None, gone: Deferred[None]) -> None:
        waiting = self._waiting.get(name)
        if waiting is not None:
            waiting.pop(gone, None)
            if not waiting:
                del self._waiting[name]
