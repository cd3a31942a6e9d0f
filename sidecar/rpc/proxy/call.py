"""A forwarded request under way: a call whose deadline waits for the end of its body."""

from __future__ import annotations

from typing import Any, Final

from sidecar.errors import CallError, SidecarError
from sidecar.model import Node, Outcome, Reply
from sidecar.net.reactor.timerwheel import TimerWheel
from sidecar.rpc.attempts import Attempts
from sidecar.rpc.call import PendingCall

#: Looking a member up in an Enum costs more than it should.
_ANSWERED: Final = Outcome.ANSWERED


class ForwardAttempts(Attempts):
    """Attempts of which none follows once a byte of the body went.

    :ivar begun: one went.
    """

    begun = False

    def _why_not_again(self, error: CallError) -> str:
        return "a part of the request's body has gone already" if self.begun else super()._why_not_again(error)


class ForwardedCall(PendingCall):
    """Drives attempts as any call does, but for the deadline.

    That runs until a node is there, and again from the end of the body to the head of the answer.
    """

    _call: Any  # a ForwardedRequest
    _begun = False  # a byte of the body went
    _replied = False  # the answer has begun

    def _try(self, node: Node) -> None:
        environment, request = self._environment, self._call
        self._node = node
        environment.selector.began(node)
        try:
            exchange = request.transport.exchange(node, request, self._deadline - self._began, self)
        except Exception as error:
            self.give_up(error)
            return
        self._exchange = exchange
        exchange.start()

    def attempt_connected(self) -> None:
        """A node is there: what is waited for now is the client's."""
        TimerWheel.remove(self)

    def attempt_begun(self) -> None:
        """A byte of the body went."""
        self._begun = True

    def body_ended(self) -> None:
        """The whole body went: the node's time begins."""
        self._restart()

    def attempt_replied(self, reply: Reply) -> None:
        done, self._done = self._done, None
        if done is None:
            return
        slot, self.slot = self.slot, None
        if slot is not None:
            slot.discard(self)
        environment, node = self._environment, self._node
        assert node is not None
        self._replied = True
        if environment.detailed:
            attempt = self._attempt(node, environment.seconds(), _ANSWERED, "")
            for observer in environment.observers:
                if observer.detailed:
                    observer.attempted(self._call, attempt)
        taken = max(0.0, environment.seconds() - self._deadline + self._policy.timeout)
        for observer in environment.observers:
            observer.ended(self._call, _ANSWERED, None, taken, reply)
        done(self._context, reply, None)

    def attempt_over(self, outcome: Outcome) -> None:
        """The answer is over, one way or the other."""
        node, self._node = self._node, None
        if self._replied and node is not None:
            self._environment.selector.ended(node, outcome)
        self._exchange = None  # which knows us: no circle is left for the collector

    def attempt_failed(self, error: SidecarError) -> None:
        if self._done is None:
            return
        if not self._begun:
            self._call.source.disconnected()
            if self.slot is None:
                self._restart()
        super().attempt_failed(error)

    def _restart(self) -> None:
        if self._done is not None:
            TimerWheel.remove(self)
            self._deadline = self._environment.seconds() + self._policy.timeout
            self._environment.deadlines.add(self, self._deadline)

    def _taken(self) -> float:
        return max(0.0, super()._taken())

    def _machine(self) -> Attempts:
        if self._attempts is None:
            environment = self._environment
            self._attempts = ForwardAttempts(
                self._call, self._policy, self._deadline, environment.random, environment.budget
            )
        self._attempts.deadline = self._deadline
        if isinstance(self._attempts, ForwardAttempts):
            self._attempts.begun = self._begun
        return self._attempts
