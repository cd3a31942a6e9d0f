"""Server-Sent Events are taken apart as browsers do it."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sidecar.cli.events import Event, lines, read


class Read(SynchronousTestCase):
    def test_events(self) -> None:
        """Names, ids, data of several lines; comments and events without data are passed over."""
        stream = b": heartbeat\n\nevent: create\r\nid: 7\ndata: {\ndata: }\n\ndata:bare\n\nevent: nothing\n\nid: 8\n\n"
        found = list(read(stream.splitlines(keepends=True)))
        self.assertEqual(found, [Event("create", "{\n}", "7"), Event("message", "bare", "7")])

    def test_bound(self) -> None:
        """A line that never ends is no event."""
        self.assertRaises(ValueError, list, lines([b"x" * (4 * 1024 * 1024 + 1)]))
