"""Tells the journal's entries to many: encoded once a form, and written in shares of the reactor's turns."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Final

from attrs import define, field
from twisted.internet.interfaces import IReactorTime

from sidecar.net.reactor.turns import Turns
from sidecar.registry.journal import Journal, JournalEntry

#: How an entry is told: bytes, the same for everybody who follows in that form.
EntryForm = Callable[[JournalEntry], bytes]

#: Bytes that are told at a time, where several entries go together.
MOST: Final = 32 * 1024
#: Followers that are told in one piece of work.
_AT_ONCE: Final = 64


@define(eq=False)
class Follower:
    """One who follows.

    :ivar name: of the service of interest, None for all.
    :ivar form: encodes an entry; the same callable for all of a kind.
    :ivar send: takes the bytes of one or several entries. It must not raise.
    :ivar seen: the index after which it is told of entries.
    """

    name: str | None
    form: EntryForm
    send: Callable[[bytes], object] = lambda told: None
    seen: int = 0


@define(eq=False)
class JournalFanout:
    """Followers of a journal. Nobody is told inside the call that caused an entry; while many are being told of one,
    further ones gather and then go out together."""

    journal: Journal
    _clock: IReactorTime
    _turns: Turns = field(init=False)
    _groups: dict[tuple[str | None, EntryForm], dict[Follower, None]] = field(factory=dict, init=False)
    _gathered: list[JournalEntry] = field(factory=list, init=False)
    _rounds: deque[list[JournalEntry]] = field(factory=deque, init=False)
    _telling: bool = field(default=False, init=False)

    def __attrs_post_init__(self) -> None:
        self._turns = Turns(self._clock)
        self.journal.follow(self._happened)

    def add(self, follower: Follower) -> None:
        """Tell ``follower`` of each entry from now on."""
        if self._gathered:
            # Nobody is told a part of a round.
            self._rounds.append(self._gathered)
            self._gathered = []
        follower.seen = self.journal.index
        self._groups.setdefault((follower.name, follower.form), {})[follower] = None

    def remove(self, follower: Follower) -> None:
        """Tell it no more; one who is told nothing already is no error."""
        key = (follower.name, follower.form)
        group = self._groups.get(key)
        if group is not None:
            group.pop(follower, None)
            if not group:
                del self._groups[key]

    def _happened(self, entry: JournalEntry) -> None:
        if not self._groups:
            return
        self._gathered.append(entry)
        if not self._telling:
            self._telling = True
            self._turns.add(self._begin_round)

    def _begin_round(self) -> None:
        if not self._rounds and self._gathered:
            self._rounds.append(self._gathered)
            self._gathered = []
        if not self._rounds:
            self._telling = False
            return
        entries = self._rounds.popleft()
        for (name, form), group in self._groups.items():
            of_interest = entries if name is None else [each for each in entries if each.service.name == name]
            followers = list(group)
            for told in joined(of_interest, form):
                for first in range(0, len(followers), _AT_ONCE):
                    self._turns.add(partial(self._tell, followers[first : first + _AT_ONCE], told, entries[-1].index))
        self._turns.add(self._begin_round)

    def _tell(self, followers: list[Follower], told: bytes, index: int) -> None:
        for follower in followers:
            if follower.seen < index and follower in self._groups.get((follower.name, follower.form), ()):
                follower.send(told)


def joined(entries: Iterable[JournalEntry], form: EntryForm) -> Iterator[bytes]:
    """The encoded entries, as many together as are not too much."""
    gathered: list[bytes] = []
    size = 0
    for entry in entries:
        encoded = form(entry)
        if gathered and size + len(encoded) > MOST:
            yield b"".join(gathered)
            gathered, size = [], 0
        gathered.append(encoded)
        size += len(encoded)
    if gathered:
        yield b"".join(gathered)
