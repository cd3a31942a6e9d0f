"""What all calls of one client share."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from attrs import define
from twisted.internet.interfaces import IReactorTime

from sidecar.interfaces import ICallObserver, IFailureObserver, ISelector, ITransport
from sidecar.model import Attempt, Call, Caller, CallPolicy, Outcome
from sidecar.net.reactor.timerwheel import TimerWheel
from sidecar.rpc.retrybudget import RetryBudget


@define(eq=False)
class CallEnvironment:
    """What all calls of one client share.

    :ivar seconds: the clock's, at hand. :ivar deadlines: ends calls whose time is over.
    :ivar budget: how many attempts may be retries.
    :ivar any_address: whether a call may name an address at which no node of its service is registered.
    :ivar observers: are told of every call. :ivar detailed: whether one of them wants all attempts told.
    :ivar failures: are told of what fails.
    """

    selector: ISelector
    transport: ITransport
    clock: IReactorTime
    seconds: Callable[[], float]
    deadlines: TimerWheel
    random: Random
    budget: RetryBudget
    any_address: bool
    observers: tuple[ICallObserver, ...]
    detailed: bool
    failures: tuple[IFailureObserver, ...] = ()

    def tell(self, call: Call, attempt: Attempt) -> None:
        """An attempt is over that was not answered, with what came next."""
        for observer in self.observers:
            observer.attempted(call, attempt)
        for failures in self.failures:
            failures.attempt_failed(call, attempt)

    def tell_end(
        self, call: Call, caller: Caller, policy: CallPolicy, outcome: Outcome, error: BaseException, taken: float
    ) -> None:
        """A call failed. :param taken: seconds."""
        for observer in self.observers:
            observer.ended(call, outcome, error, taken, None)
        for failures in self.failures:
            failures.call_failed(call, caller, policy, outcome, error, taken)
