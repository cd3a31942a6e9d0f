"""One call under way: it drives the attempts machine, and tells selector, observers and caller what happens."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import chain
from typing import Any, Final

from attrs import evolve
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.python.failure import Failure
from zope.interface import implementer

from sidecar.errors import NoNodes, NotFound, SidecarError
from sidecar.interfaces import IExchange, IExchangeListener, IPendingCall
from sidecar.model import Attempt, Call, Caller, CallPolicy, Node, Outcome, Reply
from sidecar.net.reactor.timerwheel import TimerWheel
from sidecar.rpc import targets
from sidecar.rpc.attempts import Attempts, GiveUp, Wait, outcome_of
from sidecar.rpc.environment import CallEnvironment

#: Told how a call ended: its context, and either a reply or an error.
Done = Callable[[Any, Reply | None, BaseException | None], None]

#: The deadline of a call that is not begun.
_NEVER: Final = float("inf")
#: Looking a member up in an Enum costs a call more than it should.
_ANSWERED: Final = Outcome.ANSWERED
_CANCELLED: Final = Outcome.CANCELLED


@implementer(IPendingCall, IExchangeListener)
class PendingCall:
    """The shell around :class:`~sidecar.rpc.attempts.Attempts`, which is made when the first attempt fails.
    It tells its ``done`` once how the call ended, unless it was cancelled."""

    __slots__ = (
        "_attempts",
        "_began",
        "_call",
        "_caller",
        "_context",
        "_deadline",
        "_done",
        "_environment",
        "_exchange",
        "_looking",
        "_node",
        "_nodes",
        "_policy",
        "_wait",
        "slot",
    )

    def __init__(
        self, environment: CallEnvironment, call: Call, policy: CallPolicy, caller: Caller, done: Done, context: Any
    ) -> None:
        self._environment = environment
        self._call = call
        self._policy = policy
        self._caller = caller
        self._done: Done | None = done
        self._context = context
        self._deadline = _NEVER
        self._attempts: Attempts | None = None
        self._exchange: IExchange | None = None
        self._nodes: Iterator[Node] | None = None
        self._node: Node | None = None
        self._looking: Deferred[Any] | None = None
        # The pause between two attempts, or how long one may wait for its connection.
        self._wait: IDelayedCall | None = None
        self.slot: set[Any] | None = None

    @property
    def at(self) -> tuple[str, Node] | None:
        """The service that is called, and the node that has the call now; None while it is at none."""
        return None if self._node is None or self._done is None else (self._call.service, self._node)

    def begin(self) -> None:
        """Find out who could be called, and call."""
        environment, call = self._environment, self._call
        self._began = now = environment.seconds()
        self._deadline = now + self._policy.timeout
        environment.deadlines.add(self, self._deadline)
        environment.budget.called(now)
        try:
            if call.address is None:
                node = environment.selector.first(call.service, call.version)
            else:
                node = targets.first(environment.selector, call, environment.any_address)
        except Exception as error:
            self.give_up(error)
            return
        if type(node) is Deferred:
            self._look(node, None)
        else:
            self._try(node)  # type: ignore[arg-type]  # the other half of the union

    def cancel(self) -> None:
        if self._done is not None:
            self._done = None
            self._release(None)
            for observer in self._environment.observers:
                observer.ended(self._call, _CANCELLED, None, self._taken(), None)

    def give_up(self, error: BaseException) -> None:
        """End everything and tell the caller why."""
        done, self._done = self._done, None
        if done is not None:
            self._release(error)
            outcome = outcome_of(error)
            if outcome is _CANCELLED:  # we did not even try
                outcome = Outcome.NOT_FOUND if isinstance(error, (NotFound, NoNodes)) else Outcome.REFUSED
            self._environment.tell_end(self._call, self._caller, self._policy, outcome, error, self._taken())
            done(self._context, None, error)

    # --- Finding nodes ----------------------------------------------------------------------------------------------

    def _look(self, looking: Deferred[Node], otherwise: Node | None) -> None:
        """Wait for the registry. :param otherwise: the node to try where it cannot tell one; None to give up then."""
        self._looking = looking
        looking.addCallbacks(self._found, self._not_found, errbackArgs=(otherwise,))
        looking.addErrback(self._broken)

    def _found(self, node: Node) -> None:
        self._looking = None
        self._again(node)

    def _not_found(self, failure: Failure, otherwise: Node | None) -> None:
        self._looking = None
        if otherwise is not None and self._done is not None:
            self._again(otherwise)
        else:
            self._broken(failure)

    def _broken(self, failure: Failure) -> None:
        self.give_up(failure.value or RuntimeError(str(failure)))

    # --- Attempts ---------------------------------------------------------------------------------------------------

    def _try(self, node: Node) -> None:
        environment = self._environment
        self._node = node
        environment.selector.began(node)
        try:
            exchange = environment.transport.exchange(node, self._call, self._deadline - self._began, self)
        except Exception as error:
            self.give_up(error)
            return
        self._exchange = exchange
        exchange.start()

    def attempt_replied(self, reply: Reply) -> None:
        done, self._done = self._done, None
        if done is None:
            return
        environment, slot, node = self._environment, self.slot, self._node
        if slot is not None:
            slot.discard(self)
        if self._wait is not None:
            self._stop_waiting()
        assert node is not None
        environment.selector.ended(node, _ANSWERED)
        if environment.detailed:
            attempt = self._attempt(node, environment.seconds(), _ANSWERED, "")
            for observer in environment.observers:
                if observer.detailed:
                    observer.attempted(self._call, attempt)
        observers = environment.observers
        if observers:
            taken = environment.seconds() - self._deadline + self._policy.timeout
            for observer in observers:
                observer.ended(self._call, _ANSWERED, None, taken, reply)
        done(self._context, reply, None)

    def attempt_failed(self, error: SidecarError) -> None:
        environment, node = self._environment, self._node
        if self._done is None or node is None:
            return
        self._stop_waiting()
        now, outcome = environment.seconds(), outcome_of(error)
        attempt = self._attempt(node, now, outcome, str(error))
        self._exchange = self._node = None
        environment.selector.ended(node, outcome)
        following = self._following(node)
        attempts = self._machine()
        verdict = attempts.failed(attempt, error, following is not None, now)
        self._environment.tell(self._call, attempts.made[-1])
        if isinstance(verdict, GiveUp):
            self.give_up(verdict.error)
        elif isinstance(verdict, Wait):
            self._wait = environment.clock.callLater(verdict.seconds, self._another_round, node, following)
        elif following is not None:
            self._again(following)

    def attempt_waits(self, patience: float) -> None:
        self._wait = self._environment.clock.callLater(patience, self._leave_node)

    def _leave_node(self) -> None:
        """The connection takes longer than it should: leave the node, if there is one that is well."""
        self._wait = None
        environment, exchange, node = self._environment, self._exchange, self._node
        if exchange is None or node is None or exchange.state != "no connection":
            return
        following = self._following(node)
        if following is None:
            return
        now = environment.seconds()
        attempt = self._attempt(node, now, Outcome.TIMED_OUT, f"no connection in {now - self._began:.3g} s")
        if not environment.selector.takes_calls(following) or not self._machine().left(attempt, now):
            self._nodes = chain((following,), self._nodes or ())
            return
        self._exchange = self._node = None
        exchange.cancel()
        environment.selector.ended(node, Outcome.TIMED_OUT)
        self._environment.tell(self._call, self._machine().made[-1])
        self._again(following)

    def _following(self, node: Node) -> Node | None:
        """The node to try after ``node``, None where none is left."""
        if self._nodes is None:
            self._nodes = targets.others(self._environment.selector, self._call, node)
        return next(self._nodes, None)

    def _stop_waiting(self) -> None:
        wait, self._wait = self._wait, None
        if wait is not None:
            wait.cancel()

    def expired(self) -> None:
        """The deadline passed (the wheel tells it)."""
        node = self._node
        state = "the registry did not answer" if self._looking is not None else "there was a pause"
        attempt = None
        if node is not None:
            now = self._environment.seconds()
            state = self._exchange.state if self._exchange is not None else "it was not sent"
            attempt = self._attempt(node, now, Outcome.TIMED_OUT, f"{state} in {now - self._began:.3g} s")
            self._environment.selector.ended(node, Outcome.TIMED_OUT)
            self._node = None
        attempts = self._machine()
        error = attempts.expired(attempt, state)
        if attempt is not None:
            self._environment.tell(self._call, attempts.made[-1])
        self.give_up(error)

    def _another_round(self, node: Node, following: Node | None) -> None:
        """The pause is over: try ``following``, or begin anew where all were tried, ``node`` last."""
        self._wait = None
        if following is None and self._call.address is None:
            self._nodes = None
            try:
                found = self._environment.selector.first(self._call.service, self._call.version)
            except SidecarError:
                found = node  # it left meanwhile: the caller is better told why it failed before
            if isinstance(found, Deferred):
                self._look(found, node)
                return
            following = found
        self._again(following or node)

    def _again(self, node: Node) -> None:
        self._began = self._environment.seconds()
        self._try(node)

    def _machine(self) -> Attempts:
        if self._attempts is None:
            environment = self._environment
            self._attempts = Attempts(self._call, self._policy, self._deadline, environment.random, environment.budget)
        return self._attempts

    def _attempt(self, node: Node, now: float, outcome: Outcome, detail: str) -> Attempt:
        """The attempt that is under way, as one that is over."""
        exchange = self._exchange
        queued, connecting = exchange.before_sending(now) if exchange is not None else (0.0, 0.0)
        waiting = max(0.0, now - self._began - queued - connecting)
        return Attempt(node, node.hostport, queued * 1000, connecting * 1000, waiting * 1000, outcome, detail)

    def _taken(self) -> float:
        """Seconds since the call began, 0 where it was not begun."""
        return 0.0 if self._deadline == _NEVER else self._environment.seconds() - self._deadline + self._policy.timeout

    def _release(self, error: BaseException | None) -> None:
        """End whatever is under way for it. :param error: why, None where the caller left."""
        TimerWheel.remove(self)
        node, self._node = self._node, None
        if node is not None:
            self._environment.selector.ended(node, _CANCELLED)
            if self._environment.observers or self._environment.failures:
                why = "the caller left" if error is None else str(error)
                attempt = self._attempt(node, self._environment.seconds(), _CANCELLED, why)
                self._environment.tell(self._call, evolve(attempt, next="give up", why=why))
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            exchange.cancel()
        self._stop_waiting()
        looking, self._looking = self._looking, None
        if looking is not None:
            looking.cancel()
