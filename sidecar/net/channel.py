"""An HTTP/1.1 server channel over httptools that feeds ordinary twisted.web resources.

One connection, one :class:`HTTPChannel`. It cuts the stream into messages, has llhttp (through httptools) judge and decode each, adds
what llhttp leaves to its user (versions, Host, exact spaces in the request line, codings, sizes), and hands complete requests to
the resource tree one at a time: the next one is not looked at before the last was answered, and what the client sends
meanwhile is kept only up to ``HELD_ENOUGH``. Every refusal is an answer with a JSON body, after which the connection closes.

Where the sender's and our idea of a message's end could differ, nothing is tolerated: see ``_framing`` and the test that compares
10,000 requests with h11's judgement.

:source: RFC 9112 (messages, framing, connections), RFC 9110 (Expect, Upgrade).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from typing import Protocol as Shape

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser
from twisted.internet.interfaces import IAddress, IPushProducer, ISSLTransport
from twisted.internet.protocol import Protocol
from twisted.python.failure import Failure
from zope.interface import implementer

from sidecar.net.limits import HTTPLimits
from sidecar.net.request import SlimRequest, status_line

if TYPE_CHECKING:
    from twisted.internet.interfaces import IReactorTime

#: Where a channel stands: between requests or in a header; in a body; a request is being answered; closing, deaf.
HEAD, BODY, ANSWERING, DEAF = range(4)

#: Bytes of further requests to take while one is being answered. More of them wait in the kernel.
HELD_ENOUGH = 16 * 1024

NEVER = float("inf")

#: Methods that llhttp takes with no meaning of its own attached. Any other is shown to it as PATCH.
PLAIN = frozenset((b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"OPTIONS", b"PATCH", b"TRACE"))

_token = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}\Z").match
_version = re.compile(rb"HTTP/\d\.\d\Z").match
_host = re.compile(rb"(?:\[[0-9A-Fa-f:.]+(?:%25[\w.~-]+)?\]|(?:[\w.~!$&'()*+,;=-]|%[0-9A-Fa-f]{2})*)(?::\d*)?\Z").match
_absolute = re.compile(rb"(?i:https?)://([^/?#@]+)((?:/[^#]*|\?[^#]*)?)\Z").match
_codings = re.compile(rb"[\w!#$%&'*+.^`|~-]+(?:[ \t]*,[ \t]*[\w!#$%&'*+.^`|~-]+)+\Z").match


class Refused(Exception):
    """The request cannot be taken. :ivar status: what to answer. :ivar detail: why, for the caller."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail


class Recorder(Shape):
    def record(self, status: int, seconds: float) -> None:
        """An answer was given."""


class Host(Shape):
    """What a channel needs of the factory that made it.

    :ivar now: the clock, read at most half a second ago: good enough for deadlines of seconds.
    :ivar preamble: ``Server`` and ``Date`` lines for every answer.
    :ivar in_flight: requests whose header is complete and whose answer is not.
    :ivar buffered: bytes of incomplete bodies.
    """

    limits: HTTPLimits
    clock: IReactorTime
    now: float
    preamble: bytes
    in_flight: int
    buffered: int
    recorder: Recorder | None
    draining: bool
    full: bool

    def opened(self, channel: HTTPChannel) -> None: ...
    def closed(self, channel: HTTPChannel) -> None: ...
    def answered(self) -> None: ...
    def refusal(self, status: int, detail: str) -> tuple[bytes, bytes]: ...
    def failed(self, reason: Failure) -> tuple[int, bytes, bytes]: ...
    def getResourceFor(self, request: Any) -> Any: ...


