"""What to do after an attempt failed: a pure machine. The client drives it, the clock is handed in.

================  =======================================  ======================
``retry``         what happened                            then
================  =======================================  ======================
``never``         anything                                 give up
``safe``          it cannot have run                       try another
``safe``          it may have run, or it answered          give up
``error``         it cannot have run, or 408 or 500        try another
``error``         any other answer                         give up
any               no attempt is left, or no time           give up
================  =======================================  ======================

An attempt at another node follows at once, one at the same node after a jittered wait.
"""

from __future__ import annotations

from random import Random
from typing import Final

from attrs import define, field, frozen

from sidecar.errors import (
    BadAnswer,
    CallError,
    CallTimeout,
    ConnectFailed,
    ConnectionLost,
    NotSent,
    Overloaded,
    ServiceFault,
    SidecarError,
)
from sidecar.model import Attempt, Call, CallPolicy, Node

#: go-micro's wait before attempt n is 10^n milliseconds.
#: :source: micro/go-micro@v1.18.0:client/backoff.go
_FIRST_WAIT: Final = 0.010
_LONGEST_WAIT: Final = 1.0

#: The request cannot have run.
_NOT_RUN: Final = (ConnectFailed, NotSent, Overloaded)
#: Codes of a service that go-micro's RetryOnError tries again. Bare text without a code counts as 500, as it is told.
_TRIED_AGAIN: Final = (408, 500, 0)


@frozen
class Try:
    """Try the next node now."""


@frozen
class Wait:
    """Try again after a while. :ivar seconds: how long."""

    seconds: float


@frozen
class GiveUp:
    """Tell the caller. :ivar error: what."""

    error: Exception


@define(eq=False)
class Attempts:
    """The attempts of one call so far.

    :ivar deadline: when the whole call has to be over, in the clock's seconds.
    """

    call: Call
    policy: CallPolicy
    deadline: float
    _random: Random
    made: list[Attempt] = field(factory=list)

    def failed(
        self, node: Node, seconds: float, error: SidecarError, elsewhere: bool, now: float
    ) -> Try | Wait | GiveUp:
        """An attempt failed.

        :param seconds: how long it took.
        :param error: a ``CallError``; any other kind is about the call itself, and is told as it is.
        :param elsewhere: whether the next attempt would be at a node that was not tried yet.
        """
        if not isinstance(error, CallError):
            return GiveUp(error)
        self.made.append(Attempt(node, seconds, str(error)))
        if len(self.made) > self.policy.retries or not self._may_repeat(error):
            return GiveUp(self._final(error))
        if elsewhere and now < self.deadline:
            return Try()
        wait = min(_FIRST_WAIT * 10 ** (len(self.made) - 1), _LONGEST_WAIT) * self._random.uniform(0.5, 1.0)
        if now + wait >= self.deadline:
            return GiveUp(self._final(error))
        return Wait(wait)

    def expired(self, node: Node | None, seconds: float, state: str) -> CallTimeout:
        """The deadline passed.

        :param node: where an attempt was under way, None for nowhere. :param state: what was waited for.
        """
        if node is not None:
            self.made.append(Attempt(node, seconds, f"{state} in {seconds:.3g} s"))
        told = self._told() if self.made else f"no node was tried: {state}"
        limit = f"{self.policy.timeout:.6g} s"
        return CallTimeout(f"{self._name}: timed out after {limit}: {told}", tuple(self.made))

    def _may_repeat(self, error: CallError) -> bool:
        if self.policy.retry == "never":
            return False
        if isinstance(error, _NOT_RUN):
            return True
        if self.policy.retry != "error":
            return False
        if isinstance(error, ServiceFault):
            return error.fault.code in _TRIED_AGAIN
        # What go-micro's client tells as 500 or 408 of its own.
        return isinstance(error, (ConnectionLost, BadAnswer, CallTimeout))

    def _final(self, error: CallError) -> CallError:
        made = tuple(self.made)
        if isinstance(error, ServiceFault):
            return ServiceFault(error.fault, made)  # its own words, untouched
        return type(error)(f"{self._name}: {self._told()}", made)

    @property
    def _name(self) -> str:
        return f"{self.call.service} {self.call.method}"

    def _told(self) -> str:
        count = "1 attempt failed" if len(self.made) == 1 else f"{len(self.made)} attempts failed"
        each = "; ".join(f"{attempt.node.hostport} ({attempt.node.id}): {attempt.outcome}" for attempt in self.made)
        return f"{count}: {each}"
