"""Bytes in, one request at a time out: no transport, no clock.

The stream is cut so that llhttp never sees past the end of the message at hand: a header ends at its first empty
line, a body after as many bytes as were announced, a chunked body after one of its empty lines. So nothing of the
next request is parsed, or kept, before this one was answered, and a refusal is always of the request that is being
received.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser

from sidecar.net.http import validation
from sidecar.net.http.limits import HTTPLimits
from sidecar.net.http.validation import Fields, Refused

_EMPTY_LINE = b"\r\n\r\n"


#: Headers of up to so many bytes are remembered, to be known again.
_MEMORABLE = 2048


class RequestReader:
    """Reads requests from one connection.

    After :meth:`take` there is either a whole request (``complete``, and its parts in the attributes), or a part of one
    (``begun``), or nothing yet. The parts are not to be changed: a client that sends the same header again, as most do,
    gets the same ones again, without parsing.

    :ivar path: the target without its query.
    :ivar fields: by lower-case name, of a repeated one the last. :ivar fields_raw: all of them, in order, as received.
    :ivar persistent: the client will use the connection again.
    :ivar upgrade: it would rather go on in another protocol; what :meth:`take` returned may be the first of that.
    :ivar in_body: the header is complete, the body is not.
    :ivar wants_continue: the client waits for a word before it sends the body. Whoever gives it sets this to False.
    :ivar received: bytes of the body so far.
    """

    method = uri = path = version = body = b""
    fields: dict[bytes, bytes]
    fields_raw: Fields
    persistent = True
    complete = upgrade = in_body = wants_continue = False
    received = 0

    _known = b""  # the last header, where that is all there is to know of its request
    _known_end = 0  # where the body ends that it announces
    _seen = b""  # of a header that comes in pieces
    _shown = 0  # how much of it the parser has
    _length = 0  # of the body, -1 for chunked
    _between = 0  # bytes since one of a chunked body came
    _edge = b""  # the end of what the parser has of a chunked body, for finding an empty line across two pieces
    _last_host: bytes | None = b""

    def __init__(self, limits: HTTPLimits) -> None:
        self._limits = limits
        self._max_header = limits.max_header
        # What the parser finds goes into these without a line of Python, which would cost more than the finding. Of a
        # repeated field the last one stays: that is seen by counting lines, and put right.
        self._found: dict[bytes, bytes] = {}
        self._pieces: list[bytes] = []
        self._open: list[None] = [None]  # empty when the message is complete
        self._parser: Any = HttpRequestParser(
            SimpleNamespace(
                on_header=self._found.__setitem__,
                on_body=self._pieces.append,
                on_message_complete=self._open.clear,
            )
        )

    @property
    def begun(self) -> bool:
        """Whether a part of a request is here."""
        return self.in_body or bool(self._seen)

    def close(self) -> None:
        """Let go of what is kept for the next request: there is none."""
        self._parser = None
        self._known = b""
        self._pieces.clear()

    def take(self, data: bytes) -> bytes:
        """Read from the front of ``data`` until a request is complete or all is used.

        :returns: what belongs to the next request. :raises Refused: this one cannot be taken, nor any after it.
        """
        known = self._known
        if known and data.startswith(known) and len(data) >= self._known_end and not (self.in_body or self._seen):
            # llhttp is not shown this one at all, and stays at the end of the last that it was shown.
            self.complete = True
            self.body = data[len(known) : self._known_end]
            return data[self._known_end :]
        try:
            return self._body(data) if self.in_body else self._head(data)
        except HttpParserError as error:
            raise validation.explained(error) from None

    def _head(self, data: bytes) -> bytes:
        end = data.find(_EMPTY_LINE) + 4
        if end == 3 or self._seen or data[0] < 65 or end > self._max_header:
            return self._head_in_pieces(data)
        if end == len(data):
            head, rest = data, b""
        else:
            head, rest = data[:end], data[end:]
        self._reset()
        method, uri, version = validation.request_line(head)
        try:
            self._parser.feed_data(head if method in validation.PLAIN else _disguised(head, method))
        except HttpParserUpgrade:
            self.upgrade = True
        return self._begin(head, method, uri, version, rest)

    def _head_in_pieces(self, data: bytes) -> bytes:
        """The same for a header that is not whole, too large, or begins with an empty line.

        Each piece is judged as it comes, so that nobody waits for the end of what is wrong already.
        """
        if not self._seen:
            self._reset()
        seen = self._seen + data
        while seen.startswith(b"\r\n"):  # after an old client's body; RFC 9112, 2.2
            seen = seen[2:]
        end = seen.find(_EMPTY_LINE, max(0, self._shown - 3)) + 4
        whole = end > 3
        head = seen[:end] if whole else seen
        self._seen = head
        if not whole and (not head or head == b"\r"):
            return b""
        method, space, _ = head.partition(b" ")
        if not space:
            validation.check_method(method)
            return b""  # it cannot be whole: a method holds no line end
        if len(head) > self._max_header:
            if -1 < head.find(b"\r\n") <= self._max_header:
                raise Refused(431, f"the header is larger than {self._max_header} bytes")
            raise Refused(414, f"the request line is longer than {self._max_header} bytes")
        if not self._shown and method not in validation.PLAIN:
            validation.check_method(method)
            self._shown = len(method)
            self._parser.feed_data(b"PATCH")
        try:
            self._parser.feed_data(head[self._shown :])
        except HttpParserUpgrade:
            self.upgrade = True
        self._shown = len(head)
        if not whole:
            return b""
        self._seen = b""
        self._shown = 0
        return self._begin(head, *validation.request_line(head), seen[end:])

    def _reset(self) -> None:
        self.complete = self.upgrade = False
        self._known = b""
        self._found.clear()
        self._open.append(None)

    def _begin(self, head: bytes, method: bytes, uri: bytes, version: bytes, rest: bytes) -> bytes:
        """A header is whole, and llhttp has taken it."""
        raw = list(self._found.items())
        if len(raw) != head.count(b"\r\n") - 2:
            raw = validation.all_fields(head)
            validation.check_once(raw)
        elif b" \r\n" in head or b"\t\r\n" in head:
            raw = [(name, value.rstrip(b" \t")) for name, value in raw]
        if uri[0] != 47 or b"#" in uri:
            uri = validation.origin_form(method, uri, raw)
        fields = {name.lower(): value for name, value in raw}
        if len(fields) != len(raw):
            validation.check_once(raw)  # they differ in case only
        host = fields.get(b"host")
        if host != self._last_host or host is None:
            validation.check_host(host, version)
            self._last_host = host
        self.method = method
        self.uri = uri
        self.path = uri.partition(b"?")[0]
        self.version = version
        self.fields = fields
        self.fields_raw = raw
        connection = fields.get(b"connection")
        if connection is None and version == b"HTTP/1.1":
            self.persistent = True
        else:
            self.persistent = validation.stays_open(version, connection, raw)
        if b"transfer-encoding" in fields:
            validation.check_coding(fields[b"transfer-encoding"], version)
            length = -1
        elif b"content-length" in fields:
            length = int(fields[b"content-length"])  # digits only: llhttp has seen to that
            if length > self._limits.max_body:
                raise Refused(413, f"the body has {length} bytes; {self._limits.max_body} are taken")
        else:
            length = 0
        if b"expect" in fields and version == b"HTTP/1.1":
            if fields[b"expect"].lower() != b"100-continue":
                raise Refused(417, "Expect: only 100-continue is known")
            self.wants_continue = bool(length) and not rest
        elif length >= 0 and not self.upgrade and self.persistent and len(head) <= _MEMORABLE:
            self._known = head
            self._known_end = len(head) + length
        if not length:
            self.body = b""
            self.complete = True
            return rest
        if self.upgrade:
            self._decline(length)
        self._length = length
        self.received = self._between = 0
        self._edge = b""
        self.in_body = True
        return self._body(rest) if rest else b""

    def _decline(self, length: int) -> None:
        """llhttp left the message before its body, for the protocol that the client prefers. Bring it back."""
        if self.fields.get(b"upgrade", b"").lower() == b"websocket":
            raise Refused(400, "a WebSocket cannot be opened by a request that has a body")
        framing = b"Content-Length: %d" % length if length >= 0 else b"Transfer-Encoding: chunked"
        self._reset()
        self._parser.feed_data(b"POST / HTTP/1.1\r\n" + framing + _EMPTY_LINE)

    def _body(self, data: bytes) -> bytes:
        pieces, limits = self._pieces, self._limits
        while data:
            before = len(pieces)
            if self._length < 0:
                part, data = self._to_edge(data)
            else:
                missing = self._length - self.received
                part, data = (data, b"") if len(data) <= missing else (data[:missing], data[missing:])
            self._parser.feed_data(part)
            came = sum(map(len, pieces[before:]))
            self.received += came
            if self._length < 0:
                if self.received > limits.max_body:
                    raise Refused(413, f"the body has more than {limits.max_body} bytes")
                self._between = 0 if came else self._between + len(part)
                if self._between > self._max_header:
                    raise Refused(431, f"between two chunks there are more than {self._max_header} bytes")
            if not self._open:
                self.body = pieces[0] if len(pieces) == 1 else b"".join(pieces)
                pieces.clear()
                self.in_body = self.wants_continue = False
                self.complete = True
                return data
        return b""

    def _to_edge(self, data: bytes) -> tuple[bytes, bytes]:
        """Cut after the first empty line, since a chunked body can end nowhere else."""
        around = self._edge + data
        end = around.find(_EMPTY_LINE) + 4 - len(self._edge)
        if end <= 3 - len(self._edge):
            self._edge = around[-3:]
            return data, b""
        self._edge = b"\r\n"  # which may be the first half of another one
        return data[:end], data[end:]


def _disguised(head: bytes, method: bytes) -> bytes:
    """``head`` with a method that llhttp takes, so that the resource may say what it thinks of the real one."""
    validation.check_method(method)
    return b"PATCH" + head[len(method) :]
