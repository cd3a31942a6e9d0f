"""Spans are brought to the collector by the batch, and dropped and counted where it does not take them."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from attrs import define, field
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from sidecar.stats.tracing.export import SpanExporter, is_wanted
from sidecar.stats.tracing.spans import Span

SPAN = Span("call a b", "client", "a" * 32, "b" * 16, "", 1.0, 2.0)


@define(eq=False)
class Taken:
    """What brings spans away. :ivar batches: how many each time. :ivar good: whether they are taken."""

    batches: list[int] = field(factory=list)
    good: bool = True
    broken: bool = False
    stopped: threading.Event = field(factory=threading.Event)

    def export(self, spans: list[Span]) -> bool:
        if self.broken:
            raise OSError("no such host")
        self.batches.append(len(spans))
        return self.good

    def shutdown(self) -> None:
        self.stopped.set()


class ThreadClock(Clock):
    """What a thread asks for is done when the test lets it."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[tuple[Callable[..., object], tuple[Any, ...]]] = []

    def callFromThread(self, work: Callable[..., object], *given: Any) -> None:
        self.asked.append((work, given))

    def run(self) -> None:
        asked, self.asked = self.asked, []
        for work, given in asked:
            work(*given)


class Exporting(SynchronousTestCase):
    def exporter(self, **environ: str) -> SpanExporter:
        self.clock, self.taken = ThreadClock(), Taken()
        return SpanExporter(self.taken, self.clock, "http://c", environ)

    def test_batches(self) -> None:
        """By the batch that the standard's variables say."""
        exporter = self.exporter(OTEL_BSP_MAX_EXPORT_BATCH_SIZE="4")
        for _ in range(10):
            exporter.add(SPAN)
        exporter.bring()
        self.clock.run()
        self.assertEqual(self.taken.batches, [4, 4, 2])
        self.assertEqual(exporter.stats(), {"exported": 10, "dropped": 0, "waiting": 0})

    def test_full(self) -> None:
        """What finds no place is dropped at once, and counted."""
        exporter = self.exporter(OTEL_BSP_MAX_QUEUE_SIZE="3")
        for _ in range(5):
            exporter.add(SPAN)
        self.assertEqual(exporter.stats(), {"exported": 0, "dropped": 2, "waiting": 3})

    def test_gone(self) -> None:
        """What the collector does not take is counted, however it says so, and told in the log once a minute."""
        exporter = self.exporter()
        self.taken.good = False
        for broken in (False, True):
            self.taken.broken = broken
            exporter.add(SPAN)
            exporter.bring()
            self.clock.run()
        self.assertEqual(exporter.stats()["dropped"], 2)
        self.assertEqual(exporter.stats()["waiting"], 0)

    def test_stop(self) -> None:
        """What waits at the stop is brought away still, and the stop waits for the thread."""
        exporter = self.exporter()
        exporter.startService()
        exporter.add(SPAN)
        stopping = exporter.stopService()
        self.assertTrue(self.taken.stopped.wait(60))
        exporter.join(60)
        self.assertNoResult(stopping)
        self.clock.run()
        self.successResultOf(stopping)
        self.assertEqual((self.taken.batches, exporter.exported), ([1], 1))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_wanted(self) -> None:
        """The standard's variables ask for spans, and can forbid them."""
        self.assertFalse(is_wanted({}))
        endpoint = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318"}
        self.assertTrue(is_wanted(endpoint))
        self.assertFalse(is_wanted({**endpoint, "OTEL_SDK_DISABLED": "true"}))
        self.assertFalse(is_wanted({**endpoint, "OTEL_TRACES_EXPORTER": "none"}))
