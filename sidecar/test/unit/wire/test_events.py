"""Server-Sent Events are written as readers of the standard take them apart."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sidecar.wire import events


class Encoding(SynchronousTestCase):
    def test_whole(self) -> None:
        """An event has its id, its name and its data, and an empty line ends it."""
        self.assertEqual(events.encode("create", b"{}", "42"), b"id: 42\nevent: create\ndata: {}\n\n")

    def test_without_id(self) -> None:
        """Without an id nothing is said of one, so that a reader keeps the last."""
        self.assertEqual(events.encode("rates", b"1"), b"event: rates\ndata: 1\n\n")

    def test_lines(self) -> None:
        """A line break in data, of whatever kind, cannot end the event or begin a field of its own."""
        self.assertEqual(
            events.encode("a", b"1\n\n2\r3\r\n4"), b"event: a\ndata: 1\ndata: \ndata: 2\ndata: 3\ndata: 4\n\n"
        )

    def test_heartbeat(self) -> None:
        """A heartbeat is a comment, which a reader passes over."""
        self.assertEqual((events.HEARTBEAT[:1], events.HEARTBEAT[-2:]), (b":", b"\n\n"))
