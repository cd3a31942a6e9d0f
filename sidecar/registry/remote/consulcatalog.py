"""Consul's catalog: the names of all services, whether Consul is there, and that something changed."""

from __future__ import annotations

from collections.abc import Callable

from attrs import define, field

from sidecar.net.client.fetcher import Response
from sidecar.registry.remote.consulapi import CATALOG, ConsulApi, index_of
from sidecar.registry.remote.consulquery import BlockingQueries
from sidecar.wire.registry import consul as wire


@define(eq=False)
class ConsulCatalog:
    """Follows the catalog by a blocking query.

    :ivar names: what it said last, sorted.
    :ivar asked: the tick at which that was asked for; -1 where it never was.
    :ivar failed: it could not be had the last time, so that what we hear may be from a Consul that began anew.
    """

    _api: ConsulApi
    _queries: BlockingQueries
    #: Gives the tick of a question.
    _tick: Callable[[], int]
    #: Told the index of the answer before and that of this one, both 0 where there is none.
    _answered: Callable[[int, int], None]
    #: Told that there was no answer, and that a second try has had none either.
    _lost: Callable[[Exception], None]
    names: tuple[str, ...] = field(default=(), init=False)
    asked: int = field(default=-1, init=False)
    failed: bool = field(default=False, init=False)
    _listed: frozenset[str] = field(default=frozenset(), init=False)
    _index: int = field(default=0, init=False)

    def __contains__(self, name: str) -> bool:
        return name in self._listed

    async def ask(self) -> None:
        """Ask now. :raises EngineUnavailable: there is no answer. :raises MalformedRecord: it is none of Consul's."""
        asked = self._tick()
        self._take_names(await self._api.read(CATALOG), asked)

    async def follow(self) -> None:
        """Ask again and again, until cancelled."""
        await self._queries.follow(CATALOG, 0, self._tick, self._take, self._not_answered)

    def _take(self, response: Response, asked: int) -> bool:
        self._take_names(response, asked)
        last, self._index = self._index, index_of(response)
        self._answered(last, self._index)
        self.failed = False
        return False

    def _take_names(self, response: Response, asked: int) -> None:
        names = wire.catalog(response.body)
        if asked > self.asked:
            self.names, self._listed, self.asked = tuple(sorted(names)), frozenset(names), asked

    def _not_answered(self, error: Exception) -> bool:
        # A connection that broke is the engine's loss only if it cannot be had again at once.
        if self.failed or not self._index:
            self._lost(error)
        self.failed = True
        return True
