"""Calls services: starts calls, ends them when the sidecar stops, and has their observers told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from random import Random
from typing import Any

from attrs import evolve
from twisted.application import service
from twisted.internet.interfaces import IReactorTime
from zope.interface import implementer

from sidecar.errors import ShuttingDown
from sidecar.interfaces import ICallObserver, IClient, IFailureObserver, ISelector, ITransport
from sidecar.model import Call, Caller, CallPolicy
from sidecar.net.reactor.timerwheel import TimerWheel
from sidecar.rpc.call import Done, PendingCall
from sidecar.rpc.environment import CallEnvironment
from sidecar.rpc.retrybudget import RetryBudget


@implementer(IClient)
class Client(service.Service):
    """Calls services."""

    def __init__(
        self,
        selector: ISelector,
        transport: ITransport,
        clock: IReactorTime,
        random: Random,
        any_address: bool = False,
        observers: Sequence[ICallObserver] = (),
        retry_share: float = 0.2,
        failures: Sequence[IFailureObserver] = (),
    ) -> None:
        """:param any_address: whether a call may name an address at which no node of its service is registered.
        :param observers: are told of every call. :param retry_share: of the calls that may be tried again.
        :param failures: are told of what fails."""
        self._deadlines = TimerWheel(clock)
        detailed = any(observer.detailed for observer in observers)
        budget = RetryBudget(retry_share)
        self._environment = CallEnvironment(
            selector,
            transport,
            clock,
            clock.seconds,
            self._deadlines,
            random,
            budget,
            any_address,
            tuple(observers),
            detailed,
            tuple(failures),
        )
        self._stopped = False

    @property
    def observers(self) -> tuple[ICallObserver, ...]:
        """Those who are told of every call now."""
        return self._environment.observers

    def observe(self, observer: ICallObserver) -> None:
        """Tell ``observer`` of calls too, until :meth:`unobserve`: who looks now and then costs nothing between."""
        self._observed_by((*self._environment.observers, observer))

    def unobserve(self, observer: ICallObserver) -> None:
        """Undo :meth:`observe`. Doing it twice is no error."""
        self._observed_by(tuple(each for each in self._environment.observers if each is not observer))

    def _observed_by(self, observers: tuple[ICallObserver, ...]) -> None:
        self._environment.observers = observers
        self._environment.detailed = any(observer.detailed for observer in observers)

    @property
    def in_flight(self) -> int:
        """Calls that wait for their end."""
        return len(self._deadlines.items())

    def under_way(self) -> Mapping[tuple[str, str], int]:
        """:returns: how many calls each node has now, by service and ``host:port``."""
        found: dict[tuple[str, str], int] = {}
        for pending in self._deadlines.items():
            at = pending.at
            if at is not None:
                key = at[0], at[1].hostport
                found[key] = found.get(key, 0) + 1
        return found

    def stopService(self) -> None:
        """Give up what is still in flight. (The site has drained before, so there is little.)"""
        super().stopService()
        self._stopped = True
        for pending in self._deadlines.items():
            pending.give_up(ShuttingDown("the sidecar is stopping and gave this call up: try again"))
        self._deadlines.stop()

    def start(
        self,
        call: Call,
        policy: CallPolicy,
        caller: Caller,
        done: Done,
        context: Any,
        observer: ICallObserver | None = None,
        pending: type[PendingCall] | None = None,
    ) -> PendingCall:
        environment = self._environment
        if observer is not None:
            environment = evolve(
                environment,
                observers=(*environment.observers, observer),
                detailed=environment.detailed or observer.detailed,
            )
        begun = (pending or PendingCall)(environment, call, policy, caller, done, context)
        if environment.detailed:
            for each in environment.observers:
                if each.detailed:
                    each.began(call, caller, policy)
        if self._stopped:
            begun.give_up(ShuttingDown("the sidecar is stopping: call again"))
        else:
            begun.begin()
        return begun
