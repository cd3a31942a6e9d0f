"""Bodies of POST /rpc, good and hostile."""

from __future__ import annotations

import json
from urllib.parse import urlencode

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sidecar.errors import BadRequest, CallerError, UnsupportedMedia
from sidecar.model import Call
from sidecar.wire import rpc

FORM = b"application/x-www-form-urlencoded"
JSON = b"application/json"


def read(body: bytes, content_type: bytes = JSON, query: bytes = b"", **headers: bytes) -> tuple[Call, float | None]:
    fields = {name.replace("_", "-").encode(): value for name, value in headers.items()}
    if content_type:
        fields[b"content-type"] = content_type
    return rpc.read(body, fields, query=query)


def parts(body: bytes, content_type: bytes = JSON, query: bytes = b"") -> tuple[str, str, bytes]:
    call, _ = read(body, content_type, query)
    return call.service, call.method, call.request


HELLO = ("foo", "Say.Hello", b'{"name":"John"}')

#: Ways to say the same.
SAME: tuple[tuple[bytes, bytes], ...] = (
    (JSON, b'{"service":"foo","method":"Say.Hello","request":{"name":"John"}}'),
    (JSON, b' {"service": "foo", "method": "Say.Hello", "request": {"name":"John"}} \r\n'),
    (JSON, b'{"Service":"foo","Method":"Say.Hello","Request":{"name":"John"}}'),
    (JSON, b'{"SERVICE":"foo","mEthod":"Say.Hello","REQUEST":{"name":"John"}}'),
    (JSON, b'{"request":{"name":"John"},"method":"Say.Hello","service":"foo","more":[1,{}]}'),
    (JSON, b'{"service":"foo","method":"Say.Hello","request":{"name":"John"},"address":""}'),
    (JSON, b'{"service":"f\\u006fo","method":"Say.Hello","request":{"name":"John"}}'),
    (JSON, b'{"service":"foo","method":"Say.Hello","request":"{\\"name\\":\\"John\\"}"}'),
    (JSON, b'{"service":"foo","method":"Say.Hello","request":" {\\"name\\":\\"John\\"}\\n"}'),
    (
        JSON,
        b'{"service":"no","method":"No.No","request":1,"request":{"name":"John"},"method":"Say.Hello","service":"foo"}',
    ),
    (JSON, b'\xef\xbb\xbf{"service":"foo","method":"Say.Hello","request":{"name":"John"}}'),
    (b"application/json; charset=utf-8", b'{"service":"foo","method":"Say.Hello","request":{"name":"John"}}'),
    (b"Application/JSON", b'{"service":"foo","method":"Say.Hello","request":{"name":"John"}}'),
    (b"application/vnd.api+json", b'{"service":"foo","method":"Say.Hello","request":{"name":"John"}}'),
    (b"", b'{"service":"foo","method":"Say.Hello","request":{"name":"John"}}'),
    (FORM, b'{"service":"foo","method":"Say.Hello","request":{"name":"John"}}'),
    (FORM, b' \n{"service":"foo","method":"Say.Hello","request":{"name":"John"}}'),
    (FORM, b'service=foo&method=Say.Hello&request={"name":"John"}'),
    (FORM, b'method=Say.Hello&request={"name":"John"}&service=foo&other=1'),
    (FORM, b'service=foo&method=Say.Hello&request=+{"name":"John"}%20&'),
    (FORM, b"service=foo&method=Say%2EHello&request=%7B%22name%22%3A%22John%22%7D"),
    (FORM, b'service=foo&service=bar&method=Say.Hello&request={"name":"John"}'),
    (FORM + b"; charset=UTF-8", b'service=foo&method=Say.Hello&request={"name":"John"}'),
    (b"", b'service=foo&method=Say.Hello&request={"name":"John"}'),
)

