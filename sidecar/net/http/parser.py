"""Bytes in, events out, one request after the other: no transport, no clock.

The stream is cut so that llhttp never sees past the end of the message at hand: a header ends at its first empty
line, a body after as many bytes as were announced, a chunked body after one of its empty lines. So nothing of the
next request is parsed, or kept, before this one was answered, and a refusal is always of the request that is being
received.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser

from sidecar.net.errors import RequestRefused
from sidecar.net.http import validation
from sidecar.net.http.body import ChunkedBody
from sidecar.net.http.events import CHUNKED, END, End, Event, Head
from sidecar.net.http.limits import HTTPLimits

_EMPTY_LINE = b"\r\n\r\n"

#: Headers of up to so many bytes are remembered, to be known again.
_MEMORABLE = 2048

#: Bytes that a method may have, and one more.
_LONGEST_METHOD = 65

#: Headers to parse at once after one that differs in more than the length: each may have an id of its own.
_NOT_TRIED = 15
#: Digits of a Content-Length that is read without llhttp: beyond them it may judge whether that is a number.
_LONGEST_LENGTH = 15
#: Shows llhttp a letter for every byte of a target that is beyond ASCII.
_TO_ASCII = bytes(byte if byte < 128 else 120 for byte in range(256))


class RequestParser:
    """Reads the requests of one connection.

    :meth:`next_event` gives one event at a time, and takes no more from the front of its bytes than that event needs:
    the caller keeps the rest, and offers it again when it wants the next event.
    """

    _left: int | None = None  # bytes of the body that are missing, CHUNKED, or None where a header is to come
    _known = b""  # the last header
    _known_head: Head | None = None
    _untried = 0  # headers to come that need not be tried to be the last one but for the length of the body
    _around: tuple[bytes, bytes] | None = None  # what of it stands before and behind the length of the body
    _seen: bytearray | None = None  # of a header that comes in pieces
    _shown = 0  # how much of it llhttp has
    _in_line = True  # that is within the request line
    _last_host: bytes | None = b""
    _chunked: ChunkedBody | None = None
    _llhttp: Any = None

    def __init__(self, limits: HTTPLimits) -> None:
        self._max_header = limits.max_header
        # What llhttp finds goes in here without a line of Python, which would cost more than the finding. Of a
        # repeated field the last one stays: that is seen by counting lines, and put right.
        self._found: dict[bytes, bytes] = {}
        self._callbacks = SimpleNamespace(on_header=self._found.__setitem__)

    @property
    def begun(self) -> bool:
        """Whether a part of a request is here."""
        return self._left is not None or self._seen is not None

    @property
    def kept(self) -> int:
        """Bytes of a header that is not whole."""
        return 0 if self._seen is None else len(self._seen)

    def close(self) -> None:
        """Let go of what is kept for the next request: there is none."""
        self._llhttp = self._chunked = self._seen = self._known_head = None
        self._known = b""

    def next_event(self, data: bytes) -> tuple[Event | None, bytes]:
        """What stands at the front of ``data``; None where that takes more bytes than there are.

        :returns: the event, and what of ``data`` follows it.
        :raises RequestRefused: there is no request, nor any after it.
        """
        left = self._left
        if left is None:
            if not data:
                return None, data
            known = self._known
            if known and self._seen is None:
                # llhttp is not shown this one at all.
                head = self._known_head
                assert head is not None
                if data.startswith(known):
                    self._left = head.length
                    if head.length == CHUNKED:
                        self._chunked = ChunkedBody(self._max_header)
                    return head, data[len(known) :]
                other = self._differs_in_length(data, head)
                if other is not None:
                    self._left = other.length
                    return other, data[len(self._known) :]
            try:
                return self._head(data)
            except HttpParserError as error:
                raise validation.explained(error) from None
        if left > 0:
            size = len(data)
            if size <= left:
                self._left = left - size
                return data or None, b""
            self._left = 0
            return data[:left], data[left:]
        if left == 0:
            return self._end(), data
        return self._chunk(data)

    def _differs_in_length(self, data: bytes, head: Head) -> Head | None:
        """The header that ``data`` begins with, where it is the known one but for the length of the body.

        :param head: the known one. It is no longer: this one is.
        """
        if self._untried:
            self._untried -= 1
            return None
        if self._around is None:
            self._around = validation.around_length(self._known)
        before, after = self._around
        if not before or not data.startswith(before):
            self._untried = _NOT_TRIED
            return None
        begin = len(before)
        end = data.find(b"\r", begin, begin + _LONGEST_LENGTH + 1)
        length = data[begin:end]
        if end < 0 or not length.isdigit() or not data.startswith(after, end):
            return None
        self._known = data[: end + len(after)]
        self._known_head = other = head.of_length(length)
        return other

    def whole_body(self, data: bytes) -> tuple[bytes, bytes]:
        """All of the body at once, in place of its events; right after its head, where ``data`` has as much.

        :returns: the body, and what follows it.
        """
        size, self._left = self._left, None
        assert size is not None
        return (data, b"") if size == len(data) else (data[:size], data[size:])

    def _end(self) -> End:
        chunked, self._chunked, self._left = self._chunked, None, None
        return END if chunked is None or not chunked.trailers else End(tuple(chunked.trailers))

    def _chunk(self, data: bytes) -> tuple[Event | None, bytes]:
        chunked = self._chunked
        assert chunked is not None
        try:
            came, data = chunked.feed(data)
        except HttpParserError as error:
            raise validation.explained(error) from None
        if chunked.done:
            self._left = 0
            return came or self._end(), data
        return came or None, data

    def _head(self, data: bytes) -> tuple[Head | None, bytes]:
        end = data.find(_EMPTY_LINE) + 4
        if end == 3 or self._seen is not None or data[0] < 65 or end > self._max_header:
            return self._head_in_pieces(data)
        if end == len(data):
            head, rest = data, b""
        else:
            head, rest = data[:end], data[end:]
        self._reset()
        method, uri, version = validation.request_line(head)
        if method in validation.PLAIN and uri.isascii():
            upgrade = self._show(head)
        else:
            validation.check_method(method)
            upgrade = self._show(b"PATCH " + uri.translate(_TO_ASCII) + head[len(method) + 1 + len(uri) :])
        return self._made(head, upgrade, method, uri, version), rest

    def _head_in_pieces(self, data: bytes) -> tuple[Head | None, bytes]:
        """The same for a header that is not whole, too large, or begins with an empty line.

        Each piece is judged as it comes, so that nobody waits for the end of what is wrong already, and looked at
        once, so that a header in many pieces costs no more than its bytes.
        """
        seen, self._seen = self._seen, None
        if seen is None:
            self._reset()
            seen = bytearray()
        seen += data
        if not self._shown:
            del seen[: validation.empty_lines(seen)]  # after an old client's body; RFC 9112, 2.2
            if not seen:
                return None, b""
            if not self._show_method(seen):
                self._seen = seen
                return None, b""
        end = seen.find(_EMPTY_LINE, max(0, self._shown - 3)) + 4
        size = end if end > 3 else len(seen)
        if size > self._max_header:
            if seen.find(b"\r\n", 0, self._max_header + 2) > -1:
                raise RequestRefused(431, f"the header is larger than {self._max_header} bytes")
            raise RequestRefused(414, f"the request line is longer than {self._max_header} bytes")
        piece = bytes(seen[self._shown : size])
        if self._in_line:
            line, feed, fields = piece.partition(b"\n")
            self._in_line = not feed
            piece = line.translate(_TO_ASCII) + feed + fields
        self._shown = size
        upgrade = self._show(piece)
        if end == 3:
            self._seen = seen
            return None, b""
        head = bytes(seen[:end])
        return self._made(head, upgrade, *validation.request_line(head)), bytes(seen[end:])

    def _show_method(self, seen: bytearray) -> bool:
        """:returns: whether it is whole; it has been shown then."""
        space = seen.find(b" ", 0, _LONGEST_METHOD)
        if space < 0:
            if seen != b"\r":
                validation.check_token(bytes(seen[:_LONGEST_METHOD]))
            return False
        method = bytes(seen[:space])
        validation.check_method(method)
        self._show(method if method in validation.PLAIN else b"PATCH")
        self._shown = space
        return True

    def _show(self, piece: bytes) -> bool:
        """Let llhttp judge. :returns: whether the client asks for another protocol."""
        try:
            self._llhttp.feed_data(piece)
        except HttpParserUpgrade:
            return True
        return False

    def _reset(self) -> None:
        self._known = b""
        self._known_head = None
        self._shown = 0
        self._in_line = True
        self._found.clear()
        if self._llhttp is None:
            self._llhttp = HttpRequestParser(self._callbacks)

    def _made(self, head: bytes, upgrade: bool, method: bytes, uri: bytes, version: bytes) -> Head:
        """A header is whole, and llhttp has taken it."""
        raw = list(self._found.items())
        if len(raw) != head.count(b"\r\n") - 2:
            raw = validation.all_fields(head)
            validation.check_once(raw)
        elif b" \r\n" in head or b"\t\r\n" in head:
            raw = [(name, value.rstrip(b" \t")) for name, value in raw]
        if not uri.isascii():
            validation.check_text(uri)
        if uri[0] != 47 or b"#" in uri:
            uri = validation.origin_form(method, uri, raw)
        fields = {name.lower(): value for name, value in raw}
        if len(fields) != len(raw):
            validation.check_once(raw)  # they differ in case only
        host = fields.get(b"host")
        if host != self._last_host or host is None:
            validation.check_host(host, version)
            self._last_host = host
        connection = fields.get(b"connection")
        persistent = connection is None and version == b"HTTP/1.1"
        if not persistent:
            persistent = validation.stays_open(version, connection, raw)
        length = 0
        if b"transfer-encoding" in fields:
            validation.check_coding(fields[b"transfer-encoding"], version)
            length = CHUNKED
        elif b"content-length" in fields:
            length = int(fields[b"content-length"])  # digits only: llhttp has seen to that
        expects = b"expect" in fields and version == b"HTTP/1.1"
        if expects and fields[b"expect"].lower() != b"100-continue":
            raise RequestRefused(417, "Expect: only 100-continue is known")
        if upgrade and length:
            if fields.get(b"upgrade", b"").lower() == b"websocket":
                raise RequestRefused(400, "a WebSocket cannot be opened by a request that has a body")
            upgrade = False
        if length or upgrade:
            self._llhttp = None  # it waits for what it will not be shown
        found = Head(method, uri, version, fields, raw, length, persistent, upgrade, expects)
        if persistent and not (upgrade or expects) and len(head) <= _MEMORABLE:
            self._known, self._known_head, self._around = head, found, None
        self._left = None if upgrade else length
        if length == CHUNKED:
            self._chunked = ChunkedBody(self._max_header)
        return found
