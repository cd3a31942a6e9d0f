"""Spans of calls and their attempts."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from random import Random
from typing import Final

from attrs import define, field
from zope.interface import implementer

from sidecar.interfaces import ICallObserver
from sidecar.model import Attempt, Call, Caller, CallPolicy, Outcome, Reply
from sidecar.stats.tracing.parents import Parents
from sidecar.stats.tracing.spans import ISpans, Span, new_span_id
from sidecar.wire.headers import request_id
from sidecar.wire.tracing.traceparent import TraceContext, of_call

#: Calls under way that are traced.
_MOST: Final = 10_000


@implementer(ICallObserver)
@define(eq=False)
class CallTracer:
    """Records a span for each call whose trace is sampled, and one for each of its attempts."""

    _spans: ISpans
    _parents: Parents
    _random: Random
    _wall: Callable[[], float]
    _under_way: OrderedDict[int, TraceContext] = field(factory=OrderedDict, init=False)
    detailed = True

    def began(self, call: Call, caller: Caller, policy: CallPolicy) -> None:
        context = of_call(call)
        if context is not None and context.sampled:
            self._under_way[id(call)] = context
            if len(self._under_way) > _MOST:
                self._under_way.popitem(last=False)

    def attempted(self, call: Call, attempt: Attempt) -> None:
        context = self._under_way.get(id(call))
        if context is None:
            return
        end = self._wall()
        taken = (attempt.queued + attempt.connecting + attempt.waiting) / 1000
        self._spans.add(
            Span(
                f"attempt {call.service}",
                "client",
                context.trace_id,
                new_span_id(self._random),
                context.span_id,
                end - taken,
                end,
                {
                    "server.address": attempt.node.address,
                    "server.port": attempt.node.port,
                    "micro.node": attempt.node.id,
                    "micro.outcome": attempt.outcome.value,
                    "micro.queued_ms": attempt.queued,
                    "micro.connecting_ms": attempt.connecting,
                    "micro.next": attempt.next,
                },
                None if attempt.outcome is Outcome.ANSWERED else attempt.detail or attempt.outcome.value,
            )
        )

    def ended(
        self, call: Call, outcome: Outcome, error: BaseException | None, seconds: float, reply: Reply | None
    ) -> None:
        context = self._under_way.pop(id(call), None)
        if context is None:
            return
        end = self._wall()
        told: str | None = None
        if outcome is not Outcome.ANSWERED:
            told = str(error) if error is not None else outcome.value
        self._spans.add(
            Span(
                f"call {call.service} {call.method}",
                "client",
                context.trace_id,
                context.span_id,
                self._parents.take(context.span_id),
                end - seconds,
                end,
                {
                    "rpc.system": "go-micro",
                    "rpc.service": call.service,
                    "rpc.method": call.method,
                    "micro.outcome": outcome.value,
                    "micro.request_id": request_id(call),
                },
                told,
            )
        )
