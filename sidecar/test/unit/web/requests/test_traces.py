"""Traces are taken from callers, or begun."""

from __future__ import annotations

from random import Random
from types import SimpleNamespace
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from sidecar.model import Call
from sidecar.web.requests import traces
from sidecar.web.requests.traces import Traces
from sidecar.wire.tracing.traceparent import TraceContext, parse

GIVEN = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


class Child(Traces):
    """Continues traces with spans of its own."""

    def taken(self, given: TraceContext) -> TraceContext:
        return TraceContext(given.trace_id, "00000000000000aa", given.flags)


class Tracing(SynchronousTestCase):
    def request(self, given: str | None = None, kind: type[Traces] = Traces) -> Any:
        fields = {} if given is None else {b"traceparent": given.encode()}
        channel = SimpleNamespace(site=SimpleNamespace(traces=kind(Random(1))))
        return SimpleNamespace(fields=fields, channel=channel, call=None)

    def test_begun(self) -> None:
        """Each request without a trace begins one of its own, sampled, by the standard's form."""
        request = self.request()
        found = [traces.lines(request, {"X-A": "b"}) for _ in range(2)]
        self.assertEqual([forwarded for forwarded, _ in found], [{"X-A": "b"}] * 2)
        parsed = [parse(line.decode().removeprefix("Traceparent: ").removesuffix("\r\n")) for _, line in found]
        assert parsed[0] is not None
        assert parsed[1] is not None
        self.assertNotEqual(parsed[0].trace_id, parsed[1].trace_id)
        self.assertTrue(parsed[0].sampled)
        self.assertIsNotNone(parse(traces.of_request(request)))

    def test_taken(self) -> None:
        """A caller's trace goes along as it came, with its state."""
        forwarded = {"Traceparent": GIVEN, "Tracestate": "a=b"}
        self.assertEqual(traces.lines(self.request(GIVEN), forwarded), (forwarded, b""))
        self.assertEqual(traces.of_request(self.request(GIVEN)), GIVEN)

    def test_continued(self) -> None:
        """Where spans are recorded here, nodes hear of ours; the state stays."""
        found, line = traces.lines(self.request(GIVEN, Child), {"Traceparent": GIVEN, "Tracestate": "a=b"})
        self.assertEqual(found, {"Tracestate": "a=b"})
        self.assertEqual(line, b"Traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00000000000000aa-01\r\n")

    def test_malformed(self) -> None:
        """What is no trace begins one, and neither it nor the state that came with it goes along."""
        found, line = traces.lines(self.request("00-1-2-3"), {"Traceparent": "00-1-2-3", "Tracestate": "a=b", "X": "y"})
        self.assertEqual(found, {"X": "y"})
        self.assertTrue(line.startswith(b"Traceparent: 00-"))

    def test_told(self) -> None:
        """Log lines tell the trace of the call, else the caller's."""
        request = self.request(GIVEN)
        self.assertEqual(traces.trace_id(request), "4bf92f3577b34da6a3ce929d0e0e4736")
        request.call = Call("a", "b", metadata={"Traceparent": GIVEN.replace("4bf9", "aaaa")})
        self.assertEqual(traces.trace_id(request), "aaaa2f3577b34da6a3ce929d0e0e4736")
        self.assertEqual(traces.trace_id(self.request()), "")
