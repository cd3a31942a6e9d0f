"""go-micro's error object, read and written."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sidecar.model import Fault
from sidecar.wire import faults

words = st.text(st.characters(codec="utf-8"), max_size=20)


class Texts(SynchronousTestCase):
    @given(words, st.integers(-(2**31), 2**31 - 1), words.filter(bool), words)
    @settings(deadline=None)
    def test_round_trip(self, id: str, code: int, detail: str, status: str) -> None:
        """What is written is read back."""
        fault = Fault(id, code, detail, status)
        self.assertEqual(faults.parse(faults.encode(fault).decode()), fault)

    def test_order(self) -> None:
        """Keys stand in go-micro's order."""
        self.assertEqual(faults.encode(Fault("a", 1, "b", "c")), b'{"id":"a","code":1,"detail":"b","status":"c"}')

    def test_bare(self) -> None:
        """What is not the object is words: code 0, kept whole."""
        for text in (
            "boom",
            "",
            "{",
            "{}",
            "[]",
            "null",
            '{"code":1e99}',
            '{"code":true}',
            '{"detail":1}',
            '{"code":4294967296}',
        ):
            self.assertEqual(faults.parse(text), Fault("", 0, text, ""), text)

    def test_partial(self) -> None:
        """Fields that are left out are empty."""
        self.assertEqual(faults.parse(' {"code":404}'), Fault("", 404, "", ""))
        self.assertEqual(faults.parse('{"detail":"x"}'), Fault("", 0, "x", ""))

    @given(st.text())
    @settings(deadline=None)
    def test_noise(self, text: str) -> None:
        """Any text is some fault."""
        self.assertIsInstance(faults.parse(text), Fault)
