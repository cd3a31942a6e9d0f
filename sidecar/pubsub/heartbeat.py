"""Which peers are pinged when, and which are dead: two queues in the order of time. Pure."""

from __future__ import annotations

from collections import OrderedDict
from typing import Generic, Protocol, TypeVar

from attrs import define, field


class Peer(Protocol):
    """:ivar received: set by the peer whenever anything comes from it."""

    received: bool


P = TypeVar("P", bound=Peer)


@define(eq=False)
class Heartbeat(Generic[P]):
    """Each peer is pinged every ``interval`` seconds, and is dead when nothing came from it ``timeout`` after a ping.

    :ivar _idle: peers with the time to ping them. :ivar _asked: peers that were pinged, with the time of that. Those in
        one queue all wait equally long, so each queue is in order by itself.
    """

    _interval: float
    _timeout: float
    _idle: OrderedDict[P, float] = field(factory=OrderedDict)
    _asked: OrderedDict[P, float] = field(factory=OrderedDict)

    def __len__(self) -> int:
        return len(self._idle) + len(self._asked)

    def add(self, peer: P, now: float) -> None:
        """Watch ``peer`` from now on, until it is removed."""
        self._idle[peer] = now + self._interval

    def remove(self, peer: P) -> None:
        """Watch ``peer`` no more; one that is not there is no error."""
        self._idle.pop(peer, None)
        self._asked.pop(peer, None)

    def next(self) -> float | None:
        """:returns: when :meth:`due` is to be called, None while nobody is watched."""
        times = [next(iter(self._idle.values()))] if self._idle else []
        if self._asked:
            times.append(next(iter(self._asked.values())) + self._timeout)
        return min(times, default=None)

    def due(self, now: float) -> tuple[list[P], list[P]]:
        """:returns: those to ping; those that are dead, which are watched no more."""
        dead: list[P] = []
        while self._asked:
            peer, pinged = next(iter(self._asked.items()))
            if pinged + self._timeout > now:
                break
            del self._asked[peer]
            if peer.received:
                self._idle[peer] = max(now, pinged + self._interval)
            else:
                dead.append(peer)
        ping: list[P] = []
        while self._idle:
            peer, when = next(iter(self._idle.items()))
            if when > now:
                break
            del self._idle[peer]
            self._asked[peer] = now
            peer.received = False
            ping.append(peer)
        return ping, dead
