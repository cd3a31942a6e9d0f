"""The bytes of what servers answer of themselves."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sidecar.errors import BadRequest
from sidecar.wire.builtins import debug, grpchealth
from sidecar.wire.builtins.debug import DebugStats


class Bytes(SynchronousTestCase):
    def test_stats(self) -> None:
        """JSON by name, protobuf by number without zeroes."""
        figures = DebugStats(1795457712, 1795457705, 7, 428576, 6, 0, 3, 1)
        self.assertIn(b'"uptime":7', debug.stats(figures, True).body)
        self.assertEqual(debug.stats(figures, False).body.hex(), "08b08592d80610a98592d806180720a0941a280638034001")

    def test_grpc_health(self) -> None:
        """Who is asked about, in either form; nonsense is refused."""
        for request, is_json, name in (
            (b"", False, ""),
            (b"\x0a\x03foo", False, "foo"),
            (b'{"service":"a"}', True, "a"),
        ):
            self.assertEqual(grpchealth.asked(request, is_json), name)
        for request, is_json in ((b"\x0a\x09foo", False), (b"\x08\x01", False), (b"{", True), (b'{"service":7}', True)):
            self.assertRaises(BadRequest, grpchealth.asked, request, is_json)
        self.assertEqual(grpchealth.answer(grpchealth.NOT_SERVING, False), b"\x08\x02")