#: Bodies and the detail that refuses them (its beginning, where it goes on with a position).
REFUSED: tuple[tuple[bytes, bytes, str], ...] = (
    (JSON, b"{}", "invalid service"),
    (JSON, b"null", "invalid JSON"),
    (JSON, b"[]", "invalid JSON"),
    (JSON, b'"x"', "invalid JSON"),
    (JSON, b"", "invalid JSON: EOF"),
    (JSON, b"{", "invalid JSON"),
    (JSON, b'{"service":"foo"', "invalid JSON"),
    (JSON, b'{"service":"foo","method":"Say.Hello","request":{}} x', "invalid JSON"),
    (JSON, b'{"service":"foo","method":"Say.Hello","request":{"a":}}', "invalid JSON"),
    (JSON, b'{"service":"foo","method":"Say.Hello","request":[NaN]}', "invalid JSON"),
    (JSON, b'{"service":"foo","method":"Say.Hello","request":"\xff"}', "invalid JSON: not UTF-8"),
    (JSON, b'{"service":"foo","method":"Say.Hello","request":' + b"[" * 50_000, "invalid JSON"),
    (JSON, b"[" * 100_000, "invalid JSON"),
    (JSON, b'{"service":null,"method":"Say.Hello"}', "invalid service"),
    (JSON, b'{"service":"","method":"Say.Hello"}', "invalid service"),
    (JSON, b'{"service":"  ","method":"Say.Hello"}', "invalid service"),
    (JSON, b'{"service":"foo"}', "invalid method"),
    (JSON, b'{"service":"foo","method":""}', "invalid method"),
    (JSON, b'{"method":"Say.Hello","request":"{"}', "invalid service"),
    (JSON, b'{"service":5,"method":"Say.Hello"}', "invalid service: a string is expected, not a number"),
    (JSON, b'{"service":["foo"],"method":"Say.Hello"}', "invalid service: a string is expected, not an array"),
    (JSON, b'{"service":"foo","method":{}}', "invalid method: a string is expected, not an object"),
    (JSON, b'{"service":"foo","method":true}', "invalid method: a string is expected, not true"),
    (JSON, b'{"service":"foo\\r\\nMicro-Topic: x","method":"Say.Hello"}', "invalid service: holds a control character"),
    (JSON, b'{"service":"foo","method":"Say\\u0000"}', "invalid method: holds a control character"),
    (JSON, b'{"service":"\\ud800","method":"Say.Hello"}', "invalid service: holds a control character"),
    (JSON, b'{"service":"' + b"x" * 1025 + b'","method":"Say.Hello"}', "invalid service: longer than 1024"),
    (JSON, b'{"service":"foo","method":"Say.Hello","address":1}', "invalid address: a string is expected"),
    (JSON, b'{"service":"foo","method":"Say.Hello","request":"{"}', "error decoding request string: "),
    (JSON, b'{"service":"foo","method":"Say.Hello","request":""}', "error decoding request string: EOF"),
    (JSON, b'{"service":"foo","method":"Say.Hello","request":"John"}', "error decoding request string: "),
    (JSON, b'{"service":"foo","method":"Say.Hello","request":"{} {}"}', "error decoding request string: "),
    (JSON, b'{"service":"foo","method":"Say.Hello","request":"\\ud800"}', "error decoding request string: "),
    (JSON, b'{"service":"foo","method":"Say.Hello","timeout":"soon"}', "invalid timeout: "),
    (JSON, b'{"service":"foo","method":"Say.Hello","timeout":-1}', "invalid timeout: "),
    (JSON, b'{"service":"foo","method":"Say.Hello","timeout":0}', "invalid timeout: "),
    (JSON, b'{"service":"foo","method":"Say.Hello","timeout":"-5s"}', "invalid timeout: "),
    (JSON, b'{"service":"foo","method":"Say.Hello","timeout":1e999}', "invalid timeout: "),
    (JSON, b'{"service":"foo","method":"Say.Hello","timeout":{}}', "invalid timeout: "),
    (JSON, b'{"service":"foo","method":"Say.Hello","timeout":"NaN"}', "invalid timeout: "),
    (FORM, b"", "invalid service"),
    (FORM, b"method=Say.Hello&request={}", "invalid service"),
    (FORM, b"service=foo&request={}", "invalid method"),
    (FORM, b"service=foo&method=Say.Hello", "error decoding request string: EOF"),
    (FORM, b"service=foo&method=Say.Hello&request=", "error decoding request string: EOF"),
    (FORM, b"service=foo&method=Say.Hello&request=nope", "error decoding request string: "),
    (FORM, b"service=foo&method=Say.Hello&request=%22%FF%22", "error decoding request string: not UTF-8"),
    (FORM, b"service=%FF&method=Say.Hello&request={}", "invalid service: not UTF-8"),
    (FORM, b"service=foo%0d%0aX&method=Say.Hello&request={}", "invalid service: holds a control character"),
    (FORM, b"service=foo&method=Say.Hello&request={}&timeout=1y", "invalid timeout: "),
    (FORM, b"&" * 1_000_000, "the form has more than 64 fields"),
    (b"text/plain", b"{}", "Content-Type text/plain is not read here"),
    (b"multipart/form-data; boundary=x", b"--x--", "Content-Type multipart/form-data is not read here"),
    (b"application/json\x01, x", b"{}", "Content-Type application/json?"),
)


