"""Who takes an answer that passes in pieces."""

from __future__ import annotations

from typing import Protocol

from sidecar.net.client.connection import ClientConnection
from sidecar.net.client.streamed.head import ResponseHead
from sidecar.net.http.events import Fields


class ResponseReceiver(Protocol):
    """Takes one answer as it comes. :meth:`ended` or :meth:`lost` comes last, and once; nothing after a drop."""

    def began(self, connection: ClientConnection, head: ResponseHead, data: bytes, ended: bool) -> None:
        """The answer has begun. :param data: what is here of its body. :param ended: that is all of it.
        :meth:`ended` does not follow then, unless there are trailers."""

    def informed(self, head: ResponseHead) -> None:
        """An interim answer: 103 and the like, but not 100."""

    def switched(self, connection: ClientConnection, head: ResponseHead, data: bytes) -> None:
        """101: from now on bytes pass as they are, the first of which are ``data``."""

    def data(self, data: bytes) -> None:
        """A piece of the body, or of the other protocol."""

    def ended(self, connection: ClientConnection, trailers: Fields) -> None:
        """The answer is whole. After 101: the peer has closed."""

    def lost(self, error: Exception) -> None:
        """There is no rest: the connection broke, or what came is no answer."""

    def pause_request(self) -> None:
        """The peer does not take what we send: wait with the next piece."""

    def resume_request(self) -> None:
        """It takes it again."""
