"""What is no HTTP, or stops in the middle of it."""

from __future__ import annotations

from collections.abc import Iterator

from sidecar.test.doubles.hostile.attack import CALLERS, MAX_BODY, MAX_HEADER, Attack


def attacks() -> Iterator[Attack]:
    """Broken requests, and halves of good ones."""
    yield from _broken()
    yield from _halves()


def _broken() -> Iterator[Attack]:
    line = b"GET /registry HTTP/1.1\r\n"
    host = b"Host: h\r\n"
    post = b"POST /registry HTTP/1.1\r\n" + host
    for label, data in {
        "nonsense": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(64) + b"\r\n\r\n",
        "binary": bytes(range(128, 256)) + b"\r\n\r\n",
        "no version": b"GET /registry\r\n\r\n",
        "no target": b"GET HTTP/1.1\r\n" + host + b"\r\n",
        "two spaces": b"GET  /registry HTTP/1.1\r\n" + host + b"\r\n",
        "target with space": b"GET /regi stry HTTP/1.1\r\n" + host + b"\r\n",
        "no HTTP": b"GET /registry XTTP/1.1\r\n" + host + b"\r\n",
        "method with colon": b"GE:T /registry HTTP/1.1\r\n" + host + b"\r\n",
        "authority alone": b"GET example.org:80 HTTP/1.1\r\n" + host + b"\r\n",
        "other scheme": b"GET ftp://example.org/ HTTP/1.1\r\n" + host + b"\r\n",
        "raw bytes in target": b"GET /\xff\xfe HTTP/1.1\r\n" + host + b"\r\n",
        "control in target": b"GET /\x01 HTTP/1.1\r\n" + host + b"\r\n",
        "no Host": line + b"\r\n",
        "two Hosts": line + host + host + b"\r\n",
        "odd Host": line + b"Host: a b\r\n\r\n",
        "space before colon": line + host + b"X : 1\r\n\r\n",
        "line without colon": line + host + b"nonsense\r\n\r\n",
        "empty name": line + host + b": 1\r\n\r\n",
        "folded line": line + host + b"X: 1\r\n 2\r\n\r\n",
        "bare CR": line + host + b"X: 1\r2\r\n\r\n",
        "NUL in value": line + host + b"X: a\x00b\r\n\r\n",
        "control in value": line + host + b"X: a\x01b\r\n\r\n",
        "both lengths": post + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "two lengths": post + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
        "list of lengths": post + b"Content-Length: 3, 3\r\n\r\nabc",
        "length below zero": post + b"Content-Length: -1\r\n\r\n",
        "length with plus": post + b"Content-Length: +3\r\n\r\nabc",
        "length in hex": post + b"Content-Length: 0x3\r\n\r\nabc",
        "length of words": post + b"Content-Length: many\r\n\r\n",
        "length of nothing": post + b"Content-Length: \r\n\r\n",
        "length without end": post + b"Content-Length: " + b"9" * 400 + b"\r\n\r\n",
        "length of a terabyte": post + b"Content-Length: 1099511627776\r\n\r\n",
        "chunk size no number": post + b"Transfer-Encoding: chunked\r\n\r\nxyz\r\n",
        "chunk size below zero": post + b"Transfer-Encoding: chunked\r\n\r\n-1\r\n",
        "chunk size without end": post + b"Transfer-Encoding: chunked\r\n\r\n" + b"f" * 40 + b"\r\n",
        "chunk of a terabyte": post + b"Transfer-Encoding: chunked\r\n\r\n10000000000\r\n" + b"x" * (2 * MAX_BODY),
        "chunk without its end": post + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabcdef\r\n",
        "chunks without end": post + b"Transfer-Encoding: chunked\r\n\r\n" + (b"400\r\n" + b" " * 1024 + b"\r\n") * 100,
        "tiny chunks": post + b"Transfer-Encoding: chunked\r\n\r\n" + b"1\r\n \r\n" * 70_000,
        "chunk extension without end": post + b"Transfer-Encoding: chunked\r\n\r\n1;" + b"x" * 100_000,
        "coding malformed": post + b"Transfer-Encoding: ,;\r\n\r\n",
        "one huge header": line + host + b"X: " + b"x" * (2 * MAX_HEADER) + b"\r\n\r\n",
        "header name huge": line + host + b"x" * (2 * MAX_HEADER) + b": 1\r\n\r\n",
        "headers without end": line + host + b"".join(b"X-%d: 1\r\n" % number for number in range(5_000)) + b"\r\n",
        "header line without end": line + b"X" * 1_000_000,
        "target huge": b"GET /" + b"a" * (2 * MAX_HEADER) + b" HTTP/1.1\r\n" + host + b"\r\n",
        "method huge": b"G" * (2 * MAX_HEADER) + b" / HTTP/1.1\r\n" + host + b"\r\n",
        "expectation unknown": post + b"Expect: miracles\r\nContent-Length: 2\r\n\r\n{}",
        "coding in HTTP/1.0": b"POST /registry HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "bad one behind a good one": b"GET /nope HTTP/1.1\r\n" + host + b"\r\n" + b"\x00\x01\r\n\r\n",
    }.items():
        yield Attack(f"http: {label}", data)
    # Not the caller's fault in HTTP's own words, but as clear.
    for label, data in {
        "version 2.0": b"GET / HTTP/2.0\r\n" + host + b"\r\n",
        "version 9.9": b"GET / HTTP/9.9\r\n" + host + b"\r\n",
        "HTTP/2 preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "coding unknown": post + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        "tunnel": b"CONNECT example.org:443 HTTP/1.1\r\n" + host + b"\r\n",
    }.items():
        yield Attack(f"http: {label}", data, (*CALLERS, 501, 505))


def _halves() -> Iterator[Attack]:
    for label, data in {
        "a letter": b"G",
        "half a line": b"GET /regis",
        "a line": b"GET /registry HTTP/1.1\r\n",
        "half a header": b"GET /registry HTTP/1.1\r\nHost: h\r\nX: ",
        "no last line": b"GET /registry HTTP/1.1\r\nHost: h\r\n",
        "no body": b"POST /registry HTTP/1.1\r\nHost: h\r\nContent-Length: 100\r\n\r\n",
        "half a body": b'POST /registry HTTP/1.1\r\nHost: h\r\nContent-Length: 100\r\n\r\n{"name":',
        "half a chunk size": b"POST /registry HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5",
        "half a chunk": b"POST /registry HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
        "no last chunk": b"POST /rpc HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n",
        "half a form": b"POST /rpc HTTP/1.1\r\nHost: h\r\nContent-Length: 50\r\n\r\nservice=x&met",
        "half a call": b"POST /rpc HTTP/1.1\r\nHost: h\r\nContent-Type: text/json\r\nContent-Length: 50\r\n\r\n{",
        "half a message": b"POST /broker?topic=a HTTP/1.1\r\nHost: h\r\nContent-Length: 50\r\n\r\nx",
    }.items():
        yield Attack(f"half: {label}", data, (408,), held=True)