class Reading(SynchronousTestCase):
    def test_same(self) -> None:
        """Form and JSON, keys in any case, values and strings that hold JSON: all say the same call."""
        for content_type, body in SAME:
            self.assertEqual(parts(body, content_type), HELLO, (content_type, body))

    def test_no_request(self) -> None:
        """JSON without a request, as the command line's health sends it, asks with an empty object; null stays null."""
        self.assertEqual(parts(b'{"service":"foo","method":"Debug.Health"}')[2], b"{}")
        self.assertEqual(parts(b'{"service":"foo","method":"Debug.Health","request":null}')[2], b"null")

    def test_address(self) -> None:
        """The address is read from both."""
        for body, kind in (
            (b'{"service":"foo","method":"A.B","address":"h:1"}', JSON),
            (b"service=foo&method=A.B&request={}&address=h%3A1", FORM),
        ):
            self.assertEqual(read(body, kind)[0].address, "h:1")

    def test_query(self) -> None:
        """What the body leaves out is looked for in the query; what the body says counts more."""
        self.assertEqual(parts(b'{"request":{"name":"John"}}', JSON, b"service=foo&method=Say.Hello"), HELLO)
        self.assertEqual(parts(b'request={"name":"John"}&service=foo', FORM, b"service=x&method=Say.Hello"), HELLO)

    def test_payload_alone(self) -> None:
        """Where the query names service and method, a JSON body that is no call of its own is the request itself."""
        where = b"service=foo&method=Say.Hello"
        for body in (
            b'{"x":1}',
            b"{}",
            b'{"name":"John"}',
            b'{"params":[1],"data":2,"reqest":3}',
            b'{"service":"other"}',
            b'{"timeout":"1s"}',
            b'{"request":{"a":1},"more":2}',
            b'{"request":{"a":1},"reqest":2}',
            b"[1,2]",
            b"7",
            b'"text"',
            b"null",
            b"{" + b",".join(b'"k%d":%d' % (n, n) for n in range(1500)) + b"}",
        ):
            self.assertEqual(parts(body, JSON, where), ("foo", "Say.Hello", body), body[:80])
            self.assertEqual(parts(b"\xef\xbb\xbf " + body + b"\n", JSON, where), ("foo", "Say.Hello", body))
            self.assertEqual(parts(body, FORM, where), ("foo", "Say.Hello", body), "curl claims a form")
            self.assertEqual(parts(body, b"", where), ("foo", "Say.Hello", body))
        call, timeout = read(b'{"x":1}', JSON, where + b"&address=h:1&timeout=2s&version=1.0")
        self.assertEqual((call.address, timeout, call.version, call.request), ("h:1", 2.0, "1.0", b'{"x":1}'))

    def test_large(self) -> None:
        """A large body is read as a small one is, whatever comes first in it and whatever else it holds."""
        payload = b"[" + b"1," * 100_000 + b"1]"
        call = (b'"service":"foo"', b'"method":"Say.Hello"')
        for parts_of in (
            (b'"request":' + payload, *call),
            (*call, b'"request":' + payload),
            (b'"Request":' + payload, *call),
            (b'"request":' + payload, *call, b'"id":1'),
        ):
            self.assertEqual(parts(b"{" + b",".join(parts_of) + b"}"), ("foo", "Say.Hello", payload), parts_of[0][:20])
        where = b"service=foo&method=Say.Hello"
        for body in (payload, b'{"a":' + payload + b"}", b'{"request":1,"a":' + payload + b"}"):
            self.assertEqual(parts(body, JSON, where), ("foo", "Say.Hello", body), body[:20])
        self.assertEqual(parts(b'{"request":' + payload + b"}", JSON, where), ("foo", "Say.Hello", payload))
        for broken in (payload[:-1], b'{"request":' + payload, b'{"request":"\xff' + payload + b'"}'):
            self.assertRaises(BadRequest, read, broken, JSON, where)
            self.assertRaises(BadRequest, read, broken, JSON)

    def test_own_members(self) -> None:
        """With a request and nothing that is not ours it is read as ever, and counts more than the query."""
        where = b"service=foo&method=Say.Hello"
        self.assertEqual(parts(b'{"request":{"name":"John"}}', JSON, where), HELLO)
        self.assertEqual(parts(b'{"Request":{"name":"John"},"service":"bar"}', JSON, where), ("bar", *HELLO[1:]))
        self.assertEqual(parts(b'request={"name":"John"}', FORM, where), HELLO)
        self.assertEqual(read(b'{"request":1,"version":"2"}', JSON, where)[0].version, "2")

    def test_version(self) -> None:
        """The version is read from both, and from the query."""
        for body, kind, query in (
            (b'{"service":"foo","method":"A.B","version":"1.0","request":{}}', JSON, b""),
            (b"service=foo&method=A.B&request={}&version=1.0", FORM, b""),
            (b'{"service":"foo","method":"A.B","request":{}}', JSON, b"version=1.0"),
            (b"\x08\x01", b"application/protobuf", b"service=foo&method=A.B&version=1.0"),
        ):
            self.assertEqual(read(body, kind, query)[0].version, "1.0")
        self.assertIsNone(read(b"service=foo&method=A.B&request={}&version=", FORM)[0].version)

    def test_byte_order_mark(self) -> None:
        """It may stand before any JSON, and never gets into the payload."""
        mark = b"\xef\xbb\xbf"
        call = b'{"service":"foo","method":"Say.Hello","request":{"name":"John"}}'
        for kind in (JSON, FORM, b"", b"text/json"):
            self.assertEqual(parts(mark + call, kind), HELLO)
        self.assertEqual(parts(b'service=foo&method=Say.Hello&request=%EF%BB%BF{"name":"John"}', FORM), HELLO)
        held = json.dumps({"service": "foo", "method": "Say.Hello", "request": '\ufeff{"name":"John"}'}).encode()
        self.assertEqual(parts(held), HELLO)

    def test_exact(self) -> None:
        """The payload is the caller's bytes: 64-bit integers, long decimals, whitespace and escapes."""
        for payload in (
            b'{"n":9223372036854775807,"u":18446744073709551615}',
            b'{"d":0.1234567890123456789012345678901234567890}',
            b"[1.0, 1.10,  1e999,-0.0]",
            b'{"s":"\\u00e9\\ud83d\\ude00\\/"}',
            '{"s":"é😀"}'.encode(),
            b"null",
            b"12345678901234567890123456789012345678901234567890",
        ):
            self.assertEqual(parts(b'{"service":"foo","method":"A.B","request":' + payload + b"}")[2], payload)
            form = urlencode({"service": "foo", "method": "A.B", "request": payload}).encode()
            self.assertEqual(parts(form, FORM)[2], payload)
            held = json.dumps({"service": "foo", "method": "A.B", "request": payload.decode()}).encode()
            self.assertEqual(parts(held)[2], payload)

    @given(
        st.recursive(
            st.none() | st.integers() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
        )
    )
    @settings(deadline=None, max_examples=150)
    def test_round_trip(self, value: object) -> None:
        """Any JSON payload but a string arrives as it was written, by JSON and by form."""
        if isinstance(value, str):
            value = [value]
        for ascii in (True, False):
            payload = json.dumps(value, ensure_ascii=ascii).encode("utf-8", "replace")
            body = b'{"service":"foo","method":"A.B","request":' + payload + b"}"
            self.assertEqual(parts(body)[2], payload)
            form = urlencode({"service": "foo", "method": "A.B", "request": payload}).encode()
            self.assertEqual(parts(form, FORM)[2], payload)

    def test_no_second_value(self) -> None:
        """Members behind the request do not slip into the payload, however the body looks at its ends."""
        body = b'{"service":"foo","method":"A.B","request":{"a":1},"timeout":"1s","x":{}}'
        self.assertEqual(parts(body)[2], b'{"a":1}')
        self.assertRaises(BadRequest, read, b'{"service":"foo","method":"A.B","request":1],"params":[2}')


