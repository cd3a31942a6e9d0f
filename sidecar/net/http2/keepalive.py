"""How long an HTTP/2 connection stays: closed when nobody uses it, and when a silent peer answers no ping."""

from __future__ import annotations

from typing import Protocol

from attrs import define, field
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from sidecar.net.http2.stream import Http2Limits


class KeptConnection(Protocol):
    """The connection that is looked after. :ivar busy: streams are open or wait. :ivar open_streams: some are open."""

    @property
    def busy(self) -> bool: ...

    @property
    def open_streams(self) -> int: ...

    def ping(self) -> None: ...

    def close(self) -> None: ...

    def ping_unanswered(self) -> None: ...


@define(eq=False)
class KeepAlive:
    """Watches one connection by one timer."""

    _clock: IReactorTime
    _limits: Http2Limits
    _connection: KeptConnection
    _heard: float = field(init=False)
    _used: float = field(init=False)
    _timer: IDelayedCall | None = field(default=None, init=False)
    _unanswered: bool = field(default=False, init=False)

    def __attrs_post_init__(self) -> None:
        self._heard = self._used = self._clock.seconds()

    def start(self) -> None:
        self._timer = self._clock.callLater(min(self._limits.ping, self._limits.idle), self._look)

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def heard(self) -> None:
        """The peer said something, whatever it was."""
        self._heard = self._clock.seconds()
        self._unanswered = False

    def used(self) -> None:
        """A stream began or ended."""
        self._used = self._clock.seconds()

    def _look(self) -> None:
        self._timer = None
        now = self._clock.seconds()
        if self._connection.busy:
            self._used = now
        if now - self._used >= self._limits.idle:
            self._connection.close()
        elif now - self._heard < self._limits.ping or not self._connection.open_streams:
            self.start()
        else:
            self._connection.ping()
            self._unanswered = True
            self._timer = self._clock.callLater(self._limits.ping_patience, self._waited)

    def _waited(self) -> None:
        self._timer = None
        if self._unanswered:
            self._connection.ping_unanswered()
        else:
            self.start()
