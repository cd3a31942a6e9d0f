"""Go durations and sizes in bytes, by tables and by round trip."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sidecar.wire import durations, sizes


class Durations(SynchronousTestCase):
    def test_parse(self) -> None:
        """Every unit of Go's, compounds and fractions are read."""
        for text, seconds in {
            "10s": 10.0,
            "1m30s": 90.0,
            "1.5h": 5400.0,
            ".5s": 0.5,
            "5.s": 5.0,
            "300ms": 0.3,
            "7us": 7e-6,
            "7µs": 7e-6,
            "7μs": 7e-6,
            "100ns": 1e-7,
            "1h2m3s4ms": 3723.004,
            "0": 0.0,
            "-0": 0.0,
            "0s": 0.0,
            "+3s": 3.0,
        }.items():
            self.assertAlmostEqual(durations.parse(text), seconds, places=12, msg=text)

    def test_timeout(self) -> None:
        """A number without a unit is seconds, and from a million up the nanoseconds of go-micro's own header."""
        for text, seconds in {
            "2": 2.0,
            ".5": 0.5,
            "300ms": 0.3,
            "999999": 999999.0,
            "1000000": 0.001,
            "5000000000": 5.0,
        }.items():
            self.assertAlmostEqual(durations.timeout(text), seconds, places=9, msg=text)
        for text in ("", "soon", "-1", "1e9", "NaN", "1_000"):
            self.assertRaises(ValueError, durations.timeout, text)

    def test_refuse(self) -> None:
        """What is not a duration is refused with a sentence that shows it and a right one."""
        for text in (
            "",
            "5",
            "s",
            ".s",
            "10",
            "1s5",
            "1 s",
            "1x",
            "-5s",
            "1e3s",
            "NaN",
            "inf",
            "１s",
            "9999999h",
            "9" * 90,
        ):
            error = self.assertRaises(ValueError, durations.parse, text)
            self.assertGreater(len(str(error)), 20, text)
            self.assertLess(len(str(error)), 200, text)

    def test_format(self) -> None:
        """Written as Go writes them."""
        for seconds, text in {
            0: "0s",
            60: "1m0s",
            65: "1m5s",
            10: "10s",
            1.5: "1.5s",
            0.3: "300ms",
            0.0015: "1.5ms",
            1e-6: "1µs",
            5e-9: "5ns",
            3600: "1h0m0s",
            90061.001: "25h1m1.001s",
            -1.5: "-1.5s",
        }.items():
            self.assertEqual(durations.format(seconds), text)

    @given(st.integers(0, 10**15))
    def test_round_trip(self, micros: int) -> None:
        """What is written is read again as the same duration, to the microsecond."""
        self.assertLess(abs(durations.parse(durations.format(micros / 1e6)) * 1e6 - micros), 1)

    @given(st.text())
    def test_any_text(self, text: str) -> None:
        """No text raises anything but ValueError."""
        try:
            self.assertGreaterEqual(durations.parse(text), 0)
        except ValueError:
            pass


class Sizes(SynchronousTestCase):
    def test_parse(self) -> None:
        """Plain bytes, powers of 1024 and of 1000."""
        for text, size in {
            "65536": 65536,
            "64KiB": 65536,
            "4MiB": 4 << 20,
            "1GiB": 1 << 30,
            "4M": 4 << 20,
            "1.5KiB": 1536,
            "10kB": 10000,
            "12B": 12,
            " 7 ": 7,
            "64 kib": 65536,
        }.items():
            self.assertEqual(sizes.parse(text), size, text)

    def test_refuse(self) -> None:
        """Anything else is refused with a sentence."""
        for text in ("", "x", "-1", "0.3B", "4 Mib b", "１", "1e3", "9" * 40):
            error = self.assertRaises(ValueError, sizes.parse, text)
            self.assertIn("bytes", str(error))

    def test_format(self) -> None:
        """The largest unit that divides."""
        self.assertEqual([sizes.format(n) for n in (0, 1000, 65536, 4 << 20)], ["0", "1000", "64KiB", "4MiB"])