class Refusing(SynchronousTestCase):
    def test_refused(self) -> None:
        """Hostile and wrong bodies are the caller's fault, and the answer names what is wrong."""
        for content_type, body, detail in REFUSED:
            with self.assertRaises(CallerError) as caught:
                read(body, content_type)
            said = str(caught.exception)
            exact = detail in ("invalid service", "invalid method")
            self.assertTrue(said == detail if exact else said.startswith(detail), (content_type, body[:80], said))
            self.assertTrue(said.isprintable() and len(said) < 400, said)

    def test_lost(self) -> None:
        """What would be lost is refused, and the one that was meant is named."""
        for body, kind, query, name, meant in (
            (b'{"service":"foo","method":"A.B","params":[1]}', JSON, b"", "params", "request"),
            (b'{"service":"foo","method":"A.B","Data":{}}', JSON, b"", "Data", "request"),
            (b'{"service":"foo","method":"A.B","payload":1}', JSON, b"", "payload", "request"),
            (b'{"service":"foo","method":"A.B","reqest":{}}', JSON, b"", "reqest", "request"),
            (b'{"service":"foo","method":"A.B","request":{},"adress":"h:1"}', JSON, b"", "adress", "address"),
            (b'{"servce":"foo","method":"A.B","request":{}}', JSON, b"", "servce", "service"),
            (b"service=foo&method=A.B&args=1", FORM, b"", "args", "request"),
            (b"service=foo&method=A.B&request={}&tiemout=1s", FORM, b"", "tiemout", "timeout"),
            (b'{"service":"foo","method":"A.B","request":{}}', JSON, b"adress=h:1", "adress", "address"),
            (b"x", b"application/protobuf", b"service=foo&method=A.B&tmeout=1s", "tmeout", "timeout"),
        ):
            with self.assertRaises(BadRequest) as caught:
                read(body, kind, query)
            said = str(caught.exception)
            self.assertTrue(said.startswith(name + ": ") and meant in said, said)

    def test_ignored(self) -> None:
        """What is far from all of ours is ignored, as the original did; with a request ``params`` and ``data`` too."""
        for body, kind, query in (
            (b'{"service":"foo","method":"A.B","id":1,"jsonrpc":"2.0"}', JSON, b""),
            (b'{"service":"foo","method":"A.B","request":{},"params":1,"data":2}', JSON, b""),
            (b'{"service":"foo","method":"A.B","request":{}}', JSON, b"_=123&ts=1&data=1"),
            (b"service=foo&method=A.B&request={}&data=1&x=", FORM, b""),
        ):
            self.assertEqual(parts(body, kind, query), ("foo", "A.B", b"{}"))

    def test_media(self) -> None:
        """A content type that nobody speaks here is told apart from a bad request."""
        self.assertRaises(UnsupportedMedia, read, b"{}", b"text/plain")

    @given(st.binary(max_size=60), st.sampled_from((JSON, FORM, b"", b"application/protobuf")))
    @settings(deadline=None, max_examples=300)
    def test_noise(self, body: bytes, content_type: bytes) -> None:
        """Whatever comes, it is a call or the caller's fault."""
        try:
            read(body, content_type)
        except CallerError:
            pass


