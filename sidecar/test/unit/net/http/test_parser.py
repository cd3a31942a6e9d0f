"""Strictness, table by table: which bytes are a request, which are refused with what, whole and in any pieces."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from attrs import define, field
from twisted.trial.unittest import SynchronousTestCase

from sidecar.net.errors import RequestRefused
from sidecar.net.http.events import CHUNKED as IN_CHUNKS
from sidecar.net.http.events import End, Head
from sidecar.net.http.limits import HTTPLimits
from sidecar.net.http.parser import RequestParser

LIMITS = HTTPLimits(max_header=2048, max_body=1000)

HOST = b"Host: a\r\n"
GET = b"GET / HTTP/1.1\r\n"
POST = b"POST / HTTP/1.1\r\n" + HOST
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"
SMALL = GET + HOST + b"\r\n"

#: name -> bytes, status. What begins a smuggling, and what is just wrong.
REFUSED: dict[str, tuple[bytes, int]] = {
    # Line ends
    "bare LF after the request line": (b"GET / HTTP/1.1\n" + HOST + b"\r\n", 400),
    "bare LF after a field": (GET + b"Host: a\n\r\n", 400),
    "bare LF for the empty line": (GET + HOST + b"\n", 400),
    "bare LF everywhere": (b"GET / HTTP/1.1\nHost: a\n\n", 400),
    "bare LF before the request": (b"\n" + SMALL, 400),
    "bare CR in a value": (GET + b"Host: a\rb\r\n\r\n", 400),
    "bare CR before the request": (b"\r" + SMALL, 400),
    "CR CR LF": (GET + HOST + b"X: a\r\r\n\r\n", 400),
    # Folding and spaces
    "folded line": (GET + HOST + b"X: a\r\n b\r\n\r\n", 400),
    "folded line with tab": (GET + HOST + b"X: a\r\n\tb\r\n\r\n", 400),
    "folded line after an empty value": (GET + HOST + b"X:\r\n b\r\n\r\n", 400),
    "folded length": (POST + b"Content-Length:\r\n 2\r\n\r\nab", 400),
    "space before the first field": (GET + b" Host: a\r\n\r\n", 400),
    "line of a space": (GET + HOST + b" \r\n\r\n", 400),
    "space before colon": (GET + b"Host : a\r\n\r\n", 400),
    "tab before colon": (GET + b"Host\t: a\r\n\r\n", 400),
    "space before the colon of a length": (POST + b"Content-Length : 2\r\n\r\nab", 400),
    "space before the colon of a coding": (POST + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n", 400),
    # Names and values
    "space in a name": (GET + HOST + b"X y: a\r\n\r\n", 400),
    "line without colon": (GET + HOST + b"Xyz\r\n\r\n", 400),
    "empty name": (GET + HOST + b": a\r\n\r\n", 400),
    "bracket in a name": (GET + HOST + b"X(y): a\r\n\r\n", 400),
    "high byte in a name": (GET + HOST + b"X\xff: a\r\n\r\n", 400),
    "NUL in a value": (GET + HOST + b"X: a\0b\r\n\r\n", 400),
    "control character in a value": (GET + HOST + b"X: a\x01b\r\n\r\n", 400),
    "DEL in a value": (GET + HOST + b"X: a\x7fb\r\n\r\n", 400),
    # Host
    "no Host in 1.1": (GET + b"X: y\r\n\r\n", 400),
    "no field at all": (GET + b"\r\n", 400),
    "two Hosts": (GET + HOST + HOST + b"\r\n", 400),
    "two Hosts in 1.0": (b"GET / HTTP/1.0\r\n" + HOST + b"host: b\r\n\r\n", 400),
    "Host with a path": (GET + b"Host: a/b\r\n\r\n", 400),
    "Host with a user": (GET + b"Host: u@a\r\n\r\n", 400),
    "Host with two ports": (GET + b"Host: a:1:2\r\n\r\n", 400),
    "Host with a space": (GET + b"Host: a b\r\n\r\n", 400),
    "two hosts in one field": (GET + b"Host: a, b\r\n\r\n", 400),
    # Lengths
    "length and coding": (POST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    "coding and length": (POST + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n", 400),
    "two lengths": (POST + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\nabc", 400),
    "one length twice": (POST + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\nab", 400),
    "list of lengths": (POST + b"Content-Length: 2, 2\r\n\r\nab", 400),
    "length with plus": (POST + b"Content-Length: +2\r\n\r\nab", 400),
    "length with minus": (POST + b"Content-Length: -2\r\n\r\nab", 400),
    "length in hexadecimal": (POST + b"Content-Length: 0x2\r\n\r\nab", 400),
    "length with underscore": (POST + b"Content-Length: 1_0\r\n\r\n0123456789", 400),
    "length with a space within": (POST + b"Content-Length: 1 0\r\n\r\n0123456789", 400),
    "empty length": (POST + b"Content-Length:\r\n\r\n", 400),
    "length that is no number": (POST + b"Content-Length: two\r\n\r\nab", 400),
    "length over the limit": (POST + b"Content-Length: 1001\r\n\r\n", 413),
    "length of 2^63": (POST + b"Content-Length: 9223372036854775808\r\n\r\n", 413),
    "length that overflows": (POST + b"Content-Length: 99999999999999999999999\r\n\r\n", 413),
    # Codings
    "coding in 1.0": (b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    "identity": (POST + b"Transfer-Encoding: identity\r\n\r\n", 400),
    "gzip": (POST + b"Transfer-Encoding: gzip\r\n\r\n", 400),
    "gzip, chunked": (POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501),
    "chunked, gzip": (POST + b"Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n", 400),
    "chunked twice": (POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    "gzip and chunked in two lines": (
        POST + b"Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        400,
    ),
    "xchunked": (POST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", 400),
    "chunked with parameter": (POST + b"Transfer-Encoding: chunked;q=1\r\n\r\n0\r\n\r\n", 400),
    "comma before chunked": (POST + b"Transfer-Encoding: ,chunked\r\n\r\n0\r\n\r\n", 400),
    "empty coding": (POST + b"Transfer-Encoding:\r\n\r\n0\r\n\r\n", 400),
    "vertical tab in coding": (POST + b"Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n", 400),
    # Chunks
    "chunk size with leading space": (CHUNKED + b" 2\r\nab\r\n0\r\n\r\n", 400),
    "chunk size with trailing space": (CHUNKED + b"2 \r\nab\r\n0\r\n\r\n", 400),
    "chunk size with 0x": (CHUNKED + b"0x2\r\nab\r\n0\r\n\r\n", 400),
    "chunk size with plus": (CHUNKED + b"+2\r\nab\r\n0\r\n\r\n", 400),
    "chunk size with minus": (CHUNKED + b"-2\r\nab\r\n0\r\n\r\n", 400),
    "chunk size with underscore": (CHUNKED + b"1_0\r\n0123456789abcdef\r\n0\r\n\r\n", 400),
    "no chunk size": (CHUNKED + b"\r\nab\r\n0\r\n\r\n", 400),
    "chunk size that is no number": (CHUNKED + b"2g\r\nab\r\n0\r\n\r\n", 400),
    "chunk size that overflows": (CHUNKED + b"fffffffffffffffff\r\nab", 400),
    "chunk size with bare LF": (CHUNKED + b"2\nab\r\n0\r\n\r\n", 400),
    "chunk size with bare CR": (CHUNKED + b"2\rab\r\n0\r\n\r\n", 400),
    "chunk data with bare LF": (CHUNKED + b"2\r\nab\n0\r\n\r\n", 400),
    "chunk data without line end": (CHUNKED + b"2\r\nab0\r\n\r\n", 400),
    "chunk longer than said": (CHUNKED + b"2\r\nabc\r\n0\r\n\r\n", 400),
    "last chunk with bare LF": (CHUNKED + b"0\n\r\n", 400),
    "end with bare LF": (CHUNKED + b"0\r\n\n", 400),
    "extension with bare LF": (CHUNKED + b"2;a\nab\r\n0\r\n\r\n", 400),
    "extension with NUL": (CHUNKED + b"2;a=\0\r\nab\r\n0\r\n\r\n", 400),
    "trailer with space before colon": (CHUNKED + b"0\r\nX : y\r\n\r\n", 400),
    "trailer that is a length": (CHUNKED + b"0\r\nContent-Length: 5\r\n\r\n", 400),
    "trailer folded": (CHUNKED + b"0\r\nX: y\r\n z\r\n\r\n", 400),
    "chunks over the limit": (CHUNKED + b"3e9\r\n" + b"x" * 1001 + b"\r\n0\r\n\r\n", 413),
    "endless extension": (CHUNKED + b"2;" + b"a" * 4000, 431),
    "endless trailers": (CHUNKED + b"0\r\n" + b"X: y\r\n" * 1000, 431),
    "endless zeros": (CHUNKED + b"0" * 4000, 431),
    # The request line
    "two spaces after the method": (b"GET  / HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "two spaces after the target": (b"GET /  HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "space before the method": (b" GET / HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "space after the version": (b"GET / HTTP/1.1 \r\n" + HOST + b"\r\n", 400),
    "tabs for spaces": (b"GET\t/\tHTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "space in the target": (b"GET /a b HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "no version": (b"GET /\r\n" + HOST + b"\r\n", 400),
    "no target": (b"GET HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "lower-case version": (b"GET / http/1.1\r\n" + HOST + b"\r\n", 400),
    "version without dot": (b"GET / HTTP/11\r\n" + HOST + b"\r\n", 400),
    "version 1.10": (b"GET / HTTP/1.10\r\n" + HOST + b"\r\n", 400),
    "version 0.9": (b"GET / HTTP/0.9\r\n" + HOST + b"\r\n", 505),
    "version 1.2": (b"GET / HTTP/1.2\r\n" + HOST + b"\r\n", 505),
    "version 2.0": (b"GET / HTTP/2.0\r\n" + HOST + b"\r\n", 505),
    "version 3.0": (b"GET / HTTP/3.0\r\n" + HOST + b"\r\n", 505),
    "another protocol": (b"GET / RTSP/1.0\r\n" + HOST + b"\r\n", 400),
    "NUL in the target": (b"GET /\0 HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "high byte in the target": (b"GET /\xff HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "half a character in the target": (b"GET /\xc3 HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "half a surrogate in the target": (b"GET /\xed\xa0\x80 HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "UTF-8 in the method": (b"G\xc3\xb6T / HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "UTF-8 in the version": (b"GET / HTTP/1.\xc3\xb6\r\n" + HOST + b"\r\n", 400),
    "NUL beside UTF-8 in the target": (b"GET /\xc3\xb6\0 HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "fragment in the target": (b"GET /a#b HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "target without slash": (b"GET a HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "target of another scheme": (b"GET ftp://a/ HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "target with a user": (b"GET http://u@a/ HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "star for GET": (b"GET * HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "CONNECT": (b"CONNECT a:80 HTTP/1.1\r\n" + HOST + b"\r\n", 501),
    "CONNECT with a path": (b"CONNECT / HTTP/1.1\r\n" + HOST + b"\r\n", 501),
    "bracket in the method": (b"G(T / HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "a TLS client": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 500, 400),
    "an HTTP/2 client": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
    # Sizes
    "header over the limit": (GET + HOST + b"X: " + b"y" * 3000 + b"\r\n\r\n", 431),
    "header over the limit, no end": (GET + HOST + b"X: " + b"y" * 3000, 431),
    "many fields": (GET + HOST + b"X: y\r\n" * 500 + b"\r\n", 431),
    "target over the limit": (b"GET /" + b"x" * 3000 + b" HTTP/1.1\r\n" + HOST + b"\r\n", 414),
    "target over the limit, no end": (b"GET /" + b"x" * 3000, 414),
    "method over the limit": (b"X" * 3000, 400),
    # Expectations and upgrades
    "unknown expectation": (POST + b"Expect: a-miracle\r\nContent-Length: 2\r\n\r\nab", 417),
    "WebSocket with a body": (
        GET + HOST + b"Connection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 2\r\n\r\nab",
        400,
    ),
}

#: name -> bytes, then method, target, body and persistence of each request in them.
TAKEN: dict[str, tuple[bytes, list[tuple[bytes, bytes, bytes, bool]]]] = {
    "small": (SMALL, [(b"GET", b"/", b"", True)]),
    "two": (SMALL + SMALL, [(b"GET", b"/", b"", True)] * 2),
    "length": (POST + b"Content-Length: 5\r\n\r\nhello", [(b"POST", b"/", b"hello", True)]),
    "length of zero": (
        POST + b"Content-Length: 0\r\n\r\n" + SMALL,
        [(b"POST", b"/", b"", True), (b"GET", b"/", b"", True)],
    ),
    "length with zeros": (POST + b"Content-Length: 0005\r\n\r\nhello", [(b"POST", b"/", b"hello", True)]),
    "length with spaces around": (POST + b"Content-Length:\t 5 \t\r\n\r\nhello", [(b"POST", b"/", b"hello", True)]),
    "length and more": (
        POST + b"Content-Length: 5\r\n\r\nhello" + SMALL,
        [(b"POST", b"/", b"hello", True), (b"GET", b"/", b"", True)],
    ),
    "GET with a body": (GET + HOST + b"Content-Length: 2\r\n\r\nab", [(b"GET", b"/", b"ab", True)]),
    "body of empty lines": (
        POST + b"Content-Length: 8\r\n\r\n\r\n\r\n\r\n\r\n" + SMALL,
        [(b"POST", b"/", b"\r\n" * 4, True), (b"GET", b"/", b"", True)],
    ),
    "chunks": (
        CHUNKED + b"2\r\nab\r\n3\r\ncde\r\n0\r\n\r\n" + SMALL,
        [(b"POST", b"/", b"abcde", True), (b"GET", b"/", b"", True)],
    ),
    "chunks of empty lines": (
        CHUNKED + b"4\r\n\r\n\r\n\r\n6\r\n0\r\n\r\n0\r\n0\r\n\r\n" + SMALL,
        [(b"POST", b"/", b"\r\n\r\n0\r\n\r\n0", True), (b"GET", b"/", b"", True)],
    ),
    "no chunks": (CHUNKED + b"0\r\n\r\n", [(b"POST", b"/", b"", True)]),
    "chunk size with zeros": (CHUNKED + b"0002\r\nab\r\n0\r\n\r\n", [(b"POST", b"/", b"ab", True)]),
    "extensions": (CHUNKED + b'2;a=b;c="d;e"\r\nab\r\n0;f\r\n\r\n', [(b"POST", b"/", b"ab", True)]),
    "trailers": (
        CHUNKED + b"2\r\nab\r\n0\r\nX: y\r\nZ: w\r\n\r\n" + SMALL,
        [(b"POST", b"/", b"ab", True), (b"GET", b"/", b"", True)],
    ),
    "CHUNKED": (POST + b"Transfer-Encoding: CHUNKED\r\n\r\n0\r\n\r\n", [(b"POST", b"/", b"", True)]),
    "empty lines before": (b"\r\n\r\n" + SMALL + b"\r\n" + SMALL, [(b"GET", b"/", b"", True)] * 2),
    "1.0": (b"GET / HTTP/1.0\r\n\r\n", [(b"GET", b"/", b"", False)]),
    "1.0 that stays": (
        b"GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n" * 2,
        [(b"GET", b"/", b"", True)] * 2,
    ),
    "close": (GET + HOST + b"Connection: close\r\n\r\n", [(b"GET", b"/", b"", False)]),
    "Close among others": (GET + HOST + b"Connection: foo, Close\r\n\r\n", [(b"GET", b"/", b"", False)]),
    "close in a second line": (
        GET + HOST + b"Connection: keep-alive\r\nConnection: close\r\n\r\n",
        [(b"GET", b"/", b"", False)],
    ),
    "a method of one's own": (
        b"BREW /pot HTTP/1.1\r\n" + HOST + b"\r\n" + SMALL,
        [(b"BREW", b"/pot", b"", True), (b"GET", b"/", b"", True)],
    ),
    "a method with a body": (
        b"BREW /pot HTTP/1.1\r\n" + HOST + b"Content-Length: 3\r\n\r\ntea",
        [(b"BREW", b"/pot", b"tea", True)],
    ),
    "a method that llhttp reads otherwise": (b"SOURCE / HTTP/1.1\r\n" + HOST + b"\r\n", [(b"SOURCE", b"/", b"", True)]),
    "lower-case method": (b"get / HTTP/1.1\r\n" + HOST + b"\r\n", [(b"get", b"/", b"", True)]),
    "an odd method": (b"1-!~ / HTTP/1.1\r\n" + HOST + b"\r\n", [(b"1-!~", b"/", b"", True)]),
    "query": (b"GET /a?b=c&d=%20 HTTP/1.1\r\n" + HOST + b"\r\n", [(b"GET", b"/a?b=c&d=%20", b"", True)]),
    "UTF-8 in the target": (
        "GET /grüße/東京?q=ö HTTP/1.1\r\n".encode() + HOST + b"\r\n" + SMALL,
        [(b"GET", "/grüße/東京?q=ö".encode(), b"", True), (b"GET", b"/", b"", True)],
    ),
    "UTF-8 in an absolute target": (
        "GET http://b/ö HTTP/1.1\r\n".encode() + HOST + b"\r\n",
        [(b"GET", "/ö".encode(), b"", True)],
    ),
    "UTF-8 for a method of one's own": (
        "BREW /ö HTTP/1.1\r\n".encode() + HOST + b"\r\n",
        [(b"BREW", "/ö".encode(), b"", True)],
    ),
    "a method that begins like CONNECT": (
        b"CONNECTx / HTTP/1.1\r\n" + HOST + b"\r\n",
        [(b"CONNECTx", b"/", b"", True)],
    ),
    "absolute target": (b"GET http://b:80/x?y HTTP/1.1\r\n" + HOST + b"\r\n", [(b"GET", b"/x?y", b"", True)]),
    "absolute target without path": (b"GET http://b HTTP/1.1\r\n" + HOST + b"\r\n", [(b"GET", b"/", b"", True)]),
    "absolute target with only a query": (
        b"GET HTTP://b?x HTTP/1.1\r\n" + HOST + b"\r\n",
        [(b"GET", b"/?x", b"", True)],
    ),
    "star": (b"OPTIONS * HTTP/1.1\r\n" + HOST + b"\r\n", [(b"OPTIONS", b"*", b"", True)]),
    "empty Host": (GET + b"Host:\r\n\r\n", [(b"GET", b"/", b"", True)]),
    "Host with port": (GET + b"Host: a.b-c:8080\r\n\r\n", [(b"GET", b"/", b"", True)]),
    "Host of IPv6": (GET + b"Host: [::1]:8080\r\n\r\n", [(b"GET", b"/", b"", True)]),
    "Expect": (POST + b"Expect: 100-Continue\r\nContent-Length: 2\r\n\r\nab", [(b"POST", b"/", b"ab", True)]),
    "Expect in 1.0": (
        b"POST / HTTP/1.0\r\nExpect: anything\r\nContent-Length: 2\r\n\r\nab",
        [(b"POST", b"/", b"ab", False)],
    ),
    "upgrade that is not taken": (
        POST + b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nContent-Length: 3\r\n\r\nxyz" + SMALL,
        [(b"POST", b"/", b"xyz", True), (b"GET", b"/", b"", True)],
    ),
    "upgrade with chunks": (
        POST
        + b"Connection: Upgrade\r\nUpgrade: h2c\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nxyz\r\n0\r\n\r\n"
        + SMALL,
        [(b"POST", b"/", b"xyz", True), (b"GET", b"/", b"", True)],
    ),
    "Upgrade alone": (GET + HOST + b"Upgrade: websocket\r\n\r\n" + SMALL, [(b"GET", b"/", b"", True)] * 2),
    "header at the limit": (
        GET + HOST + b"X: " + b"y" * (2048 - len(GET + HOST) - 7) + b"\r\n\r\n",
        [(b"GET", b"/", b"", True)],
    ),
    "body at the limit": (POST + b"Content-Length: 1000\r\n\r\n" + b"x" * 1000, [(b"POST", b"/", b"x" * 1000, True)]),
    "chunks at the limit": (
        CHUNKED + b"3e8\r\n" + b"x" * 1000 + b"\r\n0\r\n\r\n",
        [(b"POST", b"/", b"x" * 1000, True)],
    ),
    "many small chunks": (CHUNKED + b"1\r\nx\r\n" * 900 + b"0\r\n\r\n", [(b"POST", b"/", b"x" * 900, True)]),
}


@define(eq=False)
class Told:
    """What a parser told of the pieces that it was given: requests, and of the last one what is here.

    The parser itself has no limit for bodies; that is here as it is where they are collected.
    """

    parser: RequestParser = field(factory=lambda: RequestParser(LIMITS))
    requests: list[tuple[bytes, bytes, bytes, bool]] = field(factory=list)
    heads: list[Head] = field(factory=list)
    ends: list[End] = field(factory=list)
    body: bytes = b""
    rest: bytes = b""

    def feed(self, data: bytes) -> None:
        """:raises RequestRefused: what the parser raises, and that a body is larger than ``LIMITS`` has it."""
        while True:
            event, data = self.parser.next_event(data)
            if event is None:
                self.rest = data
                return
            if isinstance(event, Head):
                if event.length > LIMITS.max_body:
                    raise RequestRefused(413, "the body is announced too large")
                self.heads.append(event)
                self.body = b""
                if event.upgrade:
                    self.rest = data
                    return
            elif isinstance(event, End):
                self.ends.append(event)
                head = self.heads[-1]
                self.requests.append((head.method, head.uri, self.body, head.persistent))
            else:
                assert event, "a piece of a body is never empty"
                self.body += event
                if len(self.body) > LIMITS.max_body:
                    raise RequestRefused(413, "the body is too large")


def read(pieces: list[bytes]) -> tuple[list[tuple[bytes, bytes, bytes, bool]], int]:
    """:returns: the requests, and the status of the refusal that ended them, or 0."""
    told = Told()
    try:
        for piece in pieces:
            told.feed(piece)
    except RequestRefused as refused:
        assert refused.detail
        return told.requests, refused.status
    return told.requests, 0


def cut(data: bytes) -> list[list[bytes]]:
    """``data`` whole, at each boundary in two, and byte by byte."""
    ways = [[data], [data[at : at + 1] for at in range(len(data))]]
    step = max(1, len(data) // 150)
    return ways + [[data[:at], data[at:]] for at in range(1, len(data), step)]


class Strictness(SynchronousTestCase):
    def test_refused(self) -> None:
        """Each of these is refused with its status, and no request is made of it."""
        for name, (data, status) in REFUSED.items():
            self.assertEqual(read([data]), ([], status), name)

    def test_refused_in_pieces(self) -> None:
        """However it is cut, a bad request is refused with the same status."""
        for name, (data, status) in REFUSED.items():
            for pieces in cut(data):
                self.assertEqual(read(pieces), ([], status), (name, len(pieces), pieces[0][-40:]))

    def test_refused_after_a_good_one(self) -> None:
        """A request before it in the same bytes is not hurt."""
        for name, (data, status) in REFUSED.items():
            self.assertEqual(read([SMALL + data]), ([(b"GET", b"/", b"", True)], status), name)

    def test_taken(self) -> None:
        """Each of these is exactly the requests that it says."""
        for name, (data, requests) in TAKEN.items():
            self.assertEqual(read([data]), (requests, 0), name)

    def test_taken_in_pieces(self) -> None:
        """However they are cut."""
        for name, (data, requests) in TAKEN.items():
            for pieces in cut(data):
                self.assertEqual(read(pieces), (requests, 0), (name, len(pieces), pieces[0][-40:]))


class Parts(SynchronousTestCase):
    def taken(self, *pieces: bytes) -> Head:
        told = Told()
        for piece in pieces:
            told.feed(piece)
        self.assertEqual((len(told.requests), told.rest), (1, b""))
        return told.heads[0]

    def test_fields(self) -> None:
        """Fields come as received and in order, and by lower-case name; space around values is not part of them."""
        reader = self.taken(GET, HOST, b"X-Y:  a b \t\r\nx-y: c\r\nEmpty:\r\nHigh: \xc3\xbc\r\n", b"\r\n")
        raw = [(b"Host", b"a"), (b"X-Y", b"a b"), (b"x-y", b"c"), (b"Empty", b""), (b"High", b"\xc3\xbc")]
        self.assertEqual(reader.fields_raw, raw)
        self.assertEqual(reader.fields, {b"host": b"a", b"x-y": b"c", b"empty": b"", b"high": b"\xc3\xbc"})

    def test_trailers_are_no_fields(self) -> None:
        """What comes after the last chunk cannot pass for a header field."""
        reader = self.taken(CHUNKED, b"0\r\nX: y\r\n", b"Authorization: z\r\n\r\n")
        self.assertEqual(set(reader.fields), {b"host", b"transfer-encoding"})
        self.assertEqual(len(reader.fields_raw), 2)

    def test_authority_of_the_target_replaces_host(self) -> None:
        """An absolute target says whom the request is for, whatever Host says."""
        reader = self.taken(b"GET http://b:80/x HTTP/1.1\r\n" + HOST + b"\r\n")
        self.assertEqual((reader.fields[b"host"], reader.fields_raw), (b"b:80", [(b"Host", b"b:80")]))

    def test_known_again(self) -> None:
        """A header that comes again is known, and its body is its own, however the two are cut."""
        head = POST + b"X: y\r\nContent-Length: %d\r\n\r\n"
        head = head % len(head % 10)  # so that a body can look just like its header
        bodies = [b"x" * len(head), head, head[::-1], head]
        stream = b"".join([head + body for body in bodies]) + SMALL
        expected = [(b"POST", b"/", body, True) for body in bodies] + [(b"GET", b"/", b"", True)]
        for pieces in cut(stream):
            self.assertEqual(read(pieces), (expected, 0))
        for at in range(1, len(head)):  # a known header, of which the beginning came before
            self.assertEqual(read([head + bodies[0] + head[:at], head[at:] + bodies[1]]), (expected[:2], 0))

    def test_known_but_for_its_length(self) -> None:
        """A header that differs from the last one in the length of its body alone is what it is by itself."""
        for name in (b"Content-Length: ", b"content-length: ", b"CONTENT-LENGTH:"):
            head = POST + b"X: y\r\n" + name + b"%b\r\nZ: w\r\n\r\n"
            lengths = (b"3", b"0", b"12", b"007", b"0" * 14 + b"2", b"0" * 40 + b"2", b"2 ", b" 2")
            wrong = (b"", b"-1", b"+2", b"2a", b"0x2", b"2,2", b"2\r\nContent-Length: 2", b"9" * 30, "²".encode())
            for first in lengths:
                for then in (*lengths, *wrong):
                    told, alone = Told(), Told()
                    told.feed(head % first + b"b" * int(first))
                    pieces = [head % then + b"b" * (int(then) if then in lengths else 2)]
                    refused = read(pieces)[1]
                    self.assertEqual(refused, 0 if then in lengths else 400 if len(then) < 30 else 413, (first, then))
                    if refused:
                        self.assertRaises(RequestRefused, told.feed, pieces[0])
                        continue
                    told.feed(pieces[0])
                    alone.feed(pieces[0])
                    self.assertEqual(told.requests[1:], alone.requests, (first, then))
                    for attribute in ("fields", "fields_raw", "length", "path", "persistent"):
                        both = [getattr(each.heads[-1], attribute) for each in (told, alone)]
                        self.assertEqual(both[0], both[1], (first, then, attribute))

    def test_not_quite_known(self) -> None:
        """What begins like a known header and is not it gets no benefit of it."""
        head = GET + HOST + b"X: y\r\n\r\n"
        self.assertEqual(read([head, head[:-2] + b"Z : w\r\n\r\n"])[1], 400)
        self.assertEqual(read([head, head.replace(b"X: y", b"X:\0y")])[1], 400)
        self.assertEqual(read([head, head[:-6], head])[1], 400)

    def test_waiting_for_a_word(self) -> None:
        """Somebody who expects 100-continue says so; nobody else does."""
        head = POST + b"Expect: 100-continue\r\nContent-Length: 2\r\n\r\n"
        self.assertTrue(self.taken(head, b"ab").expects_continue)
        self.assertFalse(self.taken(SMALL).expects_continue)

    def test_upgrade(self) -> None:
        """What follows a request for another protocol is not read as HTTP."""
        told = Told()
        told.feed(GET + HOST + b"Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\r\n" + b"\x81\x85frame")
        self.assertEqual((told.rest, told.heads[0].upgrade, told.ends), (b"\x81\x85frame", True, []))
        told.feed(SMALL)  # it was not taken: HTTP goes on
        self.assertEqual((len(told.requests), told.heads[1].upgrade), (1, False))

    def test_events_come_as_soon_as_they_can(self) -> None:
        """A head is told before its body is here, and a body piece by piece, with a length or in chunks."""
        told = Told()
        told.feed(POST + b"Content-Length: 4\r\n\r\n")
        self.assertEqual((told.heads[0].length, told.requests), (4, []))
        told.feed(b"ab")
        self.assertEqual((told.body, told.ends), (b"ab", []))
        told.feed(b"cd" + CHUNKED + b"2\r\nx")
        self.assertEqual((len(told.requests), told.heads[1].length, told.body), (1, IN_CHUNKS, b"x"))
        told.feed(b"y\r\n0\r\n\r\n")
        self.assertEqual([request[2] for request in told.requests], [b"abcd", b"xy"])

    def test_trailers(self) -> None:
        """The fields after a body in chunks are told with its end, in order, as received; the next request has none."""
        told = Told()
        told.feed(CHUNKED + b"1\r\nx\r\n0\r\nX-Sum: 1 \r\nx-sum:2\r\n\r\n" + SMALL)
        self.assertEqual([end.trailers for end in told.ends], [((b"X-Sum", b"1"), (b"x-sum", b"2")), ()])


class Linear(SynchronousTestCase):
    """Twice the bytes are at most twice the work, however they are cut and whatever they hold."""

    def work(self, pieces: list[bytes]) -> int:
        """Calls that it takes to read, ours and C's: what is done again for each byte shows as such."""
        calls = 0

        def count(frame: Any, event: str, arg: Any) -> None:
            nonlocal calls
            calls += event in ("call", "c_call")

        before = sys.getprofile()
        sys.setprofile(count)
        try:
            read(pieces)
        finally:
            sys.setprofile(before)
        return calls

    def assert_linear(self, make: Callable[[int], list[bytes]]) -> None:
        self.assertLess(self.work(make(800)), 2.2 * self.work(make(400)))

    def test_chunks_of_empty_lines(self) -> None:
        """A chunked body of nothing but empty lines, each of which could be its end."""
        self.assert_linear(lambda n: [CHUNKED + b"%x\r\n" % n + b"\r\n" * (n // 2) + b"\r\n0\r\n\r\n"])

    def test_small_chunks(self) -> None:
        """Chunks of a byte."""
        self.assert_linear(lambda n: [CHUNKED + b"1\r\nx\r\n" * n + b"0\r\n\r\n"])

    def test_header_in_pieces(self) -> None:
        """A header that comes byte by byte."""
        self.assert_linear(lambda n: [bytes([byte]) for byte in GET + HOST + b"X: " + b"y" * n + b"\r\n\r\n"])

    def test_empty_lines_before(self) -> None:
        """Empty lines before a request."""
        self.assert_linear(lambda n: [b"\r\n" * n + SMALL])

    def test_body_in_pieces(self) -> None:
        """A body that comes byte by byte."""
        self.assert_linear(lambda n: [POST + b"Content-Length: %d\r\n\r\n" % n, *[b"x"] * n])

    def test_pipelined(self) -> None:
        """Requests in one piece."""
        self.assert_linear(lambda n: [SMALL * n])
