"""What to do after an attempt failed: a pure machine. A pending call drives it, the clock is handed in.

================  =======================================  ======================
``retry``         what happened                            then
================  =======================================  ======================
``never``         anything                                 give up
``safe``          it cannot have run                       try another
any               a queue of ours is full                  give up
``safe``          it may have run, or it answered          give up
``error``         it cannot have run, or 408 or 500        try another
``error``         any other answer                         give up
any               no attempt is left, or no time           give up
any               the budget for retries is spent          give up
================  =======================================  ======================

An attempt at another address follows at once, one at the same address after a jittered wait. An attempt whose
connection takes longer than the address has ever shown is left for another address, under the rules of one that cannot
have run; where there is none, it goes on.
"""

from __future__ import annotations

from random import Random
from typing import Final, Literal

from attrs import define, evolve, field, frozen

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
from sidecar.model import Attempt, Call, CallPolicy, Outcome
from sidecar.rpc.retrybudget import RetryBudget

#: go-micro's wait before attempt n is 10^n milliseconds.
#: :source: micro/go-micro@v1.18.0:client/backoff.go
_FIRST_WAIT: Final = 0.010
_LONGEST_WAIT: Final = 1.0

#: The request cannot have run.
_NOT_RUN: Final = (ConnectFailed, NotSent)
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


def outcome_of(error: BaseException) -> Outcome:
    """What an attempt's error says about the node that was tried."""
    if isinstance(error, ServiceFault):
        return Outcome.FAULT if error.enveloped or error.fault.code < 500 else Outcome.BROKEN
    if isinstance(error, (ConnectFailed, NotSent)):
        return Outcome.REFUSED
    if isinstance(error, CallTimeout):
        return Outcome.TIMED_OUT
    if isinstance(error, (ConnectionLost, BadAnswer)):
        return Outcome.BROKEN
    return Outcome.CANCELLED


@define(eq=False)
class Attempts:
    """The attempts of one call so far.

    :ivar deadline: when the whole call has to be over, in the clock's seconds.
    :ivar made: those that are over.
    """

    call: Call
    policy: CallPolicy
    deadline: float
    _random: Random
    _budget: RetryBudget
    made: list[Attempt] = field(factory=list)

    def failed(self, attempt: Attempt, error: SidecarError, untried: bool, now: float) -> Try | Wait | GiveUp:
        """An attempt failed; it stands as the last of ``made`` then, with what comes next.

        :param error: a ``CallError``; any other kind is about the call itself, and is told as it is.
        :param untried: whether the next attempt would be at an address that was not tried yet.
        """
        if not isinstance(error, CallError):
            self._note(attempt, "give up", "the call itself is wrong")
            return GiveUp(error)
        refusal = self._why_not_again(error)
        if refusal:
            return self._give_up(attempt, error, refusal)
        if not self._budget.withdraw(now):
            return self._give_up(attempt, error, "too many calls are tried again already: the retry budget is spent")
        if untried and now < self.deadline:
            self._note(attempt, "retry", "there is another address")
            return Try()
        wait = min(_FIRST_WAIT * 10 ** len(self.made), _LONGEST_WAIT) * self._random.uniform(0.5, 1.0)
        if now + wait >= self.deadline:
            return self._give_up(attempt, error, "no time is left")
        self._note(attempt, "wait", f"no other address is left: again in {wait * 1000:.0f} ms")
        return Wait(wait)

    def left(self, attempt: Attempt, now: float) -> bool:
        """An attempt waits longer for its connection than it should, and another node is well; nothing was sent.

        :returns: whether that one may be tried instead; ``attempt`` stands as the last of ``made`` then."""
        policy = self.policy
        if policy.retry == "never" or len(self.made) >= policy.retries or now >= self.deadline:
            return False
        if not self._budget.withdraw(now):
            return False
        self._note(attempt, "retry", "it takes longer than it ever did, and there is another address")
        return True

    def expired(self, attempt: Attempt | None, state: str) -> CallTimeout:
        """The deadline passed.

        :param attempt: the one that was under way, None for none. :param state: what was waited for.
        """
        if attempt is not None:
            self._note(attempt, "give up", "the time of the call is over")
        told = self._told() if self.made else f"no node was tried: {state}"
        limit = f"{self.policy.timeout:.6g} s"
        return CallTimeout(f"{self._name}: timed out after {limit}: {told}", tuple(self.made))

    def _why_not_again(self, error: CallError) -> str:
        """Why no other attempt may follow, "" where one may."""
        retry = self.policy.retry
        if retry == "never":
            return "retry is never"
        if len(self.made) >= self.policy.retries:
            return "no attempt is left"
        if isinstance(error, Overloaded):
            return "a queue of ours is full, and another attempt would make it longer"
        if isinstance(error, _NOT_RUN):
            return ""
        if retry != "error":
            return "the service answered" if isinstance(error, ServiceFault) else "it may have run"
        if isinstance(error, ServiceFault):
            return "" if error.fault.code in _TRIED_AGAIN else "the service answered"
        # What go-micro's client tells as 500 or 408 of its own.
        return "" if isinstance(error, (ConnectionLost, BadAnswer, CallTimeout)) else "it may have run"

    def _give_up(self, attempt: Attempt, error: CallError, why: str) -> GiveUp:
        self._note(attempt, "give up", why)
        made = tuple(self.made)
        if isinstance(error, ServiceFault):
            return GiveUp(ServiceFault(error.fault, made, error.enveloped))  # its own words, untouched
        return GiveUp(type(error)(f"{self._name}: {self._told()}", made))

    def _note(self, attempt: Attempt, next: Literal["retry", "wait", "give up"], why: str) -> None:
        self.made.append(evolve(attempt, next=next, why=why))

    @property
    def _name(self) -> str:
        return f"{self.call.service} {self.call.method}"

    def _told(self) -> str:
        count = "1 attempt failed" if len(self.made) == 1 else f"{len(self.made)} attempts failed"
        return f"{count}: {told(self.made)}"


def told(made: list[Attempt]) -> str:
    """Attempts in words, for an error."""
    return "; ".join(f"{attempt.address} ({attempt.node.id}): {attempt.detail}" for attempt in made)