@implementer(IPushProducer)
class HTTPChannel(Protocol):
    """One connection.

    :ivar transport: None after a resource took the connection over (a WebSocket): it is not ours then.
    :ivar deadline: when the host's sweep is to call :meth:`timed_out`, by its ``now``.
    :ivar persistent: whether the connection stays open after the answer.
    """

    deadline = NEVER
    persistent = True
    request: SlimRequest | None = None

    _state = HEAD
    _seen = b""  # of a header that came in parts
    _told = 0  # how much of it the parser was given
    _held = b""  # received while it cannot be looked at
    _choked = False  # the client does not take what we send
    _paused = False  # we do not read
    _last_host = b""
    _producer: Any = None

    # Of the body that is being received:
    _length = 0  # -1: chunked
    _received = 0
    _raw = 0
    _complete = False
    _edge = b""

    def __init__(self, site: Host) -> None:
        self.site = self.factory = site  # type: ignore[assignment]  # Protocol wants a Factory; the host is one
        self._parser: Any = HttpRequestParser(self)
        self._fields: list[tuple[bytes, bytes]] = []
        self._chunks: list[bytes] = []

    # --- The connection ---------------------------------------------------------------------------------------------

    def connectionMade(self) -> None:
        site = self.site
        site.opened(self)
        self.transport.registerProducer(self, True)
        limits = site.limits
        self.deadline = site.now + min(limits.header_timeout, limits.idle_timeout)
        if site.full:
            self._refuse(503, f"{limits.max_connections} connections are open, which is the limit; try again later")

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]
        self._state = DEAF
        request = self._leave()
        if request is not None:
            request.connectionLost(reason)

    def _leave(self) -> SlimRequest | None:
        """The connection is no longer ours. :returns: the request that has no answer yet."""
        self.site.closed(self)
        self.deadline = NEVER
        self._held = b""
        request = self._drop_request()
        self._parser = None  # it and we refer to each other
        return request

    def _drop_request(self) -> SlimRequest | None:
        request, self.request = self.request, None
        if request is not None:
            self._forget_body()
            self.site.in_flight -= 1
            if self.site.draining:
                self.site.answered()
        return request

    def dataReceived(self, data: bytes) -> None:
        if self._state >= ANSWERING or self._held or self._choked:
            self._hold(data)
        else:
            self._read(data)

    def _read(self, data: bytes) -> None:
        try:
            while data:
                if self._state == HEAD:
                    data = self._head(data)
                elif self._state == BODY:
                    data = self._body(data)
                else:
                    break
                if self._choked:
                    break
        except Refused as refused:
            self._refuse(refused.status, refused.detail)
        except HttpParserError as error:
            self._refuse(*_explained(error))
        else:
            if data:
                self._hold(data)

    def _hold(self, data: bytes) -> None:
        """Keep for later, and stop reading when it is enough."""
        if self._state == DEAF:
            return
        self._held += data
        if len(self._held) > HELD_ENOUGH and not self._paused:
            self._paused = True
            self.transport.pauseProducing()

    def _go_on(self) -> None:
        """Look at what was held, where that can be done now."""
        if self._paused and not self._choked and len(self._held) <= HELD_ENOUGH:
            self._paused = False
            self.transport.resumeProducing()
        while self._held and self._state < ANSWERING and not self._choked:
            held, self._held = self._held, b""
            self._read(held)
            if self._paused and not self._choked and self.transport is not None and len(self._held) <= HELD_ENOUGH:
                self._paused = False
                self.transport.resumeProducing()

    # --- Requests ---------------------------------------------------------------------------------------------------

    def on_header(self, name: bytes, value: bytes) -> None:
        self._fields.append((name, value))

    def on_body(self, piece: bytes) -> None:
        self._chunks.append(piece)
        self._received += len(piece)

    def on_message_complete(self) -> None:
        self._complete = True

    def _head(self, data: bytes) -> bytes:
        """Take a header from the front of ``data``. :returns: what follows it."""
        end = data.find(b"\r\n\r\n") + 4
        if self._seen or end == 3 or data[0] < 65 or end > self.site.limits.max_header:
            return self._head_in_parts(data)
        if end == len(data):
            head, rest = data, b""
        else:
            head, rest = data[:end], data[end:]
        self._fields = []
        self._complete = upgrade = False
        method = head[: head.find(b" ")]
        try:
            self._parser.feed_data(head if method in PLAIN else _disguised(head, method))
        except HttpParserUpgrade:
            upgrade = True
        self._begin(head, upgrade, bool(rest))
        return rest if not upgrade else self._upgrade(rest)

    def _head_in_parts(self, data: bytes) -> bytes:
        """The same for a header that comes in pieces (each is judged as it comes), is too long, or begins oddly."""
        seen = self._seen
        if not seen:
            self.deadline = self.site.now + self.site.limits.header_timeout
            self._fields = []
            self._complete = False
        seen += data
        while seen.startswith(b"\r\n"):  # RFC 9112, 2.2: empty lines before a request are ignored
            seen = seen[2:]
        if seen[:1] == b"\r" and len(seen) == 1:
            self._seen = seen
            return b""
        if not seen:
            self._seen = b""
            return b""
        end = seen.find(b"\r\n\r\n", max(0, self._told - 3)) + 4
        head = seen[:end] if end > 3 else seen
        if len(head) > self.site.limits.max_header:
            line = head.find(b"\r\n")
            if line < 0 or line > self.site.limits.max_header:
                raise Refused(414, f"the request line is longer than {self.site.limits.max_header} bytes")
            raise Refused(431, f"the header is larger than {self.site.limits.max_header} bytes")
        self._seen = head
        upgrade = False
        method, space, _ = head.partition(b" ")
        if not space:
            if not _token(head):
                raise Refused(400, "the request does not begin with a method")
            if end <= 3:
                return b""
        if self._told:
            news = head[self._told :]
        else:
            news = head if method in PLAIN else _disguised(head, method)
        self._told = len(head)
        try:
            self._parser.feed_data(news)
        except HttpParserUpgrade:
            upgrade = True
        if end <= 3:
            return b""
        self._seen = b""
        self._told = 0
        rest = seen[end:]
        self._begin(head, upgrade, bool(rest))
        return rest if not upgrade else self._upgrade(rest)

    def _begin(self, head: bytes, upgrade: bool, more: bool) -> None:
        """A header is complete and llhttp took it.

        :param upgrade: whether llhttp takes what follows for another protocol. :param more: whether anything does, already.
        """
        method, uri, version = _request_line(head)
        raw = self._fields
        if b" \r\n" in head or b"\t\r\n" in head:
            raw = [(name, value.rstrip(b" \t")) for name, value in raw]
        fields = {name.lower(): value for name, value in raw}
        if len(fields) != len(raw):
            _once(raw)
        host = fields.get(b"host")
        if host != self._last_host:
            if host is None:
                if version == b"HTTP/1.1":
                    raise Refused(400, "Host: the header field is missing")
            elif _host(host) is None:
                raise Refused(400, "Host: not a host and optional port")
            else:
                self._last_host = host
        if uri[0] != 47 or b"#" in uri:
            uri = _target(method, uri, fields, raw)
        self.persistent = _persistent(version, fields.get(b"connection"), raw)
        length = self._framing(version, fields, upgrade)
        site = self.site
        if length > site.limits.max_body:
            raise Refused(413, f"the body has {length} bytes; {site.limits.max_body} are taken")
        self.request = request = SlimRequest(self, method, uri, version, fields, raw)
        site.in_flight += 1
        if site.recorder is not None:
            request.started = site.clock.seconds()
        if b"expect" in fields and version == b"HTTP/1.1":
            if fields[b"expect"].lower() != b"100-continue":
                raise Refused(417, "Expect: only 100-continue is known")
            if length and not more:
                self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        if length:
            self._state = BODY
            self._length = length
            self._received = self._raw = 0
            self._edge = b""
            self.deadline = site.now + site.limits.body_timeout
        elif not upgrade:
            self._dispatch(request)

    def _framing(self, version: bytes, fields: dict[bytes, bytes], upgrade: bool) -> int:
        """How long the body is: bytes, or -1 for chunked. llhttp has refused both kinds at once, and what is no number."""
        coding = fields.get(b"transfer-encoding")
        if coding is None:
            length = int(fields.get(b"content-length", 0))
        elif version != b"HTTP/1.1":
            raise Refused(400, "Transfer-Encoding: not in HTTP/1.0")
        elif coding.lower() == b"chunked":
            length = -1
        elif _codings(coding):
            raise Refused(501, "Transfer-Encoding: only chunked is known")
        else:
            raise Refused(400, "Transfer-Encoding: malformed")
        if upgrade and length:
            if fields[b"upgrade"].lower() == b"websocket":
                raise Refused(400, "a WebSocket cannot be opened with a request that has a body")
            # llhttp has left the message before its body. It may be ignored that the client would speak something else.
            fields_kept, self._fields = self._fields, []
            self._parser.feed_data(
                b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
                if length < 0
                else b"POST / HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % length
            )
            self._fields = fields_kept
            self._complete = False
        return length

    def _body(self, data: bytes) -> bytes:
        """Take what belongs to the body from the front of ``data``. :returns: what follows it."""
        if self._length >= 0:
            missing = self._length - self._received
            piece, rest = (data, b"") if len(data) <= missing else (data[:missing], data[missing:])
        else:
            piece, rest = self._to_edge(data)
        before = self._received
        self._parser.feed_data(piece)
        if self._complete:
            request = self.request
            assert request is not None
            request.body = self._chunks[0] if len(self._chunks) == 1 else b"".join(self._chunks)
            self.site.buffered -= self._raw
            self._raw = 0
            self._chunks = []
            self._dispatch(request)
            return rest
        site, limits = self.site, self.site.limits
        if self._received > limits.max_body:
            raise Refused(413, f"the body has more than {limits.max_body} bytes")
        self._raw += len(piece)
        site.buffered += len(piece)
        if self._length < 0 and self._raw - self._received > limits.max_header + 8 * self._received:
            raise Refused(400, "the chunked body is mostly not body")
        if site.buffered > limits.max_buffered:
            raise Refused(503, "too many bodies are being received at once; try again later")
        self.deadline += (self._received - before) / limits.body_rate
        return rest

    def _to_edge(self, data: bytes) -> tuple[bytes, bytes]:
        """Cut after the first empty line: a chunked body can end nowhere else, and llhttp must not see what follows it."""
        tail = self._edge
        end = (tail + data).find(b"\r\n\r\n") + 4 - len(tail)
        if end <= 3 - len(tail):
            self._edge = (tail + data)[-3:]
            return data, b""
        self._edge = b"\r\n"  # of an empty line in the middle, half may be the first half of the next
        return data[:end], data[end:]

    def _forget_body(self) -> None:
        self.site.buffered -= self._raw
        self._raw = 0
        self._chunks = []

    def _upgrade(self, rest: bytes) -> bytes:
        """Have a request answered that asks for another protocol; ``rest`` is the first of that, if it gets it."""
        request = self.request
        assert request is not None
        if self._state == BODY:
            return rest
        # Whoever takes the connection over expects to find no producer on it, and the bytes that came after the header
        # as content.
        transport = self.transport
        transport.unregisterProducer()
        request.body = rest
        self._dispatch(request)
        if self.transport is None:
            self._taken_over()
            return b""
        transport.registerProducer(self, True)
        request.body = b""
        return rest

    def _taken_over(self) -> None:
        request = self.request
        self._state = DEAF
        if self.site.recorder is not None and request is not None:
            self.site.recorder.record(101, self.site.clock.seconds() - request.started)
        self._leave()

    def _dispatch(self, request: SlimRequest) -> None:
        self._state = ANSWERING
        self.deadline = NEVER
        request.process()

    def requestDone(self, request: SlimRequest) -> None:
        """Called by the request when its answer is written."""
        self.request = None
        site = self.site
        site.in_flight -= 1
        if site.recorder is not None:
            site.recorder.record(request.code, site.clock.seconds() - request.started)
        if not self.persistent:
            self._close()
        else:
            self._state = HEAD
            self.deadline = site.now + site.limits.idle_timeout
            if self._held or self._paused:
                self._go_on()
        if site.draining:
            site.answered()

    # --- Leaving ----------------------------------------------------------------------------------------------------

    def _refuse(self, status: int, detail: str) -> None:
        """Answer for a request that cannot be taken, and close."""
        site = self.site
        self._drop_request()
        headers, body = site.refusal(status, detail)
        if site.recorder is not None:
            site.recorder.record(status, 0.0)
        self.transport.write(
            b"%b%bConnection: close\r\n%bContent-Length: %d\r\n\r\n%b"
            % (status_line(status), site.preamble, headers, len(body), body)
        )
        self._close(linger=True)

    def _close(self, linger: bool = False) -> None:
        """Close after what was written. :param linger: the client may be sending still, and would miss the answer for the
        reset that closing brings: close our side, and go on reading for a while."""
        self._state = DEAF
        self._held = b""
        self.deadline = self.site.now + self.site.limits.linger
        transport = self.transport
        transport.unregisterProducer()
        if self._paused:
            self._paused = False
            transport.resumeProducing()
        if linger and not self.isSecure() and hasattr(transport, "loseWriteConnection"):
            transport.loseWriteConnection()
        else:
            transport.loseConnection()

    def abort(self) -> None:
        """Cut the connection: the answer cannot be completed, and the client must be able to see that."""
        self._state = DEAF
        self.transport.abortConnection()

    def timed_out(self) -> None:
        """Called by the host when the deadline has passed."""
        if self.transport is None:
            self._taken_over()
        elif self._state == DEAF or self._choked:
            self.abort()
            self.deadline = NEVER
        elif self._state == BODY:
            self._refuse(408, f"the body did not arrive in {self.site.limits.body_timeout:g} s")
        elif self._seen:
            self._refuse(408, f"the header did not arrive in {self.site.limits.header_timeout:g} s")
        else:
            self._close()

    def close_if_idle(self) -> None:
        """Close now, if nothing was asked that is not answered."""
        if self._state == HEAD and not self._seen and self.transport is not None:
            self._close()

    def persistence(self) -> bytes:
        """The Connection line that the answer at hand needs."""
        if self.site.draining:
            self.persistent = False
        if not self.persistent:
            return b"Connection: close\r\n"
        request = self.request
        if request is not None and request.clientproto != b"HTTP/1.1":
            return b"Connection: keep-alive\r\n"
        return b""

    # --- Back-pressure: we are the transport's producer -------------------------------------------------------------

    def pauseProducing(self) -> None:
        """The client does not take what we send: take nothing more from it, and have the resource wait."""
        self._choked = True
        if self._state != DEAF:
            self.deadline = self.site.now + self.site.limits.idle_timeout
        if not self._paused:
            self._paused = True
            self.transport.pauseProducing()
        if self._producer is not None:
            self._producer.pauseProducing()

    def resumeProducing(self) -> None:
        self._choked = False
        if self._state == ANSWERING:
            self.deadline = NEVER
        if self._producer is not None:
            self._producer.resumeProducing()
        self._go_on()

    def stopProducing(self) -> None:
        if self._producer is not None:
            self._producer.stopProducing()

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """Called by the request. A push producer is told through us, a pull producer straight by the transport."""
        if self._producer is not None:
            raise RuntimeError(f"{self._producer!r} was never unregistered, so {producer!r} cannot be registered")
        if streaming:
            self._producer = producer
            if self._choked:
                producer.pauseProducing()
        else:
            self.transport.unregisterProducer()
            self._producer = producer
            self.transport.registerProducer(producer, False)

    def unregisterProducer(self) -> None:
        if self._producer is not None:
            self._producer = None
            self.transport.unregisterProducer()
            if self._state != DEAF:
                self.transport.registerProducer(self, True)

    # --- What requests and resources ask of a channel ---------------------------------------------------------------

    def getPeer(self) -> IAddress:
        return self.transport.getPeer()

    def getHost(self) -> IAddress:
        return self.transport.getHost()

    def isSecure(self) -> bool:
        return ISSLTransport.providedBy(self.transport)

    def write(self, data: bytes) -> None:
        self.transport.write(data)

    def writeSequence(self, data: list[bytes]) -> None:
        self.transport.writeSequence(data)

    def loseConnection(self) -> None:
        """A resource gives up on the client. Its request is told when the connection is gone."""
        self.transport.unregisterProducer()
        self.transport.loseConnection()


