"""One connection of a server, below HTTP: writing with back-pressure, pausing, and the ways to end it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from twisted.internet.interfaces import IAddress, IProtocol, IPushProducer, ISSLTransport, ITCPTransport
from twisted.internet.protocol import Protocol
from zope.interface import implementer

from sidecar.net.errors import RequestRefused
from sidecar.net.http import states
from sidecar.net.http.body import BodyCollector
from sidecar.net.http.parser import RequestParser
from sidecar.net.http.request import SlimRequest
from sidecar.net.http.server import Host, is_urgent
from sidecar.net.http.states import READING, TABLE, WAITS_FOR
from sidecar.net.memory import WORTH_COUNTING

#: Bytes of further requests to take while one is being answered. More of them wait in the kernel.
HELD_ENOUGH: Final = 16 * 1024
NEVER: Final = float("inf")


@implementer(IPushProducer)
class ServerConnection(Protocol):
    """What an HTTP channel is built on. It is the producer of its transport, and passes that on to who produces.

    :ivar transport: None after a resource took the connection over (a WebSocket did): it is not ours then.
    :ivar deadline: when the site's sweep is to call ``timed_out``, by its ``now``.
    """

    transport: Any
    deadline = NEVER

    _state: str = states.IDLE
    _flow = 0  # why what comes is not looked at, besides the state: bits of ``states``
    _held = b""  # received while it could not be looked at
    _paused = False  # the transport does not read
    _kept = 0  # bytes that the budget of all knows of
    _producer: Any = None
    heir: IProtocol | None = None
    request: Any = None
    on_more: Callable[[], None] | None = None  # called when more comes while a request is being answered
    succeed: Callable[[IProtocol], None] | None = None  # has another protocol go on; None where that cannot be done

    def __init__(self, site: Host) -> None:
        self.site = site
        self.factory: Any = site
        self._parser = RequestParser(site.limits)
        self._collector = BodyCollector(site)

    # --- Reading ------------------------------------------------------------------------------------------------------

    def _pause(self) -> None:
        if not self._paused:
            self._paused = True
            self.transport.pauseProducing()

    def _resume(self) -> None:
        if self._paused:
            self._paused = False
            self.transport.resumeProducing()

    def _read(self, data: bytes) -> None:
        """Look at ``data``. Only called where that can be done now."""
        raise NotImplementedError

    def dataReceived(self, data: bytes) -> None:
        if self._held or self._state not in READING or self._flow & WAITS_FOR[self._state]:
            self._buffer(data)
        else:
            self._read(data)

    def _buffer(self, data: bytes) -> None:
        """Keep for later, and stop reading when it is enough."""
        if self._state not in (states.CLOSING, states.GONE):
            self._held += data
            if self.on_more is not None:
                self.on_more()
                if self.transport is None:
                    return
            if len(self._held) > HELD_ENOUGH:
                self._pause()
            if self._keeps_too_much():
                self.shed()

    # --- What is kept, in the budget of all ---------------------------------------------------------------------------

    def _keeps_too_much(self) -> bool:
        """Tell the budget what is kept. :returns: whether we are the one that has to go."""
        size = len(self._held) + self._collector.kept + self._parser.kept
        if size < WORTH_COUNTING and not self._kept:
            return False
        self._kept = size if size >= WORTH_COUNTING else 0
        if self.site.budget.changed(self, self._kept, "requests"):
            return False
        self._kept = 0
        return True

    def _see_what_is_kept(self) -> None:
        """:raises RequestRefused: it is too much for all connections together."""
        if self._keeps_too_much():
            raise RequestRefused(503, self.site.budget.spent)

    def _forget(self) -> None:
        """Nothing of a request is kept any more."""
        self._collector.clear()
        if self._kept:
            self._kept = 0
            self.site.budget.changed(self, 0, "requests")

    def shed(self) -> None:
        """Called by the budget."""
        self._kept = 0
        self._refuse(503, self.site.budget.spent)

    def _refuse(self, status: int, detail: str) -> None:
        """Answer for a request that cannot be taken, and close."""
        raise NotImplementedError

    def _begin(self, request: SlimRequest) -> None:
        """Have a request answered now, or in its turn. How we are is always said at once."""
        admission = self.site.admission
        if admission.admits() or is_urgent(request.path):
            request.process()
        else:
            admission.wait(request)

    # --- Going on -----------------------------------------------------------------------------------------------------

    def _go_on(self) -> None:
        """Look at what was held, where that can be done now."""
        if self._flow & WAITS_FOR[self._state]:
            return
        if self._state in READING and (self._held or self._state == states.STREAMING):
            held, self._held = self._held, b""
            self._read(held)
        if self.transport is None or self._flow & WAITS_FOR[self._state]:
            return
        if len(self._held) <= HELD_ENOUGH:
            self._resume()

    def continue_reading(self) -> None:
        self._flow &= ~states.NEXT_TURN
        self._go_on()

    def body_wanted(self, wanted: bool) -> None:
        if self._state != states.STREAMING:
            return
        if wanted:
            self._flow &= ~states.RECEIVER_SLOW
            self._go_on()
        else:
            self._flow |= states.RECEIVER_SLOW
            if not self._flow & states.CLIENT_SLOW:
                self.deadline = NEVER
            self._pause()

    # --- Writing ------------------------------------------------------------------------------------------------------

    def write(self, data: bytes) -> None:
        self.transport.write(data)

    def writeSequence(self, data: list[bytes]) -> None:
        self.transport.writeSequence(data)

    def pauseProducing(self) -> None:
        """The client does not take what we send: take no further request from it either, and have the resource wait."""
        self._flow |= states.CLIENT_SLOW
        if self._state not in (states.CLOSING, states.GONE):
            self.deadline = self.site.now + self.site.limits.idle_timeout
        if self._state != states.STREAMING:
            self._pause()
        if self._producer is not None:
            self._producer.pauseProducing()

    def resumeProducing(self) -> None:
        self._flow &= ~states.CLIENT_SLOW
        if self._state in (states.ANSWERING, states.STREAMING):
            self.deadline = NEVER
        if self._producer is not None:
            self._producer.resumeProducing()
        self._go_on()

    def stopProducing(self) -> None:
        if self._producer is not None:
            self._producer.stopProducing()

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """Called by the request. A push producer hears from us, a pull producer from the transport itself."""
        if self._producer is not None:
            raise RuntimeError(f"{self._producer!r} was never unregistered, so {producer!r} cannot be registered")
        self._producer = producer
        if not streaming:
            self.transport.unregisterProducer()
            self.transport.registerProducer(producer, False)
        elif self._flow & states.CLIENT_SLOW:
            producer.pauseProducing()

    def unregisterProducer(self) -> None:
        if self._producer is not None:
            self._producer = None
            self.transport.unregisterProducer()
            if self._state not in (states.CLOSING, states.GONE):
                self.transport.registerProducer(self, True)

    def _leave_to_heir(self, rest: bytes) -> None:
        """The connection was taken away while ``rest`` was still to be looked at."""
        if self.heir is None:
            self._taken_over()
        elif rest:
            self.heir.dataReceived(rest)

    # --- Ending -------------------------------------------------------------------------------------------------------

    def _close(self, linger: bool = False) -> None:
        """Close after what was written.

        :param linger: the client may still be sending, and would lose the answer to the reset that closing then brings.
            So only our side is closed, and what comes is thrown away for a while. (TLS closes so by itself.)
        """
        self._state = TABLE[self._state][states.CLOSED]
        self.deadline = self.site.now + self.site.limits.linger
        transport = self.transport
        transport.unregisterProducer()
        self._resume()
        if linger and ITCPTransport.providedBy(transport) and not self.isSecure():
            transport.loseWriteConnection()
        else:
            transport.loseConnection()

    def loseConnection(self) -> None:
        """A resource gives up on the client. Its request is told when the connection is gone."""
        if self._state not in (states.CLOSING, states.GONE):
            self._close()

    @property
    def idle(self) -> bool:
        """Whether nothing is asked that has no answer yet."""
        return self._state == states.IDLE

    def close_if_idle(self) -> None:
        """Close now, if it is."""
        if self.idle:
            self._close()

    def close_if_begun(self) -> bool:
        """Refuse a request of which only a part is here. :returns: whether there was one."""
        if self._state not in (states.HEADER, states.COLLECTING):
            return False
        self._refuse(503, "too many connections are open to wait for the rest of this request: try again later")
        return True

    def abort(self) -> None:
        """Cut the connection: an answer cannot be completed, and the client must be able to see that."""
        self._state = TABLE[self._state][states.CLOSED]
        self.deadline = NEVER
        self.transport.abortConnection()

    # --- What requests and resources ask of a channel -----------------------------------------------------------------

    def getPeer(self) -> IAddress:
        return self.transport.getPeer()

    def getHost(self) -> IAddress:
        return self.transport.getHost()

    def isSecure(self) -> bool:
        return ISSLTransport.providedBy(self.transport)

    @property
    def body_follows(self) -> bool:
        """Whether more of a body is here already and comes in this very turn."""
        return bool(self._flow & states.BUSY and self._held)

    def upgrade_declined(self) -> None:
        """A request that asks for another protocol is answered as one that does not."""
        self.deadline = NEVER
        self.transport.registerProducer(self, True)

    def give_away(self) -> tuple[Any, bytes]:
        """Another protocol has the connection from now on. :returns: its transport, and what came on it."""
        transport, held = self.transport, self._held
        self._resume()
        self.transport = None
        self._taken_over()
        return transport, held

    def _taken_over(self) -> None:
        """The transport is no longer ours."""
        raise NotImplementedError

    def following(self) -> bytes:
        """What came after the header of a request that asks for another protocol."""
        return self._held
