"""Bodies of calls by path."""

from __future__ import annotations

import json

from twisted.trial.unittest import SynchronousTestCase

from sidecar.errors import BadRequest, UnsupportedMedia
from sidecar.wire.gateway import payload
from sidecar.wire.gateway.mapping import PathTarget

TARGET = PathTarget("ns.greeter", "greeter", "Say.Hello")
FORM = b"application/x-www-form-urlencoded"


class PayloadTests(SynchronousTestCase):
    def request(self, body: bytes, content_type: bytes = b"application/json") -> bytes:
        return payload.read(TARGET, body, {b"content-type": content_type})[0].request

    def test_json_passes_as_it_is(self) -> None:
        """Byte for byte, numbers of any size too; nothing at all is an empty object."""
        for body in (b'{"id":9223372036854775807, "x": 1.10}', b"[1]", b'"text"', b"null"):
            for kind in (b"application/json", b"application/json; charset=utf-8", b"text/json", b""):
                self.assertEqual(self.request(body, kind), body, kind)
        for kind in (b"application/json", b""):
            self.assertEqual(self.request(b"", kind), b"{}")
        self.assertEqual(self.request(b'\xef\xbb\xbf{"a":1}'), b'{"a":1}')
        self.assertIn("invalid JSON", str(self.assertRaises(BadRequest, self.request, b"{nope")))

    def test_forms(self) -> None:
        """Fields become string members, repeated ones arrays."""
        for body, meant in (
            (b"name=John", {"name": "John"}),
            (b"a=1&b=x+y%26z&a=2&a=3", {"a": ["1", "2", "3"], "b": "x y&z"}),
            (b"flag&empty=", {"flag": "", "empty": ""}),
            ("n=Zoë".encode(), {"n": "Zoë"}),
            (b"", {}),
        ):
            self.assertEqual(json.loads(self.request(body, FORM)), meant, body)
        for wrong in (b"a=%ff", b"&".join([b"a=1"] * 1001)):
            self.assertRaises(BadRequest, self.request, wrong, FORM)

    def test_curl_calls_json_a_form(self) -> None:
        """An object that says it is a form is an object."""
        self.assertEqual(self.request(b'{"name":"John"}', FORM), b'{"name":"John"}')

    def test_protobuf(self) -> None:
        """Raw both ways; the answer's type echoes the request's."""
        for kind in (b"application/protobuf", b"application/proto", b"application/x-protobuf"):
            call, _, answer = payload.read(TARGET, b"\x0a\x01x", {b"content-type": kind})
            self.assertEqual((call.request, call.content_type), (b"\x0a\x01x", "application/protobuf"))
            self.assertEqual(answer, kind.decode())

    def test_other_types(self) -> None:
        """Are told so."""
        self.assertRaises(UnsupportedMedia, self.request, b"<a/>", b"text/xml")

    def test_query_and_timeout(self) -> None:
        """Version, address and timeout can stand in the query; of two timeouts the shorter counts."""
        call, timeout, _ = payload.read(
            TARGET, b"{}", {b"timeout": b"2s"}, {"X-A": "b"}, b"version=1&address=h:1&timeout=1s&explain=1"
        )
        self.assertEqual((call.version, call.address, timeout, call.metadata), ("1", "h:1", 1.0, {"X-A": "b"}))
        self.assertEqual((call.service, call.method), ("ns.greeter", "Say.Hello"))
