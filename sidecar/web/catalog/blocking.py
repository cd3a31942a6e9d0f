"""Blocking queries: requests that are answered when something changes, by Consul's rules.

:source: https://developer.hashicorp.com/consul/api-docs/features/blocking
"""

from __future__ import annotations

from random import Random
from typing import Final

from attrs import define, field
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from sidecar.net.reactor.turns import Turns
from sidecar.registry.journal import Journal
from sidecar.web.events.longanswers import LongAnswers
from sidecar.web.response import Request

#: A wait is longer by chance by up to this part of it, so that many who wait do not all ask again at once.
JITTER: Final = 1 / 16


@define(eq=False)
class BlockingReads:
    """Has requests wait. They are counted, are answered when the sidecar leaves, and go with their callers."""

    _journal: Journal
    _clock: IReactorTime
    _lasting: LongAnswers
    _chance: Random
    #: Many may be woken by one change: their answers share the reactor's turns with everybody else.
    _turns: Turns = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._turns = Turns(self._clock)

    def wait(self, request: Request, name: str, index: int, patience: float) -> Deferred[None] | None:
        """Wait until there is more than the caller has seen.

        :param name: of one service, "" for any. :param index: what the caller has seen.
        :param patience: seconds to wait at most, before jitter.
        :returns: fires when ``request`` is to be answered; None where it is at once. To be cancelled when the caller
            leaves. :raises Overloaded: too many wait. :raises ShuttingDown: we are leaving.
        """
        woken = self._journal.wait(name or None, index)
        if woken.called or patience <= 0:
            woken.addErrback(_gave_up).cancel()
            return None
        answer: Deferred[None] = Deferred(lambda _: stop())

        def stop() -> None:
            self._lasting.remove(answer)
            if timer.active():
                timer.cancel()
            woken.cancel()

        def due() -> None:
            if not answer.called:
                stop()
                request.started = self._clock.seconds()  # how long it took us is how long it takes from now
                answer.callback(None)

        try:
            self._lasting.add(answer, due, request)
        except BaseException:
            woken.addErrback(_gave_up).cancel()
            raise
        timer = self._clock.callLater(patience + self._chance.uniform(0, patience * JITTER), due)
        woken.addCallbacks(lambda _: self._turns.add(due), _gave_up)
        return answer


def _gave_up(failure: Failure) -> None:
    failure.trap(CancelledError)
