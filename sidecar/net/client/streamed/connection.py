"""A client connection whose requests and answers pass in pieces, of whatever size, with back-pressure both ways."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from httptools import HttpParserError
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IPushProducer
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from sidecar.net.client.connection import ClientConnection, ConnectionOwner
from sidecar.net.client.quickack import acknowledge
from sidecar.net.client.streamed import head as responsehead
from sidecar.net.client.streamed.head import UNTIL_CLOSE, ResponseHead
from sidecar.net.client.streamed.receiver import ResponseReceiver
from sidecar.net.errors import MalformedAnswer, RequestRefused
from sidecar.net.http.body import ChunkedBody
from sidecar.net.http.events import CHUNKED, Fields
from sidecar.net.http.head import header_block

#: Bytes that the head of an answer may take.
_MAX_HEAD: Final = 64 * 1024
_EMPTY_LINE: Final = b"\r\n\r\n"
#: Heads of up to so many bytes are remembered, to be known again.
_MEMORABLE: Final = 2048
#: Heads before the answer's own: 100, 103 and the like.
_MOST_INTERIM: Final = 16


@implementer(IPushProducer)
class StreamingConnection(ClientConnection):
    """Carries one request at a time: a head, then its body in pieces.

    :ivar answered_any: whether a byte of an answer came since the last request began.
    :ivar used: whether an earlier request went over it.
    """

    _known = b""  # the last head
    _known_head: Any = None
    transport: Any  # Twisted's interfaces do not tell a TCP transport's abilities

    def __init__(self, owner: ConnectionOwner, max_body: int) -> None:
        super().__init__(owner, max_body)
        self._parser = None
        self._receiver: ResponseReceiver | None = None
        self._unsent = b""
        self._produces = False
        self._reading = True
        self._chunked_request = False
        self._request_whole = True
        self._is_head = False
        self._upgrade = False
        self._left: int | None = None  # of the body: bytes, CHUNKED, UNTIL_CLOSE; None where the head is to come
        self._chunks: ChunkedBody | None = None
        self._interim = 0
        self._raw = False
        self._keep = False
        self._seen = b""
        self.answered_any = False
        self.used = False

    # --- The owner's side -------------------------------------------------------------------------------------------

    def begin(self, head: bytes, receiver: ResponseReceiver, chunked: bool, is_head: bool, upgrade: bool) -> None:
        """Begin a request. Its head goes out with the first piece of the body, or by :meth:`flush`.

        :param chunked: the body goes in chunks; else as the head announces it.
        :param is_head: it is a HEAD. :param upgrade: the answer may be 101.
        """
        self._receiver = receiver
        self._unsent = head
        self._chunked_request, self._is_head, self._upgrade = chunked, is_head, upgrade
        self._request_whole = self.answered_any = False
        self._interim = 0
        self._seen = b""

    def ask(self, data: bytes, receiver: ResponseReceiver, is_head: bool, upgrade: bool) -> None:
        """Send a request of which all is here. :param data: its head, and its body. As for :meth:`begin` otherwise."""
        self._receiver = receiver
        self._chunked_request, self._is_head, self._upgrade = False, is_head, upgrade
        self._request_whole, self.answered_any = True, False
        self._interim = 0
        self.transport.write(data)

    def flush(self) -> None:
        """Send the head, where it has not gone yet."""
        unsent, self._unsent = self._unsent, b""
        if unsent:
            self.transport.write(unsent)

    def write(self, data: bytes, more: bool = True) -> None:
        """Send a piece of the body, or of the other protocol. :param more: it was not the last."""
        if more and not self._produces:
            self._produces = True
            self.transport.registerProducer(self, True)
        if self._chunked_request and not self._raw:
            data = b"%x\r\n%b\r\n" % (len(data), data)
        unsent, self._unsent = self._unsent, b""
        self.transport.write(unsent + data if unsent else data)

    @property
    def sending(self) -> bool:
        """Whether the request is not whole yet."""
        return not self._request_whole

    def finish(self, trailers: Sequence[tuple[bytes, bytes]] = ()) -> None:
        """The request is whole. :param trailers: sent after a body in chunks."""
        self._request_whole = True
        if self._chunked_request:
            self._unsent += b"0\r\n%b\r\n" % header_block(trailers)
        self.flush()
        self._stop_producing()

    def pause(self) -> None:
        """Read no further: whoever takes the answer is slow."""
        self._reading = False
        self.transport.pauseProducing()

    def resume(self) -> None:
        """Go on reading."""
        if not self._reading:
            self._reading = True
            self.transport.resumeProducing()

    def drop(self) -> None:
        self._receiver = None
        super().drop()

    def close(self) -> None:
        self._receiver = None
        self._stop_producing()
        super().close()

    # --- From the transport -----------------------------------------------------------------------------------------

    def pauseProducing(self) -> None:
        if self._receiver is not None:
            self._receiver.pause_request()

    def resumeProducing(self) -> None:
        if self._receiver is not None:
            self._receiver.resume_request()

    def stopProducing(self) -> None:
        """The transport is lost, which is told otherwise."""

    def dataReceived(self, data: bytes) -> None:
        receiver = self._receiver
        if receiver is None:
            self.drop()  # nobody asked, or nobody waits any more
            return
        known = self._known
        if known and data.startswith(known) and self._left is None and not (self._seen or self._is_head or self._raw):
            head = self._known_head
            if len(data) == len(known) + head.length:  # nearly always: a head as before, and all of its body
                self.answered_any = self.used = True
                self._receiver = None
                self._keep = head.persistent
                self.reusable = self._keep and self._request_whole
                if self._produces or not self._reading:
                    self._complete()
                receiver.began(self, head, data[len(known) :], True)
                return
        if self._raw:
            receiver.data(data)
            return
        self.answered_any = True
        try:
            if self._left is None:
                self._headed(receiver, self._seen + data if self._seen else data)
            else:
                data, whole, trailers = self._body_of(data)
                if data:
                    receiver.data(data)
                if whole and self._receiver is receiver:
                    self._end(receiver, trailers)
        except MalformedAnswer as error:
            self._break(error)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.connected = 0
        self.reusable = False
        receiver, self._receiver = self._receiver, None
        if receiver is not None:
            if reason.check(ConnectionDone) is not None and (self._raw or self._left == UNTIL_CLOSE):
                receiver.ended(self, [])
            else:
                error = reason.value
                receiver.lost(error if isinstance(error, Exception) else ConnectionDone())
        self._owner.closed(self)

    # --- Within -----------------------------------------------------------------------------------------------------

    def _headed(self, receiver: ResponseReceiver, data: bytes) -> None:
        """A head is due: read it, and those that come before the answer's own."""
        while True:
            end = data.find(_EMPTY_LINE) + 4
            if end == 3:
                if len(data) > _MAX_HEAD:
                    raise MalformedAnswer(f"sent an answer whose headers are larger than {_MAX_HEAD} bytes")
                self._seen = data
                acknowledge(self.transport)
                return
            known = self._known
            if known and data.startswith(known) and not self._is_head:
                head = self._known_head
                data = data[end:]
                break
            text, data = data[:end], data[end:]
            head = responsehead.read(text, self._is_head)
            if head.status == 101:
                self._switch(receiver, head, data)
                return
            if head.status >= 200:
                if not self._is_head and len(text) <= _MEMORABLE:
                    self._known, self._known_head = text, head
                break
            self._interim += 1
            if self._interim > _MOST_INTERIM:
                raise MalformedAnswer(f"sent more than {_MOST_INTERIM} interim answers")
            if head.status != 100:
                receiver.informed(head)
                if self._receiver is not receiver:
                    return
        self._seen = b""
        self._keep = head.persistent
        self._left = head.length
        if head.length == CHUNKED:
            self._chunks = ChunkedBody(_MAX_HEAD)
        body, whole, trailers = self._body_of(data)
        told = whole and not trailers
        if told:
            self._complete()
            receiver.began(self, head, body, True)
            return
        receiver.began(self, head, body, False)
        if whole and self._receiver is receiver:
            self._end(receiver, trailers)
        elif self._receiver is receiver and not body:
            acknowledge(self.transport)

    def _switch(self, receiver: ResponseReceiver, head: ResponseHead, data: bytes) -> None:
        if not self._upgrade:
            raise MalformedAnswer("sent 101 though nobody asked for another protocol")
        self._raw = True
        self._keep = False
        self._seen = b""
        receiver.switched(self, head, data)

    def _body_of(self, data: bytes) -> tuple[bytes, bool, Fields]:
        """:returns: what ``data`` has of the body, whether that is its end, and its trailers."""
        left = self._left
        assert left is not None
        if left >= 0:
            if len(data) > left:
                self._keep = False  # something stands behind the answer, and would be taken for the next one's
                data = data[:left]
            self._left = left - len(data)
            return data, self._left == 0, []
        if left == UNTIL_CLOSE:
            return data, False, []
        chunks = self._chunks
        assert chunks is not None
        try:
            came, rest = chunks.feed(data)
        except (HttpParserError, RequestRefused) as error:
            raise MalformedAnswer(f"sent a body in chunks that cannot be read: {str(error).lower()}") from None
        if rest:
            self._keep = False
        return came, chunks.done, chunks.trailers

    def _end(self, receiver: ResponseReceiver, trailers: Fields) -> None:
        self._complete()
        receiver.ended(self, trailers)

    def _complete(self) -> None:
        """The answer is whole."""
        self.reusable = self._keep and self._request_whole
        self._receiver = None
        self._left = self._chunks = None
        self.used = True
        if self._produces:
            self._stop_producing()
        if not self._reading:
            self.resume()

    def _stop_producing(self) -> None:
        if self._produces:
            self._produces = False
            self.transport.unregisterProducer()

    def _break(self, error: MalformedAnswer) -> None:
        receiver, self._receiver = self._receiver, None
        self.drop()
        if receiver is not None:
            receiver.lost(error)
