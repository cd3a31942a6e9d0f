"""A ``twisted.web.server.Request`` that builds only what its resource asks for.

The stock class makes two header tables, parses cookies, query and form, and formats the time for each request; a call
through ``/rpc`` needs none of these. Here they are made on first use, so every resource finds what it knows, and the
hot path has four attributes and one method of its own:

``fields``
    the header fields by lower-case name (of a repeated one, the last), as ``dict[bytes, bytes]``;
``fields_raw``
    all header fields in order, as received, as ``list[tuple[bytes, bytes]]``;
``body``
    the whole body, as ``bytes``;
``on_lost``
    set it to a callable without arguments, and it is called once if the client goes away before it was answered: what
    ``notifyFinish`` offers, without a Deferred;
``answer(status, headers, body)``
    the whole answer in one write. After the client has gone it does nothing, as it does after an answer was given.

``sidecar.net.http.twistedweb`` gives requests of twisted.web's own channel the same, so resources need not know which
serves them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from io import BytesIO
from typing import TYPE_CHECKING, Any, TypeVar, cast
from urllib.parse import unquote_to_bytes

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress
from twisted.python.failure import Failure
from twisted.web import http, resource, server
from twisted.web.error import UnsupportedMethod
from twisted.web.http_headers import Headers

from sidecar.net.http.head import BODILESS, LENGTH_LINES, STATUS_LINES, header_block, status_line

if TYPE_CHECKING:
    from sidecar.net.http.channel import HTTPChannel
    from sidecar.net.http.parser import RequestReader

_T = TypeVar("_T")


class _Lazy:
    """Computes an attribute on first use. (``functools.cached_property`` takes a lock for it before Python 3.12.)"""

    def __init__(self, make: Callable[[Any], object]) -> None:
        self._make = make

    def __get__(self, instance: Any, owner: type) -> object:
        value = instance.__dict__[self._make.__name__] = self._make(instance)
        return value


def _lazy(make: Callable[[Any], _T]) -> _T:
    return cast(_T, _Lazy(make))


class SlimRequest(server.Request):
    """One request on an :class:`~sidecar.net.http.channel.HTTPChannel`.

    :ivar upgrade: the client asks for another protocol.
    :ivar started: when its header was complete, by the site's clock; only set while answers are recorded.
    """

    channel: Any  # an HTTPChannel, or None: the base class says otherwise
    site: Any
    transport: Any
    on_lost: Callable[[], None] | None = None
    upgrade = False
    queued = False
    _dressed = False  # header fields or cookies for the answer were set
    _watched = False  # somebody waits for the end
    started: float = 0.0
    code = http.OK

    def __init__(self, channel: HTTPChannel, reader: RequestReader) -> None:
        # The base classes' constructors are what this class exists to avoid: all that they set is below, on demand.
        self.channel = channel
        self.transport = channel.transport
        self.method = reader.method
        self.uri = reader.uri
        self.path = reader.path
        self.clientproto = reader.version
        self.fields = reader.fields
        self.fields_raw = reader.fields_raw
        self.body = reader.body

    # --- What the base classes keep as plain attributes, made on first use --------------------------------------------

    @_lazy
    def requestHeaders(self) -> Headers:
        headers = Headers()
        for name, value in self.fields_raw:
            headers.addRawHeader(name, value)
        return headers

    @_lazy
    def responseHeaders(self) -> Headers:
        self._dressed = True
        return Headers()

    @_lazy
    def cookies(self) -> list[bytes]:
        self._dressed = True
        return []

    @_lazy
    def notifications(self) -> list[Deferred[None]]:
        self._watched = True
        return []

    @_lazy
    def _adapterCache(self) -> dict[str, object]:  # Componentized's store
        return {}

    @_lazy
    def received_cookies(self) -> dict[bytes, bytes]:
        found: dict[bytes, bytes] = {}
        self.__dict__["received_cookies"] = found  # where parseCookies puts them
        self.parseCookies()
        return found

    @_lazy
    def client(self) -> IAddress | None:
        return self.channel.getPeer() if self.channel is not None else None

    @_lazy
    def host(self) -> IAddress | None:
        return self.channel.getHost() if self.channel is not None else None

    @_lazy
    def content(self) -> BytesIO:
        # Autobahn takes the content of a request to upgrade for what was received after it.
        return BytesIO(self.body if not self.upgrade or self.channel is None else self.channel.following())

    @_lazy
    def args(self) -> dict[bytes, list[bytes]]:
        """Query and, in a POST, URL-encoded form fields, as twisted.web gives them; multipart bodies are left alone."""
        _, _, query = self.uri.partition(b"?")
        args: dict[bytes, list[bytes]] = http.parse_qs(query, 1) if query else {}
        if self.method == b"POST" and self.body:
            kind = self.fields.get(b"content-type", b"").partition(b";")[0].strip().lower()
            if kind == b"application/x-www-form-urlencoded":
                args.update(http.parse_qs(self.body, 1))
        return args

    def getHeader(self, key: Any) -> Any:
        if isinstance(key, bytes) and "requestHeaders" not in self.__dict__:
            return self.fields.get(key.lower())
        return super().getHeader(key)

    # --- Life -------------------------------------------------------------------------------------------------------

    def process(self) -> None:
        """Find the resource and have it render; whatever it raises becomes an answer."""
        self.site = self.channel.site
        self.prepath = []
        path = self.path
        self.postpath = path[1:].split(b"/")
        if b"%" in path:
            self.postpath = [unquote_to_bytes(segment) for segment in self.postpath]
        if path == b"*":
            self._handleStar()
            return
        try:
            found = self.site.getResourceFor(self)
            if isinstance(found, resource.EncodingResourceWrapper):
                self._encoder = found.getEncoder(self)
            self.render(found)
        except BaseException:
            self.processingFailed(Failure())

    def render(self, resrc: Any) -> None:
        try:
            body = resrc.render(self)
        except UnsupportedMethod:
            super().render(resrc)  # asks once more, and answers 405, 501, or HEAD by way of GET
            return
        if body is server.NOT_DONE_YET:
            return
        if not isinstance(body, bytes):
            self.processingFailed(Failure(TypeError(f"{resrc!r} rendered {type(body).__name__}, not bytes")))
            return
        if body or self.method != b"HEAD":
            self.setHeader(b"Content-Length", b"%d" % len(body))
        self.write(body)
        self.finish()

    def processingFailed(self, reason: Failure) -> Failure:
        """Answer for a resource that failed. What has begun cannot be taken back: then the connection is cut."""
        channel = self.channel
        status, headers, body = self.site.failed(reason)
        if channel is None:
            pass  # it was answered, or there is nobody to answer
        elif channel.transport is None:
            self.transport.abortConnection()  # it failed after it took the connection over
        elif self.startedWriting:
            channel.abort()
        else:
            self.__dict__.pop("responseHeaders", None)
            self.answer(status, headers, body)
        return reason

    def notifyFinish(self) -> Deferred[None]:
        waiting: Deferred[None] = Deferred()
        self.notifications.append(waiting)
        return waiting

    def connectionLost(self, reason: Failure) -> None:
        """The client went away before it was answered in full."""
        self._disconnected = True
        self.channel = None
        if self.on_lost is not None:
            on_lost, self.on_lost = self.on_lost, None
            on_lost()
        if self._watched:
            waiting, self.notifications = self.notifications, []
            for one in waiting:
                one.errback(reason)

    # --- Answering --------------------------------------------------------------------------------------------------

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
        self.code = status
        self.startedWriting = self.finished = 1
        self.sentLength = size = len(body)
        parts = [STATUS_LINES.get(status) or status_line(status), channel.site.preamble]
        if not channel.persistent or channel.site.draining or self.clientproto != b"HTTP/1.1":
            parts.append(channel.persistence())
        parts.append(headers if type(headers) is bytes else header_block(headers))
        if self._dressed:
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

    def write(self, data: bytes) -> None:
        if self.finished:
            raise RuntimeError("Request.write called on a request after Request.finish was called.")
        if self._disconnected or self._inFakeHead:
            return
        if self._encoder is not None:
            data = self._encoder.encode(data)
        self._put(data)

    def finish(self) -> None:
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
        if self.chunked:
            self.channel.transport.write(b"0\r\n\r\n")
        self.finished = 1
        self._done()

    def _done(self) -> None:
        channel = self.channel
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
        if self.method == b"HEAD" or self.code in BODILESS:
            data = b""
        self.sentLength += len(data)
        if data and self.chunked:
            data = b"%x\r\n%b\r\n" % (len(data), data)
        if head or data:
            self.channel.transport.write(head + data)

    def _head(self) -> bytes:
        channel, headers = self.channel, self.responseHeaders
        if self.lastModified is not None and not headers.hasHeader(b"Last-Modified"):
            headers.setRawHeaders(b"Last-Modified", [http.datetimeToString(self.lastModified)])
        if self.etag is not None:
            headers.setRawHeaders(b"ETag", [self.etag])
        if self.code not in BODILESS and not headers.hasHeader(b"Content-Length"):
            if self.method == b"HEAD":
                pass  # how long the body of a GET would be is not known: neither length nor coding is said
            elif self.clientproto == b"HTTP/1.1":
                self.chunked = 1
            else:
                channel.persistent = False
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
            b"" if self.code == http.SWITCHING else channel.persistence(),
            self._set_before(),
            b"Transfer-Encoding: chunked\r\n" if self.chunked else b"",
        )

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
