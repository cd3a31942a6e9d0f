"""Shows calls as they end to whoever listens: sampled, bounded, and nothing at all while nobody does."""

from __future__ import annotations

from base64 import b64encode
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Final

from attrs import define, field, frozen
from zope.interface import implementer

from sidecar.interfaces import ICallObserver
from sidecar.model import Attempt, Call, Caller, CallPolicy, Outcome, Reply
from sidecar.net.ratelimit import TokenBuckets
from sidecar.rpc import receipts
from sidecar.rpc.client import Client
from sidecar.wire.headers import request_id
from sidecar.wire.registry.journal import date
from sidecar.wire.tracing.traceparent import trace_id

#: Calls under way of which attempts are kept, and bytes that are shown of a body.
_UNDER_WAY: Final = 10_000
MAX_BODY: Final = 4096
#: Letters of an error's words that are shown.
_LONGEST: Final = 2000


@define(eq=False)
class _Tapped:
    """A call that goes on."""

    call: Call
    caller: Caller
    policy: CallPolicy
    attempts: list[Attempt] = field(factory=list)


@frozen
class TapRequest:
    """What somebody wants to see.

    :ivar admits: whether calls of a service are shown to them. :ivar bodies: whether bodies are.
    :ivar rate: calls a second at most; failed ones have as many places of their own.
    """

    admits: Callable[[str], bool]
    bodies: bool
    rate: float


@define(eq=False)
class TapListener:
    """Somebody who listens. :ivar skipped: calls since the last one shown that there was no place for."""

    asked: TapRequest
    show: Callable[[dict[str, Any]], None]
    limits: TokenBuckets
    skipped: int = 0


@implementer(ICallObserver)
@define(eq=False)
class Tap:
    """Observes calls while somebody listens."""

    _client: Client
    _strategy: str
    _seconds: Callable[[], float]
    _wall: Callable[[], float]
    _listeners: list[TapListener] = field(factory=list, init=False)
    _under_way: OrderedDict[int, _Tapped] = field(factory=OrderedDict, init=False)
    detailed = True

    def listen(self, asked: TapRequest, show: Callable[[dict[str, Any]], None]) -> Callable[[], None]:
        """Have ``show`` told of calls. :returns: what ends that; doing it twice is no error."""
        listener = TapListener(asked, show, TokenBuckets(asked.rate, max(1, int(asked.rate))))
        if not self._listeners:
            self._client.observe(self)
        self._listeners.append(listener)

        def end() -> None:
            if listener in self._listeners:
                self._listeners.remove(listener)
                if not self._listeners:
                    self._client.unobserve(self)
                    self._under_way.clear()

        return end

    # --- ICallObserver ------------------------------------------------------------------------------------------------

    def began(self, call: Call, caller: Caller, policy: CallPolicy) -> None:
        if any(listener.asked.admits(call.service) for listener in self._listeners):
            self._under_way[id(call)] = _Tapped(call, caller, policy)
            if len(self._under_way) > _UNDER_WAY:
                self._under_way.popitem(last=False)

    def attempted(self, call: Call, attempt: Attempt) -> None:
        tapped = self._under_way.get(id(call))
        if tapped is not None:
            tapped.attempts.append(attempt)

    def ended(
        self, call: Call, outcome: Outcome, error: BaseException | None, seconds: float, reply: Reply | None
    ) -> None:
        tapped = self._under_way.pop(id(call), None)
        if tapped is None:
            return
        now = self._seconds()
        kind = "answered" if outcome is Outcome.ANSWERED else "failed"
        told: dict[str, Any] | None = None
        for listener in tuple(self._listeners):
            if not listener.asked.admits(call.service):
                continue
            if not listener.limits.admits(kind, now):
                listener.skipped += 1
                continue
            if told is None:
                told = self._told(tapped, outcome, error, seconds, reply)
            bodies = _bodies(call, reply) if listener.asked.bodies else {}
            listener.show({**told, **bodies, "skipped": listener.skipped})
            listener.skipped = 0

    def _told(
        self, tapped: _Tapped, outcome: Outcome, error: BaseException | None, seconds: float, reply: Reply | None
    ) -> dict[str, Any]:
        call, last = tapped.call, tapped.attempts[-1] if tapped.attempts else None
        identity, trace = request_id(call), trace_id(call)
        return {
            "at": date(self._wall()),
            "id": identity,
            "trace_id": trace,
            "service": call.service,
            "method": call.method,
            "caller": tapped.caller.name or tapped.caller.address,
            "node": "" if last is None else last.node.id,
            "address": "" if last is None else last.address,
            "total_ms": round(seconds * 1000, 3),
            "outcome": outcome.value,
            "error": "" if error is None else str(error)[:_LONGEST],
            "request_bytes": len(call.request),
            "reply_bytes": None if reply is None else len(reply.body),
            "receipt": receipts.told(
                identity,
                trace,
                call.service,
                call.method,
                self._strategy,
                tapped.policy.timeout,
                seconds,
                tapped.attempts,
            ),
        }


def _bodies(call: Call, reply: Reply | None) -> dict[str, Any]:
    return {"request": _shown(call.request), "reply": None if reply is None else _shown(reply.body)}


def _shown(body: bytes) -> dict[str, Any]:
    """The beginning of a body: as text where it is, else in Base64."""
    part, whole = body[:MAX_BODY], len(body) <= MAX_BODY
    try:
        text = part.decode("utf-8")
    except UnicodeDecodeError as error:
        if whole or error.start < len(part) - 3:
            return {"base64": b64encode(part).decode("ascii"), "truncated": not whole}
        text = part[: error.start].decode("utf-8")  # a letter was cut in two
    return {"text": text, "truncated": not whole}
