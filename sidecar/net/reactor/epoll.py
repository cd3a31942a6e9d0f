"""Twisted's epoll reactor without a log context around each event.

The stock reactor wraps every event in ``log.callWithLogger``: it asks the transport for its prefix, copies the log
context, pushes it and pops it, which is 2 to 3 microseconds an event, as much as reading a request. It serves the
``system`` of the old ``log.msg`` alone; loggers of ``twisted.logger`` name themselves. Here an event that is nothing
but "readable", as nearly all are, is given to the transport directly, and only a failure is logged with the prefix.

It keeps monotonic time, too. The stock reactors ask ``time.time``: set the machine's clock back two hours, and whatever
waits (a deadline, a health check, the end of a lease) waits two hours longer; set it forward, and all is due at once.

Everything else is the stock reactor's: this is a subclass of it that replaces the turn and the clock.
"""

from __future__ import annotations

import sys
import time
from typing import Any

from twisted.python import log

try:
    from select import EPOLLIN

    from twisted.internet.epollreactor import EPollReactor
except ImportError:
    AVAILABLE = False  # not Linux: Twisted chooses
else:
    AVAILABLE = True

#: Events to fetch in one turn. Twisted asks for room for all descriptors, which is allocated anew each time.
AT_ONCE = 256


if AVAILABLE:

    class MicroEPollReactor(EPollReactor):
        """As :class:`twisted.internet.epollreactor.EPollReactor`, but see the module."""

        #: Seconds of a clock that only goes forward; they are no date (see :func:`sidecar.waiting.wall`).
        seconds = staticmethod(time.monotonic)

        #: How often it has looked for events.
        turns = 0

        def doPoll(self, timeout: float | None) -> None:
            try:
                events = self._poller.poll(-1 if timeout is None else timeout, AT_ONCE)
            except InterruptedError:
                return
            self.turns += 1
            selectables = self._selectables
            for descriptor, event in events:
                selectable: Any = selectables.get(descriptor)
                if selectable is None:
                    continue  # an event before this one closed it
                if event != EPOLLIN:
                    log.callWithLogger(selectable, self._doReadOrWrite, selectable, descriptor, event)
                    continue
                try:
                    why = selectable.doRead()
                except BaseException:  # what the stock reactor catches; it disconnects, too
                    why = sys.exc_info()[1]
                    log.callWithLogger(selectable, log.err)
                if why:
                    self._disconnectSelectable(selectable, why, True)

        doIteration = doPoll


def install() -> None:
    """Make it the reactor of this process. Called through ``--reactor=microepoll``.

    :raises ImportError: there is no epoll here.
    """
    if not AVAILABLE:
        raise ImportError("epoll is not available on this platform")
    from twisted.internet.main import installReactor

    installReactor(MicroEPollReactor())


def ensure() -> None:
    """Make it the reactor, unless one was chosen already or there is no epoll."""
    if AVAILABLE and "twisted.internet.reactor" not in sys.modules:
        install()
