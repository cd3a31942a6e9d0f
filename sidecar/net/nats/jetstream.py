"""Questions to a NATS server, JetStream's API and others, with their answers."""

from __future__ import annotations

import uuid
from itertools import count
from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred, fail
from twisted.python.failure import Failure

from sidecar.net.errors import Unavailable
from sidecar.net.nats.client import Interest, NatsClient

#: Seconds that an answer may take.
PATIENCE = 5.0


@define(eq=False)
class NatsRequests:
    """Asks on one connection; all answers come to one inbox."""

    _clock: Any
    _link: NatsClient
    _inbox: str = field(factory=lambda: f"_INBOX.{uuid.uuid4().hex}", init=False)
    _numbers: count[int] = field(factory=lambda: count(1), init=False)
    _asked: dict[str, Deferred[bytes]] = field(factory=dict, init=False)
    _interest: Interest | None = field(default=None, init=False)

    def ask(self, subject: str, payload: bytes = b"") -> Deferred[bytes]:
        """:returns: fires with the answer, which is empty where nobody serves the subject.
        :raises Unavailable: there is none in time, or no connection. :raises NetError: it may not be asked."""
        if not self._link.connected:
            return fail(Unavailable(f"NATS cannot be reached ({self._link.detail})"))
        if self._interest is None:
            self._interest = Interest(f"{self._inbox}.*", self._answered)
            self._link.subscribe(self._interest).addErrback(self._deaf)
        reply = f"{self._inbox}.{next(self._numbers)}"
        waiting: Deferred[bytes] = Deferred()
        self._asked[reply] = waiting
        # Commands are carried out in order, so the inbox is open before the question is out.
        self._link.publish(subject, payload, reply).addErrback(self._not_asked, reply)

        def ended(result: Any) -> Any:
            self._asked.pop(reply, None)
            return result

        def too_late(result: Any, patience: float) -> None:
            raise Unavailable(f"NATS did not answer {subject} within {patience:g} s")

        return waiting.addTimeout(PATIENCE, self._clock, too_late).addBoth(ended)

    def _answered(self, subject: str, reply: str, payload: bytes) -> None:
        waiting = self._asked.pop(subject, None)
        if waiting is not None and not waiting.called:
            waiting.callback(payload)

    def _not_asked(self, failure: Failure, reply: str) -> None:
        waiting = self._asked.pop(reply, None)
        if waiting is not None and not waiting.called:
            waiting.errback(failure)

    def _deaf(self, failure: Failure) -> None:
        self._interest = None
        asked, self._asked = self._asked, {}
        for waiting in asked.values():
            if not waiting.called:
                waiting.errback(failure)
