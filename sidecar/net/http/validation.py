"""What an HTTP/1.1 server must check in a header beyond its syntax: pure functions over bytes.

llhttp judges the syntax of each line and refuses what smuggles: bare CR and LF, folded lines, spaces around field
names, both lengths at once, lengths that are no numbers. Left to its user are the request line's exact form, its
version and target, Host, and transfer codings.
"""

from __future__ import annotations

import re

from httptools import HttpParserError

from sidecar.net.errors import RequestRefused
from sidecar.net.http.events import Fields

#: Methods that llhttp takes with no meaning of its own attached. Any other is shown to it as PATCH.
PLAIN = frozenset((b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"OPTIONS", b"PATCH", b"TRACE"))

_token = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}\Z").match
_empty_lines = re.compile(rb"(?:\r\n)*").match
_version = re.compile(rb"HTTP/\d\.\d\Z").match
_name = rb"(?:[\w.~!$&'()*+,;=-]|%[0-9A-Fa-f]{2})*"
_host = re.compile(rb"(?:\[[0-9A-Fa-f:.]+\]|" + _name + rb")(?::\d*)?\Z").match
_absolute = re.compile(rb"(?i:https?)://([^/?#@]+)((?:[/?][^#]*)?)\Z").match
_codings = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+(?:[ \t]*,[ \t]*[!#$%&'*+.^_`|~0-9A-Za-z-]+)*\Z").match


def empty_lines(data: bytes | bytearray) -> int:
    """How many bytes at the front of ``data`` are empty lines."""
    found = _empty_lines(data)
    return found.end() if found is not None else 0


def check_token(method: bytes) -> None:
    """:param method: perhaps not all of it. :raises RequestRefused: it is no token."""
    if not _token(method):
        raise RequestRefused(400, "the request does not begin with a method")


def check_text(target: bytes) -> None:
    """Beyond ASCII a target may hold UTF-8 as it is: curl sends it, and Go and nginx take it.

    :raises RequestRefused: it is no text."""
    try:
        target.decode("utf-8")
    except UnicodeDecodeError:
        raise RequestRefused(400, "the request target is not UTF-8: send other bytes as %XX") from None


def check_method(method: bytes) -> None:
    """:raises RequestRefused: it is no token, or CONNECT, which asks for a tunnel."""
    check_token(method)
    if method == b"CONNECT":
        raise RequestRefused(501, "CONNECT: this is no proxy")


def request_line(head: bytes) -> tuple[bytes, bytes, bytes]:
    """The method, target and version at the front of ``head``.

    :raises RequestRefused: there are not exactly these, one space between each, or the version is not ours.
    :source: RFC 9112, 3
    """
    try:
        method, target, version = head[: head.index(b"\r\n")].split(b" ")
    except ValueError:
        raise RequestRefused(400, "the request line is not: method, one space, target, one space, version") from None
    if version != b"HTTP/1.1" and version != b"HTTP/1.0":
        if _version(version):
            raise RequestRefused(505, "only HTTP/1.1 and HTTP/1.0 are spoken here")
        raise RequestRefused(400, "the request line does not end in an HTTP version")
    if not target:
        raise RequestRefused(400, "the request line has no target")
    return method, target, version


def all_fields(head: bytes) -> Fields:
    """The fields of a header that llhttp has taken, repeated ones too."""
    split = [line.partition(b":") for line in head.split(b"\r\n")[1:-2]]
    return [(name, value.strip(b" \t")) for name, _, value in split]


def check_once(fields: Fields) -> None:
    """:raises RequestRefused: a field that decides where the message ends, or whom it is for, is there twice."""
    for name in (b"host", b"content-length", b"transfer-encoding"):
        if sum(field.lower() == name for field, _ in fields) > 1:
            raise RequestRefused(400, f"{name.decode().title()}: given more than once")


def check_host(host: bytes | None, version: bytes) -> None:
    """:raises RequestRefused: it is missing where it must be there, or it is not a host and optional port.
    :source: RFC 9112, 3.2"""
    if host is None:
        if version == b"HTTP/1.1":
            raise RequestRefused(400, "Host: the header field is missing")
    elif _host(host) is None:
        raise RequestRefused(400, "Host: not a host and optional port")


def origin_form(method: bytes, target: bytes, fields: Fields) -> bytes:
    """The path and query of a target that does not begin with a slash. Its authority replaces Host in ``fields``.

    :raises RequestRefused: the target is nothing that can be asked of an origin server.
    :source: RFC 9112, 3.2.2 and 3.2.4
    """
    if target == b"*" and method == b"OPTIONS":
        return target
    absolute = _absolute(target)
    if absolute is None or not _host(absolute[1]):
        raise RequestRefused(400, "the target is neither a path nor an http URI")
    authority, rest = absolute.groups()
    fields[:] = [(name, authority if name.lower() == b"host" else value) for name, value in fields]
    return rest if rest.startswith(b"/") else b"/" + rest


def stays_open(version: bytes, connection: bytes | None, fields: Fields) -> bool:
    """Whether the client will use the connection again. :param connection: its Connection field, if any.
    :source: RFC 9112, 9.3"""
    if connection is None:
        return version == b"HTTP/1.1"
    options = {
        option.strip()
        for name, value in fields
        if name.lower() == b"connection"
        for option in value.lower().split(b",")
    }
    return b"close" not in options and (version == b"HTTP/1.1" or b"keep-alive" in options)


def check_coding(coding: bytes, version: bytes) -> None:
    """:raises RequestRefused: the transfer coding is not plain ``chunked``.
    :source: RFC 9112, 6.1"""
    if version != b"HTTP/1.1":
        raise RequestRefused(400, "Transfer-Encoding: not in HTTP/1.0")
    if coding.lower() != b"chunked":
        if _codings(coding):
            raise RequestRefused(501, "Transfer-Encoding: only chunked is known")
        raise RequestRefused(400, "Transfer-Encoding: malformed")


def explained(error: HttpParserError) -> RequestRefused:
    """What to answer where llhttp refuses."""
    reason = str(error)
    if reason == "Content-Length overflow":
        return RequestRefused(413, "Content-Length: more than can be counted")
    if reason == "Invalid HTTP version":
        return RequestRefused(505, "only HTTP/1.1 and HTTP/1.0 are spoken here")
    return RequestRefused(400, f"malformed request: {reason}")


def around_length(head: bytes) -> tuple[bytes, bytes]:
    """What stands before and behind the digits of ``Content-Length``, as nearly all write it; b"" where there is none.

    :param head: a whole header that was found to be right.
    """
    for name in (b"\r\nContent-Length: ", b"\r\ncontent-length: "):
        begin = head.find(name) + len(name)
        if begin >= len(name):
            return head[:begin], head[head.find(b"\r", begin) :]
    return b"", b""
