"""Which of a caller's headers go along."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sidecar.errors import BadRequest
from sidecar.wire import headers

#: What must never reach a service as metadata.
STRIPPED = (
    "Content-Type",
    "Content-Length",
    "Content-Encoding",
    "Transfer-Encoding",
    "Connection",
    "Keep-Alive",
    "Upgrade",
    "TE",
    "Trailer",
    "Expect",
    "Host",
    "Timeout",
    "Accept",
    "Accept-Encoding",
    "Accept-Language",
    "Cookie",
    "Proxy-Authorization",
    "Proxy-Connection",
    *(
        prefix + name
        for prefix in ("Micro-", "X-Micro-")
        for name in ("Topic", "Target", "Protocol", "Error", "Stream", "Id", "Service", "Method", "Endpoint")
    ),
)
PASSED = (
    "Authorization",
    "X-Foo",
    "User-Agent",
    "X-Request-Id",
    "Micro-From-Service",
    "X-Forwarded-For",
    "Traceparent",
)


def metadata(*pairs: tuple[bytes, bytes]) -> dict[str, str]:
    return dict(headers.sort(pairs)[0])


class Forwarding(SynchronousTestCase):
    def test_strip_list(self) -> None:
        """Names that would disturb the wire stay here, in whatever case they are written."""
        for name in STRIPPED:
            for written in (name, name.lower(), name.upper()):
                self.assertEqual(metadata((written.encode(), b"x")), {}, written)
                self.assertEqual(headers.block({written: "x"}), b"", written)

    def test_passed(self) -> None:
        """Everything else goes along, under the name in Go's case."""
        for name in PASSED:
            self.assertEqual(metadata((name.lower().encode(), b"some value")), {name: "some value"})

    def test_repeated(self) -> None:
        """A repeated header is joined, since services read only the first."""
        self.assertEqual(metadata((b"X-Foo", b"a"), (b"x-foo", b"b")), {"X-Foo": "a, b"})

    def test_hop_by_hop(self) -> None:
        """What Connection names is for this hop alone."""
        pairs = ((b"Connection", b"keep-alive, X-Hop"), (b"X-Hop", b"1"), (b"X-Foo", b"2"))
        self.assertEqual(metadata(*pairs), {"X-Foo": "2"})

    @given(st.binary(max_size=30).filter(lambda value: not set(value) & {*range(32), 127} and value == value.strip()))
    @settings(deadline=None)
    def test_values_stay(self, value: bytes) -> None:
        """The value that goes out is the value that came in, UTF-8 or not."""
        self.assertEqual(headers.block(metadata((b"X-Foo", value))), b"X-Foo: " + value + b"\r\n")

    def test_no_injection(self) -> None:
        """No value makes a second header, and no name does."""
        for value in ("a\r\nMicro-Topic: x", "a\nb", "a\rb", "a\0b"):
            self.assertRaises(BadRequest, headers.block, {"X-Foo": value})
        for name in ("X-Foo: a\r\nX", "X Foo", "", "X:Foo"):
            self.assertEqual(headers.block({name: "x"}), b"", name)
        self.assertRaises(BadRequest, headers.block, {"X-Foo": "\ud812"})