def _request_line(head: bytes) -> tuple[bytes, bytes, bytes]:
    """:raises Refused: not exactly method, target and version, or a version that we do not speak."""
    try:
        method, uri, version = head[: head.index(b"\r\n")].split(b" ")
    except ValueError:
        raise Refused(
            400, "the request line is not a method, a target and a version, with one space between each"
        ) from None
    if version != b"HTTP/1.1" and version != b"HTTP/1.0":
        if _version(version):
            raise Refused(505, "only HTTP/1.1 and HTTP/1.0 are spoken here")
        raise Refused(400, "the request line does not end in an HTTP version")
    if not uri:
        raise Refused(400, "the request line has no target")
    if method == b"CONNECT":
        raise Refused(501, "CONNECT: this is no proxy")
    return method, uri, version


def _disguised(head: bytes, method: bytes) -> bytes:
    """``head`` with a method that llhttp takes, so that the resource may say what it thinks of the real one."""
    if not _token(method):
        raise Refused(400, "the request does not begin with a method")
    if method == b"CONNECT":
        raise Refused(501, "CONNECT: this is no proxy")
    return b"PATCH" + head[len(method) :]


def _once(raw: list[tuple[bytes, bytes]]) -> None:
    """:raises Refused: a field that decides where a message ends, or whom it is for, is there twice."""
    for name in (b"host", b"content-length", b"transfer-encoding"):
        if sum(field.lower() == name for field, _ in raw) > 1:
            raise Refused(400, f"{name.decode().title()}: given more than once")


