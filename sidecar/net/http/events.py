"""What a parser tells of a request: one head, the body's bytes in any number of pieces, one end.

A piece of a body is ``bytes`` itself: it is the commonest event, and has nothing else to tell.
"""

from __future__ import annotations

from typing import Any, Final

from attrs import define, field, frozen

#: Header fields or trailers in order, as they were received.
Fields = list[tuple[bytes, bytes]]

#: The length of a body in chunks, which nobody knows before its end.
CHUNKED: Final = -1

_LENGTH: Final = b"content-length"
_LENGTH_NAME: Final = len(_LENGTH)


@define(eq=False)
class Head:
    """The request line and the header fields. Not to be changed: a client that sends the same header again, as most
    do, gets the same value again.

    :ivar path: the target without its query.
    :ivar fields: by lower-case name, of a repeated one the last. :ivar fields_raw: all of them, in order, as received.
    :ivar length: of the body, in bytes; ``CHUNKED`` where it tells its end itself.
    :ivar persistent: the client will use the connection again.
    :ivar upgrade: it would rather go on in another protocol; what follows the header may be the first of that. There is
        no body then, and no :class:`End`.
    :ivar expects_continue: it waits for a word before it sends the body.
    :ivar prepared: what a resource made of it, to be used again. :ivar alike: the same, whatever the length.
    :ivar found: the resource that answers every request of this header, once somebody has found out.
    :ivar streams: that resource takes bodies as they come.
    """

    method: bytes
    uri: bytes
    version: bytes
    fields: dict[bytes, bytes]
    fields_raw: Fields
    length: int = 0
    persistent: bool = True
    upgrade: bool = False
    expects_continue: bool = False
    found: Any = None
    streams: bool = False
    prepared: Any = None
    alike: Any = None
    path: bytes = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.path = self.uri.partition(b"?")[0]

    def of_length(self, length: bytes) -> Head:
        """The same header with another ``Content-Length``, in digits, where it has one."""
        raw = [
            (name, length if len(name) == _LENGTH_NAME and name.lower() == _LENGTH else value)
            for name, value in self.fields_raw
        ]
        other = Head(self.method, self.uri, self.version, {**self.fields, _LENGTH: length}, raw, int(length))
        other.found, other.streams, other.alike = self.found, self.streams, self.alike
        return other


@frozen
class End:
    """The request is whole. :ivar trailers: the fields that came after a body in chunks."""

    trailers: tuple[tuple[bytes, bytes], ...] = ()


#: The end of a request without trailers, which is nearly every one.
END: Final = End()

Event = Head | bytes | End
