"""Messages in the forms in which they travel."""

from __future__ import annotations

import json
from base64 import b64encode

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sidecar.errors import BadRequest
from sidecar.model import Message
from sidecar.wire import messages
from sidecar.wire.ws.frames import BINARY, TEXT

HEADERS = st.dictionaries(st.text(max_size=20), st.text(max_size=20), max_size=5)


def unframed(frame: bytes) -> tuple[int, bytes]:
    """A server's frame apart: opcode and payload."""
    assert frame[0] & 0xF0 == 0x80
    assert frame[1] < 126, "the test's messages are short"
    assert len(frame) == 2 + frame[1]
    return frame[0] & 0x0F, frame[2:]


def as_format(name: str, body: bytes) -> tuple[int, bytes]:
    return unframed(messages.FORMATS[name](Message({}, body)))


class BetweenBrokers(SynchronousTestCase):
    @settings(deadline=None)
    @given(HEADERS, st.binary(max_size=300))
    def test_round_trip(self, header: dict[str, str], body: bytes) -> None:
        """What was encoded is decoded to the same message."""
        message = Message(header, body)
        self.assertEqual(messages.decode(messages.encode(message)), message)

    def test_recorded(self) -> None:
        """The bytes that go-micro services put on NATS."""
        wire = b'{"Header":{"Content-Type":"application/json"},"Body":"eyJhIjoxfQ=="}'
        message = Message({"Content-Type": "application/json"}, b'{"a":1}')
        self.assertEqual(messages.decode(wire), message)
        self.assertEqual(messages.encode(message), wire)

    def test_lenient(self) -> None:
        """Keys in any case; null and absent are empty; what else is there does not matter."""
        for wire in (b"{}", b'{"Header":null,"Body":null}', b'{"header":{},"BODY":"","Other":[1]}'):
            self.assertEqual(messages.decode(wire), Message({}, b""))

    def test_strict(self) -> None:
        """What is no message is refused with the name of the field."""
        for wire, what in (
            (b"", "not JSON"),
            (b"[]", "object"),
            (b'{"Header":[]}', "Header"),
            (b'{"Header":{"a":1}}', "Header.a"),
            (b'{"Body":1}', "Body"),
            (b'{"Body":"%%%"}', "Body"),
            (b'{"Body":"YQ"}', "Body"),
            (b'{"Body":"\xff"}', "not JSON"),
            (b"[" * 5000, "not JSON"),
        ):
            with self.assertRaises(BadRequest, msg=repr(wire)) as caught:
                messages.decode(wire)
            self.assertIn(what, str(caught.exception))

    def test_text_that_is_not_unicode(self) -> None:
        """A header that cannot be written as it is does not cost anybody the message."""
        wire = messages.encode(Message({"a": "\ud800"}, b"x"))
        self.assertEqual(messages.decode(wire), Message({"a": "?"}, b"x"))


class ContentTypes(SynchronousTestCase):
    def test_of_a_body(self) -> None:
        """JSON is told from text, and text from bytes."""
        for body, kind in (
            (b'{"a":1}', "application/json"),
            (b" [1]", "application/json"),
            (b"42", "application/json"),
            (b"true", "application/json"),
            (b"hello world", "text/plain"),
            (b"{not json", "text/plain"),
            ("größe".encode(), "text/plain"),
            (b"", "text/plain"),
            (b"\xff\xfe", "application/octet-stream"),
            (b'{"\xff":1}', "application/octet-stream"),
        ):
            self.assertEqual(messages.content_type(body), kind, body)

    def test_stated(self) -> None:
        """A publisher's own word counts, unless its HTTP client put it there for any body."""
        for value, stated in (
            (None, None),
            (b"application/x-www-form-urlencoded", None),
            (b"Application/X-WWW-Form-Urlencoded; charset=utf-8", None),
            (b"multipart/form-data; boundary=x", None),
            (b"", None),
            (b"application/protobuf", "application/protobuf"),
            (b" text/csv ", "text/csv"),
        ):
            self.assertEqual(messages.stated_type(value), stated, value)