def _target(method: bytes, uri: bytes, fields: dict[bytes, bytes], raw: list[tuple[bytes, bytes]]) -> bytes:
    """The path and query of a target that does not begin with a slash. Its authority stands in for Host."""
    if uri == b"*":
        if method == b"OPTIONS":
            return uri
        raise Refused(400, "the target * is for OPTIONS")
    absolute = _absolute(uri)
    if absolute is None or not _host(absolute[1]):
        raise Refused(400, "the target is neither a path nor an http URI")
    if b"host" in fields:
        fields[b"host"] = absolute[1]
        raw[:] = [(name, absolute[1] if name.lower() == b"host" else value) for name, value in raw]
    rest: bytes = absolute[2]
    return rest if rest.startswith(b"/") else b"/" + rest


def _persistent(version: bytes, connection: bytes | None, raw: list[tuple[bytes, bytes]]) -> bool:
    """Whether the client keeps the connection open after the answer."""
    if connection is None:
        return version == b"HTTP/1.1"
    options = {
        option.strip() for name, value in raw if name.lower() == b"connection" for option in value.lower().split(b",")
    }
    if b"close" in options:
        return False
    return version == b"HTTP/1.1" or b"keep-alive" in options


def _explained(error: HttpParserError) -> tuple[int, str]:
    """What to answer when llhttp refuses."""
    reason = str(error)
    if reason == "Content-Length overflow":
        return 413, "Content-Length: more than can be counted"
    if reason == "Invalid HTTP version":
        return 505, "only HTTP/1.1 and HTTP/1.0 are spoken here"
    return 400, f"malformed request: {reason}"
