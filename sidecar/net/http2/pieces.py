"""What a server of HTTP/2 and who answers there tell each other: whole answers, and bodies in pieces either way."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol

from attrs import frozen
from twisted.internet.defer import Deferred

from sidecar.net.http2.stream import Headers

#: Bytes of an answer in pieces that wait for the peer before who answers is asked to wait.
ENOUGH: Final = 256 * 1024


class PieceReceiver(Protocol):
    """Takes the body of a request as it comes, and answers it when it likes."""

    def received(self, data: bytes) -> None:
        """A piece of it."""

    def ended(self) -> None:
        """It is whole."""

    def lost(self) -> None:
        """The peer has left, or nobody is left to hear an answer."""

    def pause(self) -> None:
        """The peer does not take what is sent: send no more."""

    def resume(self) -> None:
        """It takes it again."""


@frozen
class PieceSender:
    """Sends an answer in pieces. After the end of the exchange it does nothing."""

    _send: Callable[[bytes, Headers, Headers], None]

    def begin(self, headers: Headers) -> None:
        """First of all."""
        self._send(b"", headers, ())

    def send(self, data: bytes) -> None:
        """A piece of the body."""
        self._send(data, (), ())

    def finish(self, trailers: Headers) -> None:
        """Last of all."""
        self._send(b"", (), trailers)


@frozen
class Http2Answer:
    """:ivar body: "" for a trailers-only answer, whose status then stands in ``trailers`` alone."""

    headers: Headers
    body: bytes
    trailers: Headers


#: Told of a request that has not ended, the headers, the body so far and whether no more came for a while: an answer
#: where it is never to be served, however it goes on, or what takes it as it comes.
Refuse = Callable[
    [dict[str, str], "bytes | bytearray", bool], "Http2Answer | Callable[[PieceSender], PieceReceiver] | None"
]

#: Serves one request: headers in lower case, body; the Deferred is cancelled when the peer resets the stream.
Serve = Callable[[dict[str, str], bytes], "Deferred[Http2Answer]"]
