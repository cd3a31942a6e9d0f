"""Server-Sent Events as bytes. Pure.

:source: WHATWG HTML, 9.2.5 (Parsing an event stream)
"""

from __future__ import annotations

from typing import Final

#: The content type of a stream of events.
TYPE: Final = b"text/event-stream"
#: A line that says nothing and shows that somebody is there.
HEARTBEAT: Final = b": heartbeat\n\n"


def encode(name: str, data: bytes, id: str = "") -> bytes:
    """One event.

    :param name: what kind it is of. :param data: UTF-8; a line break in it begins another line of data.
    :param id: what a reader that reconnects says in ``Last-Event-ID``, "" for none.
    """
    told = b"id: %b\n" % id.encode("utf-8") if id else b""
    lines = b"\ndata: ".join(data.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n"))
    return b"%bevent: %b\ndata: %b\n\n" % (told, name.encode("utf-8"), lines)
