"""Consul's blocking queries: one path asked again and again, each time answered when there is news."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any, Final

from attrs import define
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater

from sidecar.errors import EngineUnavailable, MalformedRecord
from sidecar.net.client.fetcher import Response
from sidecar.registry.remote.consulapi import ConsulApi, next_index
from sidecar.waiting import Backoff

#: Seconds between two queries of one loop at least, and as a multiple of what reading an answer took.
_SPACING: Final = 0.02
_SPACING_FACTOR: Final = 5.0
#: Seconds between attempts to reach Consul, at first and at most.
_BACKOFF: Final = (0.05, 1.0)


@define(eq=False)
class BlockingQueries:
    """Runs blocking queries, at a pace that leaves others their right."""

    _clock: Any
    _random: Random
    _api: ConsulApi

    async def follow(
        self,
        path: str,
        index: int,
        asking: Callable[[], int],
        take: Callable[[Response, int], bool],
        failed: Callable[[Exception], bool] = lambda error: True,
        away: Callable[[], Deferred[None] | None] = lambda: None,
    ) -> None:
        """Ask for ``path`` until ``failed`` says to end.

        :param index: what was known before, 0 for nothing.
        :param asking: gives what is handed to ``take`` with the answer: when it was asked for.
        :param take: takes an answer; whether it has to be asked for again at once, without waiting for news.
        :param failed: told that there was no answer; whether to go on.
        :param away: gives, while others know that Consul is away, a Deferred that fires when it is back.
        """
        backoff = Backoff(*_BACKOFF, self._random)
        while True:
            asked = asking()
            try:
                response = await self._api.poll(path, index)
                began = self._clock.seconds()
                again = take(response, asked)
            except (EngineUnavailable, MalformedRecord) as error:
                index = 0
                if not failed(error):
                    return
                back = away()
                await (deferLater(self._clock, backoff.pause()) if back is None else back)
                continue
            backoff.reset()
            index = 0 if again else next_index(index, response)
            # Let others come to their right after an answer that took long to read, and a busy service gather its news.
            spent = self._clock.seconds() - began
            await deferLater(self._clock, max(_SPACING, spent * _SPACING_FACTOR))
