"""Server-Sent Events are taken apart as browsers do it."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sidecar.cli.events import Event, EventReader


class Read(SynchronousTestCase):
    def test_events(self) -> None:
        """Names, ids, data of several lines; comments and events without data are passed over, their ids are kept."""
        stream = b": heartbeat\n\nevent: create\r\nid: 7\ndata: {\ndata: }\n\ndata:bare\n\nevent: nothing\n\nid: 8\n\n"
        reader = EventReader(stream.splitlines(keepends=True))
        self.assertEqual(list(reader), [Event("create", "{\n}", "7"), Event("message", "bare", "7")])
        self.assertEqual(reader.id, "8")
