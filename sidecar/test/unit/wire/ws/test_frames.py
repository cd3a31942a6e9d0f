"""WebSocket frames, made and cut."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sidecar.test.doubles.clients.websocket import client_frame
from sidecar.wire.ws import frames

SIZES = (0, 1, 125, 126, 127, 65535, 65536, 70000)
MOST = 100_000


class Made(SynchronousTestCase):
    def test_lengths(self) -> None:
        """Each payload gets the shortest length field, is final and not masked."""
        for size in SIZES:
            made = frames.frame(frames.TEXT, b"x" * size)
            field = 2 if size < 126 else 4 if size < 65536 else 10
            self.assertEqual(made[0], 0x81)
            self.assertLess(made[1], 128)
            self.assertEqual(len(made), field + size)
            if field > 2:
                self.assertEqual((made[1], int.from_bytes(made[2:field], "big")), (126 if field == 4 else 127, size))


class Cut(SynchronousTestCase):
    def test_whole(self) -> None:
        """Complete messages come out unmasked, whatever their size."""
        for size in SIZES:
            payload = bytes(number % 251 for number in range(size))
            stream = client_frame(payload, 2)
            self.assertEqual(frames.cut(stream, MOST), ([(frames.WHOLE_BINARY, payload)], b"", 0))

    @settings(deadline=None)
    @given(st.lists(st.binary(max_size=300), max_size=5), st.binary(min_size=4, max_size=4), st.data())
    def test_split_anywhere(self, payloads: list[bytes], mask: bytes, data: st.DataObject) -> None:
        """However the stream is split, the same messages come out, and no more bytes are waited for than miss."""
        stream = b"".join(client_frame(payload, 1, mask=mask) for payload in payloads)
        at = data.draw(st.integers(0, len(stream)))
        first, rest, missing = frames.cut(stream[:at], MOST)
        self.assertGreaterEqual(missing, 0)
        self.assertLessEqual(missing, len(stream) - at)
        self.assertEqual(bool(rest), bool(missing))
        second, rest, missing = frames.cut(rest + stream[at:], MOST)
        self.assertEqual((rest, missing), (b"", 0))
        self.assertEqual([payload for _, payload in first + second], payloads)

    def test_others(self) -> None:
        """Control frames, fragments and whatever is odd come out as they came, to be judged elsewhere."""
        for odd in (
            client_frame(b"ping", 9),
            client_frame(b"\x03\xe8", 8),
            client_frame(b"part", 1, fin=False),
            client_frame(b"rest", 0),
            client_frame(b"x", 1, rsv=4),
            client_frame(b"x", 3),
            b"\x81\xfe\x00\x05abcdhello",  # a length that is not written in the shortest way
            b"\x81\xff" + (200).to_bytes(8, "big") + b"abcd" + b"x" * 200,
        ):
            plain = client_frame(b"next", 1)
            expected = [(frames.OTHER, odd), (frames.WHOLE_TEXT, b"next")]
            self.assertEqual(frames.cut(odd + plain, MOST), (expected, b"", 0))

    def test_not_to_be_waited_for(self) -> None:
        """A frame over the limit, or without a mask, is not waited for, however little of it has come."""
        for bad in (
            b"\x81\x05",
            b"\x82\xff" + (MOST + 1).to_bytes(8, "big"),
            b"\x82\xff" + (2**63).to_bytes(8, "big") + b"abcd",
        ):
            self.assertEqual(frames.cut(client_frame(b"ok") + bad, MOST), ([(frames.WHOLE_TEXT, b"ok")], bad, -1))
