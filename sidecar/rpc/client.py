"""Calls services: chooses a node, tries it, and does what the attempts machine says when that fails."""

from __future__ import annotations

from random import Random
from typing import Any

from twisted.application import service
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure
from zope.interface import implementer

from sidecar.errors import CallTimeout, ServiceFault, ShuttingDown
from sidecar.interfaces import IClient
from sidecar.model import Call, CallPolicy, Reply
from sidecar.net.reactor.timerwheel import TimerWheel
from sidecar.rpc.call import Done, PendingCall
from sidecar.rpc.dialects import ILeanTransport
from sidecar.rpc.selector import Selector


@implementer(IClient)
class Client(service.Service):
    """Calls services.

    :ivar succeeded: calls that were answered well, since the start. :ivar faulted: by an error of the service.
    :ivar timed_out: calls that ran out of time. :ivar failed: calls that failed otherwise.
    :ivar cancelled: calls whose caller left. :ivar retried: attempts after the first.
    """

    def __init__(
        self,
        selector: Selector,
        transport: ILeanTransport,
        clock: IReactorTime,
        random: Random,
        any_address: bool = False,
    ) -> None:
        """:param any_address: whether a call may name an address at which no node of its service is registered."""
        self.selector = selector
        self.transport = transport
        self.clock = clock
        self.seconds = clock.seconds
        self.random = random
        self.any_address = any_address
        self.deadlines = TimerWheel(clock)
        self._stopped = False
        self._started = 0
        self.succeeded = self.faulted = self.timed_out = self.failed = self.cancelled = self.retried = 0

    @property
    def in_flight(self) -> int:
        return self._started - self.succeeded - self.faulted - self.timed_out - self.failed - self.cancelled

    def stopService(self) -> None:
        """Give up what is still in flight. (The site has drained before, so there is little.)"""
        super().stopService()
        self._stopped = True
        for flight in self.deadlines.items():
            flight.give_up(ShuttingDown("the sidecar is stopping and gave this call up: try again"))
        self.deadlines.stop()

    def call(self, call: Call, policy: CallPolicy) -> Deferred[Reply]:
        flight: PendingCall | None = None
        reply: Deferred[Reply] = Deferred(lambda _: flight.cancel() if flight is not None else None)
        flight = self.start(call, policy, _fire, reply)
        return reply

    def start(self, call: Call, policy: CallPolicy, done: Done, context: Any) -> PendingCall:
        """The same for those in a hurry: ``done(context, reply, error)`` is called once, unless the flight is
        cancelled.

        It may be called before this returns.
        """
        flight = PendingCall(self, call, policy, done, context)
        self._started += 1
        if self._stopped:
            flight.give_up(ShuttingDown("the sidecar is stopping: call again"))
        else:
            flight.begin()
        return flight

    def count(self, error: BaseException) -> None:
        """A call ended badly."""
        if isinstance(error, ServiceFault):
            self.faulted += 1
        elif isinstance(error, CallTimeout):
            self.timed_out += 1
        else:
            self.failed += 1


def _fire(reply: Deferred[Reply], answer: Reply | None, error: BaseException | None) -> None:
    if answer is not None:
        reply.callback(answer)
    else:
        assert error is not None
        reply.errback(Failure(error))