class Published(SynchronousTestCase):
    def header(self, *pairs: tuple[bytes, bytes], body: bytes = b"{}") -> dict[str, str]:
        return messages.header(pairs, "news", "id-1", body)

    def test_universal(self) -> None:
        """Each message has the headers by which services of any generation find its handler and its codec."""
        self.assertEqual(self.header(), {"Content-Type": "application/json", "Micro-Topic": "news", "Micro-Id": "id-1"})

    def test_what_goes_along(self) -> None:
        """Headers that speak of the message go along, repeated ones joined; the publisher's type is kept."""
        got = self.header(
            (b"content-type", b"application/protobuf"),
            (b"X-Tenant", b"a"),
            (b"X-Tenant", b"b"),
            (b"Micro-From-Service", b"shop"),
            (b"traceparent", b"00-1-2-01"),
        )
        self.assertEqual(
            got,
            {
                "Content-Type": "application/protobuf",
                "X-Tenant": "a, b",
                "Micro-From-Service": "shop",
                "traceparent": "00-1-2-01",
                "Micro-Topic": "news",
                "Micro-Id": "id-1",
            },
        )

    def test_what_stays(self) -> None:
        """Secrets stay, and whatever speaks of the connection; nobody steers go-micro by a header."""
        for names in (
            ("Authorization", "Proxy-Authorization", "Cookie", "Set-Cookie", "X-Api-Key", "X-Auth-Token"),
            ("X-CSRF-Token", "X-Session-Id", "X-Amz-Security-Token"),
            ("Host", "User-Agent", "Accept", "Connection", "Content-Length", "Origin", "Referer"),
            ("X-Forwarded-For", "X-Real-IP"),
            ("Micro-Topic", "Micro-Id", "Micro-Error", "X-Micro-Topic", "MICRO-STREAM"),
        ):
            got = self.header(*((name.encode(), b"secret") for name in names))
            self.assertNotIn("secret", got.values())


class Foreign(SynchronousTestCase):
    """What others publish on a broker that go-micro uses too."""

    def test_envelopes(self) -> None:
        """go-micro's envelope is one in any case of its keys, behind a byte order mark, and with Data in it."""
        for data in (b'{"Header":{"A":"b"},"Body":"eA=="}', b'{"header":{"A":"b"},"body":"eA==","Data":"eA=="}'):
            for before in (b"", b"\xef\xbb\xbf"):
                self.assertEqual(messages.decode_any(before + data, "t"), Message({"A": "b"}, b"x"))

    def test_own_bytes(self) -> None:
        """Anything else is a message of its own bytes, which says what they look like."""
        for data, kind in (
            (b'{"orderId":42}', "application/json"),
            (b'{"body":"dGV4dA==","title":"x"}', "application/json"),
            (b"{}", "application/json"),
            (b"plain words", "text/plain"),
            (b"\xff\x00", "application/octet-stream"),
        ):
            expected = Message({"Content-Type": kind, "Micro-Topic": "t"}, data)
            self.assertEqual(messages.decode_any(data, "t"), expected)

    def test_byte_order_mark(self) -> None:
        """JSON behind one is JSON, and a subscriber who asked for JSON gets it without."""
        body = b'\xef\xbb\xbf{"a":1}'
        self.assertEqual(messages.content_type(body), "application/json")
        self.assertEqual(as_format("json", body), (TEXT, b'{"a":1}'))
        self.assertEqual(as_format("raw", body), (BINARY, body))


class ForSubscribers(SynchronousTestCase):
    def test_envelope(self) -> None:
        """Body and Data are the same base64."""
        opcode, payload = unframed(messages.FORMATS[""](Message({"A": "b"}, b"\xff\x00")))
        self.assertEqual(opcode, TEXT)
        coded = b64encode(b"\xff\x00").decode()
        self.assertEqual(json.loads(payload), {"Header": {"A": "b"}, "Body": coded, "Data": coded})

    def test_text(self) -> None:
        """The bare body in a text frame, or in a binary frame where no text frame could hold it."""
        self.assertEqual(as_format("text", b"hi"), (TEXT, b"hi"))
        self.assertEqual(as_format("text", b"\xff"), (BINARY, b"\xff"))

    def test_raw(self) -> None:
        """The bare body in a binary frame."""
        self.assertEqual(as_format("raw", b"hi"), (BINARY, b"hi"))
        self.assertEqual(as_format("raw", b""), (BINARY, b""))

    def test_json(self) -> None:
        """Always JSON: JSON as it came, anything else as a JSON string."""
        for body, text in (
            (b'{"n":12345678901234567890.10}', b'{"n":12345678901234567890.10}'),
            (b'say "hi"', rb'"say \"hi\""'),
            (b"", b'""'),
            (b"\xff\xfe", b'"//4="'),
        ):
            self.assertEqual(as_format("json", body), (TEXT, text))
            json.loads(text)
