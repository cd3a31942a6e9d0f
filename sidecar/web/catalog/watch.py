"""The registry's changes as they happen: ``/registry/watch`` by Server-Sent Events, ``/registry`` by a WebSocket."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Protocol

import orjson
from twisted.web.server import NOT_DONE_YET

from sidecar.registry.journal import JournalEntry
from sidecar.registry.journalfanout import Follower, JournalFanout, joined
from sidecar.web import handshake
from sidecar.web.catalog import queries
from sidecar.web.catalog.reads import index_line
from sidecar.web.cors import CorsPolicy
from sidecar.web.events.longanswers import LongAnswers
from sidecar.web.params import query
from sidecar.web.resource import MethodResource
from sidecar.wire import events, services
from sidecar.wire.registry import journal as form

#: Whole states that are kept encoded, for many who come again at once.
_KEPT: Final = 16


class WatchResource(MethodResource):
    """GET follows the journal, of all services or of one.

    Each event is an entry, named by its action, with its index as the id: whoever comes again with ``Last-Event-ID``
    goes on exactly there, or is told the whole state by ``reset`` where the journal does not go back so far.
    """

    def __init__(self, fanout: JournalFanout, lasting: LongAnswers, now: Callable[[], float]) -> None:
        """:param now: seconds since the epoch."""
        super().__init__({"GET": self._open})
        self._fanout = fanout
        self._journal = fanout.journal
        self._lasting = lasting
        self._now = now
        self._states: dict[str, tuple[int, bytes]] = {}

    def _open(self, request: Any) -> int:
        asked = query(request.uri).expect("service", "index")
        name = queries.service(asked.one("service"))
        given = asked.one("index")
        seen = -1 if given is None else queries.index(given)
        last = request.fields.get(b"last-event-id")
        if last:
            given = last
            seen = int(last) if last.isdigit() and len(last) <= 20 else -1
        follower = Follower(name or None, event)
        index = self._journal.index
        stream = self._lasting.stream(request, lambda: self._fanout.remove(follower), index_line(index))
        if not stream.open:
            return NOT_DONE_YET
        follower.send = stream.send
        self._fanout.add(follower)
        if given is None:
            # A reader that loses the connection before the first event knows already where it was.
            stream.send(b": watching\nid: %d\n\n" % index)
        elif self._journal.knows(seen):
            stream.send_all(joined(list(self._journal.after(seen, name or None)), event))
        else:
            stream.send(self._state(name))
        return NOT_DONE_YET

    def _state(self, name: str) -> bytes:
        """The event that tells all there is. :param name: of one service alone, "" for all."""
        index = self._journal.index
        kept = self._states.pop(name, None)
        if kept is None or kept[0] != index:
            there = [services.to_json(each) for each in self._journal.present(name or None)]
            told = {"index": index, "at": form.date(self._now()), "services": there}
            kept = (index, events.encode("reset", orjson.dumps(told), str(index)))
        self._states[name] = kept
        if len(self._states) > _KEPT:
            del self._states[next(iter(self._states))]
        return kept[1]


def event(entry: JournalEntry) -> bytes:
    """The event that tells an entry."""
    told = form.entry(entry.index, entry.time, entry.action, entry.reason, entry.detail, entry.by, entry.service)
    return events.encode(entry.action, orjson.dumps(told), str(entry.index))


# --- By a WebSocket ---------------------------------------------------------------------------------------------------


class IWatchSockets(Protocol):
    """Opens WebSockets that watch the registry."""

    def admit(self, request: Any) -> None:
        """Ask before :meth:`upgrade`. :raises Overloaded: there are too many WebSockets already.
        :raises ShuttingDown: none is opened any more."""

    def upgrade(self, request: Any, name: str) -> int:
        """Open one. :param name: of the one service of interest, "" for all.
        :returns: NOT_DONE_YET: the connection is no longer HTTP's."""


class WatchUpgrade:
    """Takes requests for a WebSocket on ``/registry``."""

    def __init__(self, sockets: IWatchSockets, cors: CorsPolicy) -> None:
        self._sockets = sockets
        self._cors = cors

    def open(self, request: Any) -> int:
        """Open a watch. :returns: NOT_DONE_YET. :raises CallerError: it was asked for wrongly."""
        name = queries.service(query(request.uri).expect(*queries.PARAMETERS).one("service"))
        handshake.check(request, self._cors, "to watch the registry, open a WebSocket; to read it, ask without Upgrade")
        self._sockets.admit(request)
        return self._sockets.upgrade(request, name)
