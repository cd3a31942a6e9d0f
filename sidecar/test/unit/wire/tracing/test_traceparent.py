"""The trace context is read as the standard says."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sidecar.model import Call
from sidecar.wire.tracing.traceparent import TraceContext, of_call, parse, trace_id

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


class Parsing(SynchronousTestCase):
    def test_read(self) -> None:
        """Trace, span and flags; a version of later may say more behind."""
        self.assertEqual(parse(f"00-{TRACE}-{SPAN}-01"), TraceContext(TRACE, SPAN, "01"))
        self.assertEqual(parse(f" cc-{TRACE}-{SPAN}-01-what-comes-later "), TraceContext(TRACE, SPAN, "01"))
        for flags, sampled in (("00", False), ("01", True), ("02", False), ("03", True)):
            found = parse(f"00-{TRACE}-{SPAN}-{flags}")
            assert found is not None
            self.assertEqual((found.sampled, str(found)), (sampled, f"00-{TRACE}-{SPAN}-{flags}"))

    def test_not_read(self) -> None:
        """What is not by the standard is as if nothing was said."""
        for text in (
            "",
            f"ff-{TRACE}-{SPAN}-01",
            f"00-{TRACE}-{SPAN}-01-more",
            f"00-{TRACE}-{SPAN}-1",
            f"00-{TRACE.upper()}-{SPAN}-01",
            f"00-{'0' * 32}-{SPAN}-01",
            f"00-{TRACE}-{'0' * 16}-01",
            f"00-{TRACE}-{SPAN}-01, 00-{TRACE}-{SPAN}-01",
        ):
            self.assertIsNone(parse(text), text)

    def test_of_a_call(self) -> None:
        """It is found among the headers that callers gave and among those that were added here."""
        line = f"00-{TRACE}-{SPAN}-01"
        self.assertEqual(trace_id(Call("a", "b", lines=b"Traceparent: %b\r\n" % line.encode())), TRACE)
        self.assertEqual(trace_id(Call("a", "b", metadata={"Traceparent": line})), TRACE)
        self.assertEqual((trace_id(Call("a", "b")), trace_id(None), of_call(Call("a", "b"))), ("", "", None))
