"""Where a client connection can stand, and what moves it: the whole of it in one table.

A move that is not in the table is a fault of ours, and raises ``KeyError`` at once instead of mixing up two calls.
"""

from __future__ import annotations

from typing import Final

# --- States -----------------------------------------------------------------------------------------------------------

#: It is being made, and nobody has it yet.
CONNECTING: Final = "connecting"
#: No call is under way. What comes now was not asked for.
IDLE: Final = "idle"
#: A request is written, and nothing of its answer has come, or only announcements (1xx).
WAITING: Final = "waiting"
#: A part of the answer has come, and nothing of its body.
HEAD: Final = "head"
#: A part of its body has come.
BODY: Final = "body"
#: The answer is whole.
WHOLE: Final = "whole"
#: The answer is whole, and something that was not asked for stands behind it.
SURPLUS: Final = "surplus"
#: We want it no more.
CLOSING: Final = "closing"
#: It is gone.
CLOSED: Final = "closed"

# --- What happens -----------------------------------------------------------------------------------------------------

#: It is connected.
CONNECTED: Final = "connected"
#: A request was written.
SENT: Final = "sent"
#: The first byte of an answer came.
BEGUN: Final = "begun"
#: An announcement was whole (1xx): the answer is still to come.
ANNOUNCED: Final = "announced"
#: The first byte of the body came.
BODY_BEGUN: Final = "body begun"
#: The last byte of the answer came.
COMPLETED: Final = "completed"
#: What came behind the answer is no HTTP.
GARBLED: Final = "garbled"
#: The answer was handed over.
TOLD: Final = "told"
#: We close it or cut it off.
DROPPED: Final = "dropped"
#: The transport is gone.
LOST: Final = "lost"

_LEAVING: Final = {DROPPED: CLOSING, LOST: CLOSED}

TABLE: Final[dict[str, dict[str, str]]] = {
    CONNECTING: {CONNECTED: IDLE, **_LEAVING},
    IDLE: {SENT: WAITING, **_LEAVING},
    WAITING: {BEGUN: HEAD, **_LEAVING},
    HEAD: {ANNOUNCED: WAITING, BODY_BEGUN: BODY, COMPLETED: WHOLE, **_LEAVING},
    BODY: {COMPLETED: WHOLE, **_LEAVING},
    WHOLE: {BEGUN: SURPLUS, GARBLED: SURPLUS, TOLD: IDLE, **_LEAVING},
    SURPLUS: {BEGUN: SURPLUS, GARBLED: SURPLUS, TOLD: IDLE, **_LEAVING},
    # Its owner may not have heard yet that it is not wanted: whoever sends on it is told that it is lost.
    CLOSING: {SENT: CLOSING, **_LEAVING},
    CLOSED: {DROPPED: CLOSED, LOST: CLOSED},
}
