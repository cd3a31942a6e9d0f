"""The writing side of a request: an answer in one write, or in pieces."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from twisted.web import http

from sidecar.net.http.head import (
    BODILESS,
    LENGTH_LINES,
    STATUS_LINES,
    announced_length,
    header_block,
    status_line,
)
from sidecar.net.http.lazy import LazyRequest


class AnsweringRequest(LazyRequest):
    """A request that can be answered.

    :ivar on_lost: called once, without arguments, if the client goes away before it was answered.
    :ivar streaming: the resource takes the body as it comes.
    """

    on_lost: Callable[[], None] | None = None
    streaming = False
    code = http.OK
    _promised: int | None = None  # bytes that the answer was announced to have

    def answer(self, status: int, headers: bytes | Sequence[tuple[bytes, bytes]], body: bytes) -> None:
        """Answer in one write and be done.

        :param headers: pairs, or lines already; Date, Server, Content-Length and Connection are added. Header fields
            that were set on the request before go out too.
        """
        channel = self.channel
        if channel is None or self.finished:
            return
        if self.startedWriting:
            raise RuntimeError("answer() after write(): the answer has begun already")
        if self.streaming:
            channel.answering_whole()
        self.code = status
        self.startedWriting = self.finished = 1
        self.sentLength = size = len(body)
        parts = [STATUS_LINES.get(status) or status_line(status), channel.site.preamble]
        if not channel.persistent or channel.site.draining or self.clientproto != b"HTTP/1.1":
            parts.append(self._persistence())
        parts.append(headers if type(headers) is bytes else header_block(headers))
        if self.dressed:
            self.responseHeaders.removeHeader(b"Content-Length")  # it is counted here
            parts.append(self._set_before())
        if status in BODILESS:
            parts.append(b"\r\n")
        else:
            parts.append(LENGTH_LINES[size] if size < len(LENGTH_LINES) else b"Content-Length: %d\r\n\r\n" % size)
            if self.method != b"HEAD":
                parts.append(body)
        channel.transport.write(b"".join(parts))
        self._done()

    def begin(
        self,
        status: int,
        headers: bytes | Sequence[tuple[bytes, bytes]] = b"",
        data: bytes = b"",
        reason: bytes | None = None,
        preamble: bytes | None = None,
        length: int | None = None,
    ) -> None:
        """Send the head of an answer; :meth:`write` and :meth:`finish` follow, at any time.

        :param headers: as for :meth:`answer`. Without a ``Content-Length`` the body goes out in chunks.
        :param data: the first of the body, in the same write. :param reason: the phrase, None for the usual one.
        :param preamble: the lines before all others, None for Server and Date.
        :param length: what ``Content-Length`` says, None to look for it.
        """
        channel = self.channel
        if channel is None or self.finished:
            return
        if self.startedWriting:
            raise RuntimeError("begin() after write(): the answer has begun already")
        self.code = status
        self.startedWriting = 1
        block = header_block(headers)
        if self.dressed:
            block += self._set_before()
        if status not in BODILESS and self.method != b"HEAD":
            self._promised = announced_length(block) if length is None else length
            if self._promised is None:
                self._unannounced()
        coding = b"Transfer-Encoding: chunked\r\n" if self.chunked else b""
        if preamble is None:
            preamble = channel.site.preamble
        head = b"%b%b%b%b%b\r\n" % (status_line(status, reason), preamble, self._persistence(), block, coding)
        channel.transport.write(head + self._framed(data) if data else head)

    def relay(self, status: int, head: bytes, body: bytes) -> None:
        """Answer in one write, with a head that is somebody else's: only Connection is added, and what was set on the
        request before.

        :param head: the status line, and lines of fields that tell the length of ``body``.
        """
        channel = self.channel
        if channel is None or self.finished:
            return
        if self.startedWriting:
            raise RuntimeError("relay() after write(): the answer has begun already")
        if self.streaming:
            channel.answering_whole()
        self.code = status
        self.startedWriting = self.finished = 1
        self.sentLength = len(body)
        if not channel.persistent or channel.site.draining or self.clientproto != b"HTTP/1.1":
            head += self._persistence()
        if self.dressed:
            head += self._set_before()
        channel.transport.write(b"%b\r\n%b" % (head, body))
        self._done()

    def inform(self, status: int, headers: bytes) -> None:
        """Send an interim answer, such as 103; to a client that knows them. :param headers: lines."""
        if self.channel is not None and not self.startedWriting and self.clientproto == b"HTTP/1.1":
            self.channel.transport.write(b"%b%b\r\n" % (status_line(status), headers))

    def _unannounced(self) -> None:
        """The body tells its end itself, or the connection does."""
        if self.clientproto == b"HTTP/1.1":
            self.chunked = 1
        elif self.channel is not None:
            self.channel.persistent = False

    def write(self, data: bytes) -> None:
        if self.finished:
            raise RuntimeError("Request.write called on a request after Request.finish was called.")
        if self._disconnected or self._inFakeHead:
            return
        if self._encoder is not None:
            data = self._encoder.encode(data)
        self._put(data)

    def finish(self, trailers: Sequence[tuple[bytes, bytes]] = ()) -> None:
        """The answer is complete. :param trailers: header fields to send after a body in chunks; else they are lost."""
        if self._disconnected:
            raise RuntimeError(
                "Request.finish called on a request after its connection was lost; "
                "use Request.notifyFinish to keep track of this."
            )
        if self.finished:
            return
        last = self._encoder.finish() if self._encoder is not None else b""
        if last or not self.startedWriting:
            self._put(last)
        assert self.channel is not None
        if self.chunked:
            self.channel.transport.write(b"0\r\n%b\r\n" % header_block(trailers))
        elif self._promised is not None and self.sentLength < self._promised:
            self.channel.abort()  # the client must not wait for the rest, or take the next answer for it
        self.finished = 1
        self._done()

    def _done(self) -> None:
        channel = self.channel
        assert channel is not None
        self.channel = None  # it serves somebody else now
        if self.producer is not None:
            channel.unregisterProducer()
            self.producer = None
        self.on_lost = None
        channel.requestDone(self)
        if self._watched:
            waiting, self.notifications = self.notifications, []
            for one in waiting:
                one.callback(None)

    def _put(self, data: bytes) -> None:
        """Write ``data`` as a part of the body, with the head before it the first time."""
        head = b""
        if not self.startedWriting:
            head = self._head()
            self.startedWriting = 1
        data = self._framed(data)
        if (head or data) and self.channel is not None:
            self.channel.transport.write(head + data)

    def _framed(self, data: bytes) -> bytes:
        """A piece of the body as it goes out."""
        if self.method == b"HEAD" or self.code in BODILESS:
            data = b""
        self.sentLength += len(data)
        if self._promised is not None and self.sentLength > self._promised:
            raise RuntimeError(f"write() of more than the {self._promised} bytes that Content-Length announced")
        if data and self.chunked:
            return b"%x\r\n%b\r\n" % (len(data), data)
        return data

    def _head(self) -> bytes:
        channel, headers = self.channel, self.responseHeaders
        assert channel is not None
        if self.lastModified is not None and not headers.hasHeader(b"Last-Modified"):
            headers.setRawHeaders(b"Last-Modified", [http.datetimeToString(self.lastModified)])
        if self.etag is not None:
            headers.setRawHeaders(b"ETag", [self.etag])
        if self.code not in BODILESS and not headers.hasHeader(b"Content-Length"):
            if self.method == b"HEAD":
                pass  # how long the body of a GET would be is not known: neither length nor coding is said
            else:
                self._unannounced()
        if self.defaultContentType is not None and not (
            self.code in BODILESS
            or headers.hasHeader(b"Content-Type")
            or headers.getRawHeaders(b"Content-Length") == [b"0"]
        ):
            headers.setRawHeaders(b"Content-Type", [self.defaultContentType])
        if b"close" in [value.strip().lower() for value in headers.getRawHeaders(b"Connection", ())]:
            channel.persistent = False
            headers.removeHeader(b"Connection")
        own = channel.site.preamble if not (headers.hasHeader(b"Date") or headers.hasHeader(b"Server")) else b""
        return b"%b%b%b%b%b\r\n" % (
            status_line(self.code, self.code_message),
            own,
            b"" if self.code == http.SWITCHING else self._persistence(),
            self._set_before(),
            b"Transfer-Encoding: chunked\r\n" if self.chunked else b"",
        )

    def _persistence(self) -> bytes:
        """The Connection line that the answer needs, "" for none."""
        channel = self.channel
        assert channel is not None
        if channel.site.draining:
            channel.persistent = False
        if not channel.persistent:
            return b"Connection: close\r\n"
        return b"Connection: keep-alive\r\n" if self.clientproto == b"HTTP/1.0" else b""

    def _set_before(self) -> bytes:
        """The header fields and cookies that were set on the request, as lines."""
        lines = [
            b"%b: %b\r\n" % (name, value)
            for name, values in self.responseHeaders.getAllRawHeaders()
            for value in values
        ]
        if self.cookies:
            lines += [b"Set-Cookie: %b\r\n" % cookie for cookie in self.cookies]
        return b"".join(lines)
