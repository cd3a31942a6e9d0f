"""A watcher of a registry that notes what it is told."""

from __future__ import annotations

from attrs import define, field
from zope.interface import implementer

from sidecar.interfaces import IWatcher
from sidecar.model import Change


@implementer(IWatcher)
@define(eq=False)
class RecordingWatcher:
    """:ivar changes: what happened, in order. :ivar names: of the services that it was to forget, in order."""

    changes: list[Change] = field(factory=list)
    names: list[str] = field(factory=list)

    def changed(self, change: Change) -> None:
        self.changes.append(change)

    def invalidated(self, name: str) -> None:
        self.names.append(name)

    def told(self) -> list[tuple[str, str]]:
        """Action and reason of each change."""
        return [(change.action, change.reason) for change in self.changes]
