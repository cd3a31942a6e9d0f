"""Where a server's connection can stand, and what moves it: the whole of it in one table.

A move that is not in the table is a fault of ours, and raises ``KeyError`` at once instead of corrupting a connection.
"""

from __future__ import annotations

from typing import Final

# --- States -----------------------------------------------------------------------------------------------------------

#: Nothing of a next request is here.
IDLE: Final = "idle"
#: A part of a header is here.
HEADER: Final = "header"
#: The header is whole. The body is collected; the resource knows of nothing yet.
COLLECTING: Final = "collecting"
#: The resource has the request, and takes the body as it comes.
STREAMING: Final = "streaming"
#: The resource has the whole request. What comes meanwhile is kept, and not looked at.
ANSWERING: Final = "answering"
#: The resource has a request for another protocol, and may take the connection away.
OFFERED: Final = "offered"
#: The last answer is written. What comes is thrown away.
CLOSING: Final = "closing"
#: The connection is lost, cut, or no longer ours.
GONE: Final = "gone"

# --- What happens -----------------------------------------------------------------------------------------------------

#: The first bytes of a header came.
BEGUN: Final = "begun"
#: A header is whole, of a request that is handed over with its body.
HEADED: Final = "headed"
#: A header is whole, of a request whose resource takes the body as it comes.
HANDED_OVER: Final = "handed over"
#: A header is whole that asks for another protocol.
UPGRADE_ASKED: Final = "upgrade asked"
#: The body is whole.
ENDED: Final = "ended"
#: The answer is written, and the connection stays.
ANSWERED: Final = "answered"
#: The last answer is written, or the connection is not wanted any more.
CLOSED: Final = "closed"
#: The transport is gone, or belongs to another protocol.
LOST: Final = "lost"

TABLE: Final[dict[str, dict[str, str]]] = {
    IDLE: {
        BEGUN: HEADER,
        HEADED: COLLECTING,
        HANDED_OVER: STREAMING,
        UPGRADE_ASKED: OFFERED,
        CLOSED: CLOSING,
        LOST: GONE,
    },
    HEADER: {
        HEADED: COLLECTING,
        HANDED_OVER: STREAMING,
        UPGRADE_ASKED: OFFERED,
        CLOSED: CLOSING,
        LOST: GONE,
    },
    COLLECTING: {ENDED: ANSWERING, CLOSED: CLOSING, LOST: GONE},
    STREAMING: {ENDED: ANSWERING, CLOSED: CLOSING, LOST: GONE},
    ANSWERING: {ANSWERED: IDLE, CLOSED: CLOSING, LOST: GONE},
    OFFERED: {ANSWERED: IDLE, CLOSED: CLOSING, LOST: GONE},
    CLOSING: {CLOSED: CLOSING, LOST: GONE},
    GONE: {CLOSED: GONE, LOST: GONE},
}

#: In these, bytes that come are looked at.
READING: Final = frozenset((IDLE, HEADER, COLLECTING, STREAMING))

# --- Why bytes that came are kept for later: bits, several at once ----------------------------------------------------

#: The client does not take what we send: its next request can wait.
CLIENT_SLOW: Final = 1
#: The resource does not take the body at present.
RECEIVER_SLOW: Final = 2
#: This connection has had its share of the reactor's turn.
NEXT_TURN: Final = 4
#: What came before is being looked at just now.
BUSY: Final = 8

#: A client may be slow to take the beginning of an answer, and still be heard with the rest of its request.
WAITS_FOR: Final[dict[str, int]] = {
    state: RECEIVER_SLOW | NEXT_TURN | BUSY if state == STREAMING else ~0 for state in TABLE
}
