"""One HTTP/1.1 client connection: a request goes out as bytes, its answer comes back as status and body."""

from __future__ import annotations

import re
from typing import Final, Protocol

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import ITCPTransport
from twisted.internet.protocol import Protocol as TwistedProtocol
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure

from sidecar.net.client.quickack import acknowledge
from sidecar.net.client.states import (
    ANNOUNCED,
    BEGUN,
    BODY,
    BODY_BEGUN,
    COMPLETED,
    CONNECTED,
    CONNECTING,
    DROPPED,
    GARBLED,
    HEAD,
    LOST,
    SENT,
    SURPLUS,
    TABLE,
    TOLD,
    WAITING,
    WHOLE,
)
from sidecar.net.errors import BudgetSpent, MalformedAnswer, NetError
from sidecar.net.memory import MemoryBudget

#: Bytes that the head of an answer may take.
_MAX_HEAD: Final = 64 * 1024
_BLANK_LINE: Final = b"\r\n\r\n"

#: Pieces of an answer that are kept as they came. More of them become one: what many small blocks take of the heap is
#: not the machine's again when they are freed, that of a large one is.
_FEW: Final = 8
#: The share of an answer that it takes besides: a growing block has some to spare, and is copied when it is whole.
_BESIDES: Final = 4


class ResponseWaiter(Protocol):
    """Who waits for the answer of a connection. Told exactly once, one way or the other."""

    def answered(self, connection: ClientConnection, status: int, body: bytes) -> None:
        """The whole answer is there. ``connection.header`` may be asked until this returns."""

    def lost(self, error: Exception) -> None:
        """There will be no answer: the connection is gone."""


class ConnectionOwner(Protocol):
    """What connections belong to, such as a pool."""

    def opened(self, connection: ClientConnection) -> None:
        """It is connected."""

    def closed(self, connection: ClientConnection) -> None:
        """It is gone. Whoever waited for an answer was told already."""


