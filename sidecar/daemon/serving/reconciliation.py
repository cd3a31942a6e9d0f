"""After a restart: what of the journal's present is gone from the registry, since it left while we were down."""

from __future__ import annotations

from typing import Final

from attrs import evolve
from twisted.application import service
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

from sidecar.errors import DependencyError, NotFound
from sidecar.interfaces import IRegistry
from sidecar.lifecycle import TaskGroup
from sidecar.model import Change, Service
from sidecar.registry.journal import Journal

#: Seconds until a registry whose engine is away is asked again.
PAUSE: Final = 5.0
#: What the journal then says.
DETAIL: Final = "it was gone when the sidecar was started again"


class Reconciliation(service.Service):
    """Has the journal hear once, at the start, of what left while nobody wrote it down."""

    def __init__(self, registry: IRegistry, journal: Journal, clock: IReactorTime) -> None:
        super().__init__()
        self._registry = registry
        self._journal = journal
        self._clock = clock
        self._tasks = TaskGroup()

    def startService(self) -> None:
        super().startService()
        names = sorted({each.name for each in self._journal.present()})
        if names:
            self._tasks.run(self._reconcile(names), "Comparing the journal with the registry")

    async def stopService(self) -> None:
        super().stopService()
        await self._tasks.stop()

    async def _reconcile(self, names: list[str]) -> None:
        for name in names:
            there = {node.id for version in await self._read(name) for node in version.nodes}
            for known in list(self._journal.present(name)):
                gone = tuple(node for node in known.nodes if node.id not in there)
                if gone:
                    left = evolve(known, nodes=gone)
                    self._journal.changed(Change("delete", left, "restored", DETAIL, "sidecar"))

    async def _read(self, name: str) -> tuple[Service, ...]:
        found = await self._asked(name)
        while found is None:
            await deferLater(self._clock, PAUSE)
            found = await self._asked(name)
        return found

    async def _asked(self, name: str) -> tuple[Service, ...] | None:
        """:returns: None where nobody can say."""
        try:
            return await self._registry.get(name)
        except NotFound:
            return ()
        except DependencyError:
            return None
