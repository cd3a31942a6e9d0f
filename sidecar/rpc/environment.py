"""What all calls of one client share."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from attrs import define
from twisted.internet.interfaces import IReactorTime

from sidecar.interfaces import ICallObserver, IFailureObserver, ISelector, ITransport
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
