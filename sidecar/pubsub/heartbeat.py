"""Who is pinged when, and who is dead: two queues in the order of time, however many peers there are. Pure."""

from __future__ import annotations

from collections import deque
from typing import Generic, Protocol, TypeVar

from attrs import define, field


class Peer(Protocol):
    """:ivar heard: set by the peer whenever anything comes from it. :ivar alive: False once it is gone."""

    heard: bool
    alive: bool


P = TypeVar("P", bound=Peer)


@define(eq=False)
class Heartbeat(Generic[P]):
    """Each peer is pinged every ``interval`` seconds and is dead when nothing came from it ``timeout`` after a ping.

    :ivar _idle: peers to ping, by the time when. :ivar _asked: peers that were pinged, by the time when they are looked
        at. All waits of one queue are of the same length, so each queue is in order by itself.
    """

    _interval: float
    _timeout: float
    _idle: deque[tuple[float, P]] = field(factory=deque)
    _asked: deque[tuple[float, float, P]] = field(factory=deque)

    def join(self, peer: P, now: float) -> None:
        """Watch ``peer`` from now on, until it is no longer ``alive``."""
        self._idle.append((now + self._interval, peer))

    def next(self) -> float | None:
        """:returns: when :meth:`due` is to be called, None while nobody is watched."""
        times = [queue[0][0] for queue in (self._idle, self._asked) if queue]
        return min(times, default=None)

    def due(self, now: float) -> tuple[list[P], list[P]]:
        """:returns: those to ping, those that are dead."""
        dead: list[P] = []
        while self._asked and self._asked[0][0] <= now:
            _, pinged, peer = self._asked.popleft()
            if peer.alive and peer.heard:
                self._idle.append((max(now, pinged + self._interval), peer))
            elif peer.alive:
                dead.append(peer)
        ping: list[P] = []
        while self._idle and self._idle[0][0] <= now:
            _, peer = self._idle.popleft()
            if peer.alive:
                peer.heard = False
                ping.append(peer)
                self._asked.append((now + self._timeout, now, peer))
        return ping, dead
