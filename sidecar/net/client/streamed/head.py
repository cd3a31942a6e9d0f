"""The head of an HTTP/1.1 answer, read whole: status, fields, and where its body ends. Pure."""

from __future__ import annotations

import re
from types import SimpleNamespace
from typing import Final

from attrs import define, field
from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

from sidecar.net.errors import MalformedAnswer
from sidecar.net.http.events import CHUNKED, Fields

#: The length of a body that ends with its connection.
UNTIL_CLOSE: Final = -2
#: Statuses without a body, whatever the fields say; so are all below 200 (RFC 9112, 6.3).
_BODILESS: Final = (204, 304)


#: The whole head, and its fields one by one.
_head = re.compile(
    rb"HTTP/1\.([01]) ([1-9]\d\d)(?: ([^\x00-\x08\x0a-\x1f\x7f]*))?\r\n"
    rb"((?:[!#$%&'*+.^_`|~0-9A-Za-z-]+:[^\x00-\x08\x0a-\x1f\x7f]*\r\n)*)\r\n"
).fullmatch
_each = re.compile(rb"([^:\r\n]+):[ \t]*([^\r\n]*?)[ \t]*\r\n").findall


@define(eq=False)
class ResponseHead:
    """The status line and the fields.

    :ivar first_line: with its end, for whoever passes it on.
    :ivar reason: the phrase, which may be empty. :ivar block: the fields as lines, as received.
    :ivar fields_raw: the same, one by one. :ivar fields: by lower-case name, of a repeated one the last.
    :ivar length: bytes of the body, ``CHUNKED`` where it tells its end itself, ``UNTIL_CLOSE``.
    :ivar persistent: the connection can be used again after it.
    :ivar prepared: what somebody made of it. A node sends the same head again and again, and gets the same value then.
    """

    status: int
    reason: bytes
    block: bytes
    fields_raw: Fields
    fields: dict[bytes, bytes]
    length: int
    persistent: bool
    prepared: bytes = b""
    first_line: bytes = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.first_line = b"HTTP/1.1 %d %b\r\n" % (self.status, self.reason)


def read(head: bytes, is_head: bool) -> ResponseHead:
    """Read a head.

    :param head: with the empty line at its end. :param is_head: the request was HEAD, which no body follows.
    :raises MalformedAnswer: it is none, or its end could be told in two ways.
    :source: RFC 9112, 4 to 6
    """
    found = _head(head)
    if found is None:
        raise MalformedAnswer(f"sent what is not an HTTP answer: {_complaint(head)}")
    minor, code, reason, block = found.groups()
    status = int(code)
    raw: Fields = _each(block)
    fields = {name.lower(): value for name, value in raw}
    if len(fields) != len(raw):
        _check_once(raw)
    connection = fields.get(b"connection")
    if connection is None:
        persistent = minor == b"1"
    else:
        if len(fields) != len(raw):
            connection = b",".join(value for name, value in raw if name.lower() == b"connection")
        tokens = [word.strip() for word in connection.lower().split(b",")]
        persistent = b"close" not in tokens and (minor == b"1" or b"keep-alive" in tokens)
    length = _length(status, fields, is_head)
    return ResponseHead(status, reason or b"", block, raw, fields, length, persistent and length != UNTIL_CLOSE)


def _complaint(head: bytes) -> str:
    """What is wrong with it, in llhttp's words."""
    try:
        HttpResponseParser(SimpleNamespace()).feed_data(head)
    except (HttpParserError, HttpParserUpgrade) as error:
        return str(error).lower() or "garbled"
    return "garbled"


def _length(status: int, fields: dict[bytes, bytes], is_head: bool) -> int:
    if is_head or status in _BODILESS or status < 200:
        return 0
    coding = fields.get(b"transfer-encoding")
    if coding is not None:
        if b"content-length" in fields:
            raise MalformedAnswer("sent an answer with both Content-Length and Transfer-Encoding")
        if coding.lower() != b"chunked":
            raise MalformedAnswer(f"sent an answer in a transfer coding that is not known: {coding[:40]!r}")
        return CHUNKED
    length = fields.get(b"content-length")
    if length is None:
        return UNTIL_CLOSE
    if not length.isdigit() or len(length) > 18:
        raise MalformedAnswer("sent an answer whose Content-Length is no number")
    return int(length)


def _check_once(fields: Fields) -> None:
    for name in (b"content-length", b"transfer-encoding"):
        if sum(field.lower() == name for field, _ in fields) > 1:
            raise MalformedAnswer(f"sent an answer with {name.decode()} more than once")