class ClientConnection(TwistedProtocol):
    """Carries one call at a time.

    Headers of answers are not looked at, since a good answer says everything in its body: the head is kept as it came
    and searched only when somebody asks. That saves a call of Python for each header.

    Where it stands is told by the table in ``states``.

    :ivar reusable: whether the last answer left the connection fit for another call.
    :ivar idle_since: when its owner found it put aside, in the owner's seconds.
    :ivar connecting: seconds that it took to be made, 0 once somebody waited for that.
    :ivar budget: told of answers that come in several pieces, None for nobody.
    """

    transport: ITCPTransport
    budget: MemoryBudget | None = None
    _counted = False

    def __init__(self, owner: ConnectionOwner, max_body: int) -> None:
        """:param max_body: bytes of the largest answer to take."""
        self._owner = owner
        self._max_body = max_body
        self._parser: HttpResponseParser | None = HttpResponseParser(self)
        self._waiter: ResponseWaiter | None = None
        self._state = CONNECTING
        self._keep = False
        self._body = b""
        self._parts: list[bytes | bytearray] | None = None
        self._size = 0
        self._head = b""
        self._status = 0
        self.reusable = True
        self.idle_since: float | None = None
        self.connecting = 0.0

    def connectionMade(self) -> None:
        self._state = TABLE[self._state][CONNECTED]
        self.transport.setTcpNoDelay(True)
        self._owner.opened(self)

    def send(self, data: bytes, waiter: ResponseWaiter) -> None:
        """Send a whole request. :param waiter: who is told of the answer."""
        self._state = TABLE[self._state][SENT]
        self._waiter = waiter
        self.transport.write(data)

    def drop(self) -> None:
        """Cut it off, whatever is under way; nobody is told any more but the owner."""
        self._state = TABLE[self._state][DROPPED]
        self._waiter = None
        self.reusable = False
        if self._counted:
            self._forget()
        self.transport.abortConnection()

    def close(self) -> None:
        """Say goodbye: nothing is under way. (Servers log a connection that is cut off as an error.)"""
        self._state = TABLE[self._state][DROPPED]
        self.reusable = False
        self.transport.loseConnection()

    def header(self, name: bytes) -> bytes | None:
        """A header of the answer that is being told, None where it has none. :param name: in any case."""
        head = self._head.partition(_BLANK_LINE)[0]
        found = re.search(rb"(?i)\r\n" + re.escape(name) + rb":[ \t]*([^\r\n]*)", head)
        return found[1].rstrip() if found else None

    # --- From the transport -----------------------------------------------------------------------------------------

    def dataReceived(self, data: bytes) -> None:
        state, parser, waiter = self._state, self._parser, self._waiter
        if state is WAITING:
            self._head = data
        elif state is HEAD:
            if _BLANK_LINE not in self._head:
                self._head += data
        elif state is not BODY:
            # Nobody asked: an answer to a request that was given up, or a peer that talks out of turn.
            self.drop()
            return
        assert parser is not None
        assert waiter is not None
        try:
            parser.feed_data(data)
        except (HttpParserError, HttpParserUpgrade) as error:
            if self._state is not WHOLE and self._state is not SURPLUS:
                self._broken(MalformedAnswer(f"sent what is not an HTTP answer: {_words(error)}"))
                return
            self._state = TABLE[self._state][GARBLED]
        state = self._state
        if self._size > self._max_body:
            self._broken(self._too_large())
        elif state is WHOLE or state is SURPLUS:
            body = self._body if self._parts is None else self._joined()
            # A second answer behind the first would be taken for that of the next call.
            self.reusable = self._keep and state is WHOLE
            self._state = TABLE[state][TOLD]
            self._waiter = None
            self._size = 0
            self._body, self._parts = b"", None
            waiter.answered(self, self._status, body)
            self._head = b""
        elif state is HEAD and len(self._head) > _MAX_HEAD and _BLANK_LINE not in self._head:
            self._broken(MalformedAnswer(f"sent an answer whose headers are larger than {_MAX_HEAD} bytes"))
        else:
            if self._parts is not None and not self._may_keep():
                self.shed()
                return
            acknowledge(self.transport)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        state, self._state = self._state, TABLE[self._state][LOST]
        self.connected = 0
        self.reusable = False
        waiter, self._waiter = self._waiter, None
        if waiter is not None:
            if (state is HEAD or state is BODY) and reason.check(ConnectionDone) is not None and self._ends_here():
                assert self._parser is not None
                waiter.answered(self, self._parser.get_status_code(), self._joined())
            else:
                error = reason.value
                if self._counted:
                    self._forget()
                waiter.lost(error if isinstance(error, Exception) else ConnectionDone())
        self._owner.closed(self)
        # The parser holds our methods: let go, so that no collector has to.
        self._parser = None

    # --- From the parser --------------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        self._state = TABLE[self._state][BEGUN]

    def on_body(self, data: bytes) -> None:
        state = self._state
        if state is HEAD:
            self._state = TABLE[state][BODY_BEGUN]
            self._body = data
        elif state is BODY:
            parts = self._parts
            if parts is None:
                parts = self._parts = [self._body]
            if self._size <= self._max_body:
                parts.append(data)
                if len(parts) > _FEW:
                    self._join_parts(parts)
        else:
            return  # that of a second answer, which nobody asked for
        self._size += len(data)

    def on_message_complete(self) -> None:
        parser, state = self._parser, self._state
        assert parser is not None
        if state is not HEAD and state is not BODY:
            return
        self._status = parser.get_status_code()
        if self._status < 200:
            # 1xx announces the answer and is none.
            self._state = TABLE[state][ANNOUNCED]
            self._head = self._head.partition(_BLANK_LINE)[2]
            return
        self._state = TABLE[state][COMPLETED]
        self._keep = parser.should_keep_alive()

    # --- Within -----------------------------------------------------------------------------------------------------

    def _joined(self) -> bytes:
        if self._counted:
            self._forget()
        return self._body if self._parts is None else b"".join(self._parts)

    @staticmethod
    def _join_parts(parts: list[bytes | bytearray]) -> None:
        whole = parts[0]
        if not isinstance(whole, bytearray):
            whole = bytearray(whole)
        whole += b"".join(parts[1:])
        parts[:] = [whole]

    def _may_keep(self) -> bool:
        """Tell the budget of all what has come of an answer. :returns: whether it may be kept."""
        if self.budget is None:
            return True
        self._counted = True
        return self.budget.changed(self, self._size + self._size // _BESIDES, "replies")

    def _forget(self) -> None:
        self._counted = False
        if self.budget is not None:
            self.budget.changed(self, 0, "replies")

    def shed(self) -> None:
        """Called by the budget: what is kept for all is too much, and of this answer it is most."""
        assert self.budget is not None
        self._broken(BudgetSpent(f"what had come of its answer was given up: {self.budget.spent}"))

    def _ends_here(self) -> bool:
        """Whether the end of the connection is the end of an answer that did not tell its length (RFC 9112 6.3)."""
        return (
            _BLANK_LINE in self._head
            and self.header(b"content-length") is None
            and self.header(b"transfer-encoding") is None
        )

    def _too_large(self) -> MalformedAnswer:
        return MalformedAnswer(f"sent an answer of more than {self._max_body} bytes, which --max_body allows")

    def _broken(self, error: NetError) -> None:
        waiter, self._waiter = self._waiter, None
        self.drop()
        if waiter is not None:
            waiter.lost(error)


def _words(error: Exception) -> str:
    """What the parser says, which may be empty for an upgrade."""
    return (
        "an upgrade that nobody asked for" if isinstance(error, HttpParserUpgrade) else str(error).lower() or "garbled"
    )
