"""One subscriber behind a connection: what it asked for, and whether it takes what it gets."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from attrs import define, field, frozen
from twisted.internet.interfaces import IPushProducer
from zope.interface import implementer

from sidecar.model import ANONYMOUS, Caller, Message, PublishOptions, SubscribeOptions
from sidecar.net.memory import MemoryBudget
from sidecar.pubsub.batches import WRITE, Batch
from sidecar.pubsub.counters import PubSubCounters
from sidecar.pubsub.outbox import Outbox, OutboxLimits


def _discard(_: bytes) -> None:
    """Takes what is written before the connection is open, or after it: nothing ever is."""


@frozen
class SubscribeRequest:
    """What a client asked for when it opened a WebSocket to a topic.

    :ivar queue: with whom it shares the messages, None for nobody. :ivar make_frame: one whole frame of a message, in
        the format that it asked for.
    :ivar content_type: of all that it publishes, None where it did not say.
    :ivar caller: who asked. :ivar trace: the ``Traceparent`` of what it publishes, "" for none.
    :ivar options: what it wants of the subscription beyond that. :ivar publishing: likewise of what it publishes.
    """

    topic: str
    queue: str | None
    make_frame: Callable[[Message], bytes]
    content_type: str | None
    caller: Caller = ANONYMOUS
    options: SubscribeOptions = field(factory=SubscribeOptions)
    publishing: PublishOptions = field(factory=PublishOptions)
    trace: str = ""


@implementer(IPushProducer)
@define(eq=False)
class Subscriber:
    """A subscriber behind a connection, whose transport tells it to pause while it has enough.

    Between :meth:`open` and :meth:`close` frames are written, or wait in the outbox while the transport is full.

    :ivar asked: topic, queue and format.
    :ivar slow: called when its outbox overflows: the first time when messages are dropped, with True when it is to be
        closed for that.
    :ivar budget: told of what waits in its outbox, None for nobody.
    :ivar keeps_up: nothing waits: it is open, and its transport takes more.
    """

    asked: SubscribeRequest
    _limits: OutboxLimits
    _counters: PubSubCounters
    slow: Callable[[bool], None]
    _budget: MemoryBudget | None = None
    keeps_up: bool = False
    _write: Callable[[bytes], object] = _discard
    _paused: bool = True
    _closed: bool = False
    _outbox: Outbox | None = None  # made when first needed: most subscribers never fall behind

    @property
    def topic(self) -> str:
        return self.asked.topic

    @property
    def queue(self) -> str | None:
        return self.asked.queue

    @property
    def dropped(self) -> int:
        """Messages that it did not get since it was too slow."""
        return self._outbox.dropped if self._outbox is not None else 0

    @property
    def waiting(self) -> int:
        """Bytes in the outbox."""
        return self._outbox.size if self._outbox is not None else 0

    @property
    def lag(self) -> int:
        """Messages in the outbox."""
        return len(self._outbox) if self._outbox is not None else 0

    def _tell(self) -> bool:
        """Tell the budget of all what waits. :returns: whether it may."""
        outbox = self._outbox
        return self._budget is None or outbox is None or self._budget.changed(self, outbox.kept, "messages")

    def shed(self) -> None:
        """Called by the budget: what waits for all is too much, and here it is most."""
        outbox = self._outbox
        assert outbox is not None
        before = outbox.dropped
        outbox.drop()
        self._dropped(before, self._limits.slow == "drop")

    def open(self, write: Callable[[bytes], object]) -> None:
        """From now on ``write`` takes bytes. What came before goes first."""
        self._write = write
        self.resumeProducing()

    def close(self) -> None:
        """Take and write nothing more."""
        self._closed = True
        self._write = _discard
        self.keeps_up = False
        if self._outbox is not None:
            self._outbox.clear()
            self._tell()

    def send(self, batches: Iterable[Batch]) -> None:
        """Write ``batches``, or keep what cannot be written now."""
        for batch in batches:
            # Writing may have filled the transport, so this is asked each time.
            if self.keeps_up:
                self._write(batch.joined)
            elif not self._closed:
                self._keep(batch)

    def _keep(self, batch: Batch) -> None:
        if self._outbox is None:
            self._outbox = Outbox(self._limits)
        before = self._outbox.dropped
        kept = self._outbox.put(batch.frames, len(batch.joined))
        self._dropped(before, kept)
        if kept and not self._tell():
            self.shed()

    def _dropped(self, before: int, stays: bool) -> None:
        """Count what was given up. :param before: how much that was before. :param stays: whether it may go on."""
        assert self._outbox is not None
        dropped = self._outbox.dropped - before
        if dropped:
            self._counters.dropped += dropped
            self._counters.topic(self.asked.topic).dropped += dropped
        if not stays:
            self._counters.closed += 1
            self.close()
            self.slow(True)
        elif self._outbox.dropped and not before:
            self.slow(False)

    # --- What the transport tells: IPushProducer --------------------------------------------------------------------

    def pauseProducing(self) -> None:
        self._paused = True
        self.keeps_up = False

    def resumeProducing(self) -> None:
        if self._closed:
            return
        self._paused = False
        outbox = self._outbox
        while outbox is not None and len(outbox) and not self._paused:
            self._write(outbox.take(WRITE))
        self._tell()
        self.keeps_up = not self._paused

    def stopProducing(self) -> None:
        self.close()