class Timeouts(SynchronousTestCase):
    BODY = b'{"service":"foo","method":"A.B"%b}'

    def test_spelled(self) -> None:
        """A Go duration or a bare number of seconds, as text or as a JSON number."""
        for text, seconds in (
            (b'"300ms"', 0.3),
            (b'"1m30s"', 90.0),
            (b'"2"', 2.0),
            (b"2", 2.0),
            (b"0.25", 0.25),
            (b'".5"', 0.5),
        ):
            self.assertEqual(read(self.BODY % (b',"timeout":' + text))[1], seconds, text)
        self.assertIsNone(read(self.BODY % b"")[1])
        self.assertEqual(read(b"service=foo&method=A.B&request={}&timeout=300ms", FORM)[1], 0.3)
        self.assertEqual(read(self.BODY % b"", query=b"timeout=300ms")[1], 0.3)

    def test_nanoseconds(self) -> None:
        """A bare number from a million up counts nanoseconds, as go-micro's own header does."""
        for text, seconds in ((b"5000000000", 5.0), (b"1000000", 0.001), (b"999999", 999999.0), (b"1500000.5", 0.0015)):
            self.assertAlmostEqual(read(self.BODY % b"", timeout=text)[1] or 0, seconds, 6)
            self.assertAlmostEqual(read(self.BODY % (b',"timeout":' + text))[1] or 0, seconds, 6)

    def test_header(self) -> None:
        """The Timeout header says the same; of the two the shorter one counts."""
        self.assertEqual(read(self.BODY % b"", timeout=b"2")[1], 2.0)
        self.assertEqual(read(self.BODY % b',"timeout":"1s"', timeout=b"300ms")[1], 0.3)
        self.assertEqual(read(self.BODY % b',"timeout":"100ms"', timeout=b"300ms")[1], 0.1)
        self.assertRaises(BadRequest, read, self.BODY % b"", timeout=b"soon")
        self.assertRaises(BadRequest, read, self.BODY % b"", timeout=b"\xff")


class Protobuf(SynchronousTestCase):
    def test_places(self) -> None:
        """Service and method of an opaque body stand in the query or in go-micro's headers."""
        body = b"\x0a\x04John\xff\x00"
        for headers, query in (
            ({}, b"service=foo&method=Say.Hello"),
            ({"micro_service": b"foo", "micro_method": b"Say.Hello"}, b""),
            ({"x_micro_service": b"foo", "x_micro_endpoint": b"Say.Hello"}, b""),
            ({"micro_endpoint": b"Say.Hello"}, b"service=foo"),
        ):
            call, _ = read(body, b"application/protobuf", query, **headers)
            self.assertEqual((call.service, call.method, call.request), ("foo", "Say.Hello", body))
            self.assertEqual(call.content_type, "application/protobuf")

    def test_nowhere(self) -> None:
        """Where they stand nowhere, the missing one is named."""
        with self.assertRaises(BadRequest) as caught:
            read(b"x", b"application/protobuf", b"method=A.B")
        self.assertEqual(str(caught.exception), "invalid service")
