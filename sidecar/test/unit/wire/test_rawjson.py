"""JSON is cut without being changed."""

from __future__ import annotations

import json
import sys

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sidecar.wire import rawjson

scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4)
)
writers = st.sampled_from((None, 2, "\t"))

#: What is not one JSON value.
BROKEN = (
    b"",
    b"  ",
    b"nul",
    b"-",
    b"01",
    b"1 2",
    b"+1",
    b"1.",
    b"NaN",
    b"-Infinity",
    b"[1,]",
    b'{"a":1,}',
    b'{"a" 1}',
    b"{a:1}",
    b"{'a':1}",
    b'"\n"',
    b'"\\x"',
    b'"open',
    b"\xff",
    b'"\xed\xa0\x80"',
    b"[" * 100_000,
    b'{"a":' * 100_000,
)


class Cutting(SynchronousTestCase):
    @given(st.dictionaries(st.text(), values, max_size=5), writers, st.booleans())
    @settings(deadline=None, max_examples=150)
    def test_members(self, found: dict[str, object], indent: str | int | None, ascii: bool) -> None:
        """Each member of an object comes out as JSON of the same value, whatever whitespace stands around it."""
        text = json.dumps(found, indent=indent, ensure_ascii=ascii)
        cut = rawjson.members(text.encode("utf-8", "surrogatepass") if ascii else text.encode())
        self.assertEqual({name: json.loads(value) for name, value in cut.items()}, found)

    @given(st.lists(values, max_size=5), writers)
    @settings(deadline=None, max_examples=100)
    def test_elements(self, found: list[object], indent: str | int | None) -> None:
        """So does each item of an array."""
        cut = rawjson.elements(json.dumps(found, indent=indent).encode())
        self.assertEqual([json.loads(value) for value in cut], found)

    def test_bytes_stay(self) -> None:
        """Numbers are not touched: not those of 64 bits, nor those beyond a double, nor a trailing zero."""
        numbers = (b"9007199254740993", b"18446744073709551615", b"1.10", b"1e999", b"-0.0", b"3." + b"14159265" * 9)
        body = b'{"n": [' + b" , ".join(numbers) + b"] }"
        self.assertEqual(rawjson.elements(rawjson.members(body)["n"]), list(numbers))

    def test_longest_number(self) -> None:
        """A number of a million digits costs what a string does: no conversion, so no limit of Python's is met."""
        number = b"7" * 1_000_000
        self.assertEqual(rawjson.members(b'{"n":' + number + b"}")["n"], number)
        rawjson.check(number)

    def test_last_counts(self) -> None:
        """Of a name given twice the last one counts, as in Go."""
        self.assertEqual(rawjson.members(b'{"a":1,"a":2}'), {"a": b"2"})

    def test_escapes(self) -> None:
        """Escapes stay in slices and are read in names, lone surrogates and all."""
        cut = rawjson.members(b'{"\\u0061":"\\ud800\\n"}')
        self.assertEqual(cut, {"a": b'"\\ud800\\n"'})
        self.assertEqual(rawjson.string(cut["a"]), "\ud800\n")


class Refusing(SynchronousTestCase):
    def test_broken(self) -> None:
        """What is not one JSON value is refused with a sentence, however it is broken."""
        for text in BROKEN:
            with self.assertRaises(ValueError) as caught:
                rawjson.check(text)
            self.assertTrue(str(caught.exception), text[:40])
            for cut in (rawjson.members, rawjson.elements):
                with self.assertRaises(ValueError):
                    cut(text)

    def test_bounded(self) -> None:
        """A body made of very many members costs no more than a few."""
        self.assertEqual(len(rawjson.members(b"{%b}" % b",".join(b'"%d":1' % number for number in range(1000)))), 1000)
        self.assertRaises(ValueError, rawjson.members, b"{" + b'"a":1,' * 600_000 + b'"a":1}')
        self.assertRaises(ValueError, rawjson.elements, b"[" + b"1," * 2_000_000 + b"1]")
        rawjson.check(b"[" + b"1," * 2_000_000 + b"1]")

    def test_other_kinds(self) -> None:
        """An array is no object, and the other way round."""
        self.assertRaises(ValueError, rawjson.members, b"[]")
        self.assertRaises(ValueError, rawjson.elements, b"{}")
        self.assertIsNone(rawjson.string(b"1"))

    @given(st.binary(max_size=40))
    @settings(deadline=None, max_examples=300)
    def test_never_anything_else(self, text: bytes) -> None:
        """Whatever comes, the answer is slices or ValueError, and it agrees with Python's own reader."""
        try:
            found: object = json.loads(text.decode("utf-8").removeprefix("\ufeff"))
            good = isinstance(found, dict) and b"NaN" not in text and b"Infinity" not in text
        except ValueError:
            good = False
        try:
            rawjson.members(text)
        except ValueError:
            self.assertFalse(good, text)
        else:
            self.assertTrue(good, text)

    def test_depth_is_not_ours(self) -> None:
        """Depth that the reader can take is fine; one that it cannot take is refused, also close to the stack's end."""
        rawjson.check(b"[" * 200 + b"]" * 200)

        def deep(left: int) -> None:
            if left:
                deep(left - 1)
            else:
                self.assertRaises(ValueError, rawjson.check, b"[" * 50_000)

        deep(sys.getrecursionlimit() // 2)
