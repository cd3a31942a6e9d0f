"""Server-Sent Events are taken apart as browsers do it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from sidecar.cli.api import Failed
from sidecar.cli.events import Event, EventReader, follow
from sidecar.cli.exits import FAULT, UNAVAILABLE


class Read(SynchronousTestCase):
    def test_events(self) -> None:
        """Names, ids, data of several lines; comments and events without data are passed over, their ids are kept."""
        stream = b": heartbeat\n\nevent: create\r\nid: 7\ndata: {\ndata: }\n\ndata:bare\n\nevent: nothing\n\nid: 8\n\n"
        reader = EventReader(stream.splitlines(keepends=True))
        self.assertEqual(list(reader), [Event("create", "{\n}", "7"), Event("message", "bare", "7")])
        self.assertEqual(reader.id, "8")


class Streams:
    """Stands in for the sidecar: gives one answer after the other. :ivar asked: the headers of each question."""

    address = "127.0.0.1:1"

    def __init__(self, *answers: bytes | Failed) -> None:
        self._answers = list(answers)
        self.asked: list[dict[str, str]] = []

    @contextmanager
    def stream(self, where: str, headers: Mapping[str, str]) -> Iterator[Iterator[bytes]]:
        self.asked.append(dict(headers))
        answer = self._answers.pop(0)
        if isinstance(answer, Failed):
            raise answer
        yield iter(answer.splitlines(keepends=True))


class Following(SynchronousTestCase):
    def follow(self, streams: Streams, **how: Any) -> tuple[bool, list[str], list[float]]:
        shown: list[str] = []
        pauses: list[float] = []

        def show(event: Event) -> bool:
            shown.append(event.data)
            return event.name != "reset"

        return follow(streams, "/x", show, sleep=pauses.append, **how), shown, pauses  # type: ignore[arg-type]

    def test_count(self) -> None:
        """It ends after so many that count."""
        streams = Streams(b"event: reset\ndata: 0\n\ndata: 1\n\ndata: 2\n\ndata: 3\n\n")
        self.assertEqual(self.follow(streams, count=2), (True, ["0", "1", "2"], []))

    def test_ends(self) -> None:
        """When the sidecar ends the stream, it is over."""
        self.assertEqual(self.follow(Streams(b"data: 1\n\n")), (False, ["1"], []))

    def test_goes_on(self) -> None:
        """With again it connects again, ever later, and says where it was: also when there was no event yet."""
        away = Failed("away", code=UNAVAILABLE)
        streams = Streams(b": watching\nid: 4\n\n", away, away, b"id: 5\ndata: 1\n\n", b"id: 6\ndata: 2\n\n")
        self.assertEqual(self.follow(streams, count=2, again=True), (True, ["1", "2"], [0.5, 1.0, 2.0, 0.5]))
        last = [asked.get("Last-Event-ID") for asked in streams.asked]
        self.assertEqual(last, [None, "4", "4", "4", "5"])

    def test_refused(self) -> None:
        """What is refused is refused the next time too."""
        self.assertRaises(Failed, self.follow, Streams(Failed("no", code=FAULT)), again=True)
        self.assertRaises(Failed, self.follow, Streams(Failed("away", code=UNAVAILABLE)))
