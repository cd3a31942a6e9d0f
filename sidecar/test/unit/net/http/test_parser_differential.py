"""Ten thousand generated requests, valid and hostile, cut everywhere: our channel and h11 make the same of them.

Where they do not, the difference has to be in ``DIFFERENCES``, with the reason; most often h11 takes, on purpose, what
some senders get wrong, and we refuse it because another server on the way may read it in another way.
"""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Iterable
from typing import Any

import h11
from attrs import frozen
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from sidecar.net.http.limits import HTTPLimits
from sidecar.test.doubles.clients.http import Client, Rendered, site_of

CASES = 10_000
#: Of these many, none longer than that many bytes, every boundary is tried; the others are cut at random.
CUT_EVERYWHERE, SHORT = 400, 220
SEED = 9112

LIMITS = HTTPLimits(max_body=5000)

ABSOLUTE = "an absolute target"
STAYS = "HTTP/1.0 that stays"
EMPTY_LINE = "an empty line before the request"
SOONER = "refused before its end"

#: Where the two differ: what we answered (numbers as N), or one of the names above -> why.
DIFFERENCES: dict[str, str] = {
    ABSOLUTE: "RFC 9112, 3.2.2: an origin server takes the authority for Host; h11 leaves that to its user.",
    STAYS: "RFC 9112, 9.3: HTTP/1.0 may ask for keep-alive; h11 chooses to close.",
    EMPTY_LINE: "RFC 9112, 2.2: at least one is to be ignored; h11 takes it for a header without a request line.",
    SOONER: "We judge each piece as it comes; h11 refuses too, but only when the header has ended.",
    # Line ends. h11 takes a bare LF for CR LF.
    "N malformed request: Missing expected CR after header value": "Bare LF: RFC 9112, 2.2 lets us refuse it.",
    "N malformed request: Invalid header field char": "Bare LF for the empty line.",
    "N malformed request: Expected CRLF after version": "Bare LF, or something else, after the request line.",
    "N the request line is not: method, one space, target, one space, version": "Bare LF, or a space too many.",
    "N malformed request: Expected LF after CR": "Bare CR after an empty value; h11 says the same, but at the end.",
    "N the request does not begin with a method": "Junk, or a bare line end, before a request; h11 waits for its end.",
    # Header fields
    "N malformed request: Unexpected whitespace after header value": "A folded line: RFC 9112, 5.2, refuse or unfold.",
    "N malformed request: Invalid header value char": "RFC 9110, 5.5: control characters; h11 takes most of them.",
    "N Host: not a host and optional port": "RFC 9112, 3.2: 400 for a Host that is none; h11 does not look into it.",
    "N Expect: only N-continue is known": "RFC 9110, 10.1.1: 417; h11 leaves it to its user.",
    # Lengths
    "N malformed request: Content-Length can't be present with Transfer-Encoding": "RFC 9112, 6.1: both at once may be"
    " refused, and should be; h11 lets the coding win, and does not look into trailers.",
    "N malformed request: Transfer-Encoding can't be present with Content-Length": "The same the other way round.",
    "N malformed request: Duplicate Content-Length": "The same one twice may be taken or refused: RFC 9112, 6.3.",
    "N malformed request: Invalid character in Content-Length": "The same one twice in a list, likewise.",
    "N malformed request: Request has invalid `Transfer-Encoding`": "A tab after it, which llhttp does not know.",
    "N Transfer-Encoding: not in HTTP/N.N": "RFC 9112, 6.1: such framing is faulty.",
    "N the body has N bytes; N are taken": "Our limit.",
    # Chunks
    "N malformed request: Invalid character in chunk size": "Spaces after a size, not in RFC 9112, 7.1.",
    "N malformed request: Expected LF after chunk size": "A bare CR; h11 waits for more.",
    "N malformed request: Invalid character in chunk extensions name": "Not a token; h11 takes anything.",
    "N malformed request: Invalid character in chunk extensions value": "The same.",
    "N malformed request: Invalid character in chunk extensions quoted value": "The same.",
    # The request line
    "N only HTTP/N.N and HTTP/N.N are spoken here": "Other versions: h11 leaves them to its user.",
    "N the request line does not end in an HTTP version": "Two bare LF after it: to h11, a whole header.",
    "N the target is neither a path nor an http URI": "RFC 9112, 3.2: forms of a target; h11 takes any text.",
    "N malformed request: Invalid characters in url": "The same.",
    "N malformed request: Unexpected start char in url": "The same.",
    "N malformed request: Unexpected char in url schema": "The same.",
    "N CONNECT: this is no proxy": "h11 leaves it to its user.",
    # Sizes
    "N the request line is longer than N bytes": "h11's limit is for what is incomplete, ours for all.",
    "N the header is larger than N bytes": "The same.",
}


@frozen
class Taken:
    """A request as it was understood."""

    method: bytes
    target: bytes
    fields: tuple[tuple[bytes, bytes], ...]
    body: bytes


@frozen
class Outcome:
    """What became of a stream.

    :ivar refused: the reason why it ended, "" where it did not.
    :ivar left: it was not read further, since the last request said that it is the last.
    """

    taken: tuple[Taken, ...]
    refused: str = ""
    left: bool = False


def by_us(pieces: list[bytes]) -> Outcome:
    leaf = Rendered()
    client = Client(site_of(leaf, Clock(), LIMITS))
    client.send(*pieces)
    taken = tuple(
        Taken(
            request.method,
            request.uri,
            _fields(request.fields_raw),
            request.body if not request.upgrade else b"",
        )
        for request in leaf.requests
    )
    answers = client.answers(*[request.method.decode() for request in leaf.requests])
    last = answers[-1] if answers else None
    refused = last is not None and last.headers.get(b"content-type") == b"application/json"
    return Outcome(taken, f"{last.status} {_detail(last.body)}" if refused and last is not None else "")


def _fields(raw: Iterable[tuple[bytes, bytes]]) -> tuple[tuple[bytes, bytes], ...]:
    return tuple(
        (name.lower(), value.lower() if name.lower() == b"transfer-encoding" else value) for name, value in raw
    )


def _detail(body: bytes) -> str:
    found = re.search(rb'"detail":"((?:[^"\\]|\\.)*)"', body)
    assert found is not None
    return found[1].decode()


def by_h11(data: bytes) -> Outcome:
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=LIMITS.max_header)
    connection.receive_data(data)
    taken: list[Taken] = []
    request: Any = None
    body = b""
    try:
        while True:
            event = connection.next_event()
            if isinstance(event, h11.Request):
                request, body = event, b""
            elif isinstance(event, h11.Data):
                body += event.data
            elif isinstance(event, h11.EndOfMessage):
                taken.append(Taken(request.method, request.target, _fields(request.headers), body))
                connection.send(h11.Response(status_code=404, headers=[("Content-Length", "0")]))
                connection.send(h11.EndOfMessage())
                if connection.our_state is not h11.DONE:
                    return Outcome(tuple(taken), left=True)
                connection.start_next_cycle()
            else:
                break
    except h11.RemoteProtocolError as error:
        return Outcome(tuple(taken), str(error))
    return Outcome(tuple(taken))


# --- Generating -------------------------------------------------------------------------------------------------------

METHODS = [b"GET", b"POST", b"PUT", b"DELETE", b"HEAD", b"OPTIONS", b"PATCH", b"BREW", b"get", b"TRACE"]
TARGETS = [b"/", b"/rpc", b"/registry?service=a&b=%20", b"/a/b/c", b"/%", b"//x", b"/?", b"/a;b=c", b"/" + b"x" * 300]
FIELDS = [
    b"User-Agent: curl/8.0",
    b"Accept: */*",
    b"Content-Type: application/json",
    b"X-Empty:",
    b"X-Spaces:   a b\t c  ",
    b"X-High: \xc3\xbc\xff",
    b"x-lower: 1",
    b"Cookie: a=b; c=d",
    b"Connection: keep-alive",
    b"Connection: close",
    b"Connection: foo, bar",
    b"Accept: text/html",
    b"X-Long: " + b"y" * 400,
    b"Expect: 100-continue",
    b"Upgrade: h2c",
]
NASTY_FIELDS = [
    b"Content-Length: 3",
    b"Content-Length: 3, 3",
    b"Content-Length: +3",
    b"Content-Length: 0x3",
    b"Content-Length : 3",
    b"Content-Length: ",
    b"Content-Length: 99999",
    b"Content-Length: 9999999999999999999999",
    b"Transfer-Encoding: chunked",
    b"Transfer-Encoding : chunked",
    b"Transfer-Encoding: gzip",
    b"Transfer-Encoding: gzip, chunked",
    b"Transfer-Encoding: chunked, identity",
    b"Transfer-Encoding: xchunked",
    b"Transfer-Encoding:\x0bchunked",
    b"Transfer-Encoding:\r\n chunked",
    b"Host: b",
    b"Host: a/b",
    b"Host: a b",
    b" folded",
    b"\tfolded",
    b"No colon",
    b": no name",
    b"X y: z",
    b"X(y): z",
    b"X: \0",
    b"X: \x01",
    b"Expect: a-miracle",
    b"X: " + b"z" * 17_000,
]
NASTY_BYTES = [
    b"\0",
    b"\t",
    b" ",
    b"\r",
    b"\n",
    b":",
    b";",
    b",",
    b"\x0b",
    b"\x7f",
    b"\xff",
    b'"',
    b"#",
    b"\r\n",
    b"0",
    b"-",
]
NASTY_LINES = [
    b"GET http://b/x HTTP/1.1",
    b"GET ftp://b/x HTTP/1.1",
    b"GET * HTTP/1.1",
    b"CONNECT a:80 HTTP/1.1",
    b"GET / HTTP/1.0",
    b"GET / HTTP/2.0",
    b"GET / HTTP/0.9",
    b"GET / HTTP/1.2",
    b"GET / RTSP/1.0",
    b"GET / http/1.1",
    b"GET /",
    b"GET  / HTTP/1.1",
    b"GET /  HTTP/1.1",
    b"GET / HTTP/1.1 ",
    b"GET /a#b HTTP/1.1",
    b"GET a HTTP/1.1",
    b"GET /\xff HTTP/1.1",
    b"PRI * HTTP/2.0",
    b"GET /" + b"x" * 17_000 + b" HTTP/1.1",
]


def chunked(chance: random.Random, body: bytes) -> bytes:
    """``body`` in chunks of any size, now and then with an extension or trailers."""
    parts = []
    while body:
        size = chance.randint(1, len(body))
        extension = chance.choice([b""] * 8 + [b";a", b";a=b", b';a="b"', b" ;a", b" "])
        parts.append(chance.choice([b"%x", b"%X", b"0%x"]) % size + extension + b"\r\n" + body[:size] + b"\r\n")
        body = body[size:]
    trailers = chance.choice([b""] * 6 + [b"X-Trailer: y\r\n", b"Content-Length: 3\r\n"])
    return b"".join(parts) + b"0\r\n" + trailers + b"\r\n"


def request(chance: random.Random) -> bytes:
    """A request, nearly always valid."""
    version = chance.choice([b"HTTP/1.1"] * 9 + [b"HTTP/1.0"])
    line = b"%b %b %b" % (chance.choice(METHODS), chance.choice(TARGETS), version)
    fields = chance.sample(FIELDS, chance.randint(0, 4))
    host = [b"Host: a"] if version == b"HTTP/1.1" or chance.random() < 0.5 else []
    body = chance.choice([b"", b"{}", b"\r\n\r\n", b"0\r\n\r\n", b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", b"x" * 700])
    kind = chance.choice(["none", "length", "chunks"])
    if kind == "length":
        fields.append(b"Content-Length: %d" % len(body))
    elif kind == "chunks" and version == b"HTTP/1.1":
        fields.append(b"Transfer-Encoding: chunked")
        body = chunked(chance, body)
    else:
        body = b""
    chance.shuffle(fields)
    return b"\r\n".join([line, *host, *fields, b"", b""]) + body


def spoil(chance: random.Random, data: bytes) -> bytes:
    """Do one bad thing to a request."""
    way = chance.randrange(9)
    at = chance.randrange(len(data))
    lines = data.split(b"\r\n")
    if way == 0:
        return data[:at] + chance.choice(NASTY_BYTES) + data[at:]
    if way == 1:
        return data[:at] + data[at + 1 :]
    if way == 2:
        ends = [found.start() for found in re.finditer(b"\r\n", data)]
        end = chance.choice(ends) if ends else 0
        return data[:end] + chance.choice([b"\n", b"\r", b"\r\r\n", b"\n\n", b""]) + data[end + 2 :]
    if way == 3:
        lines.insert(chance.randint(1, min(4, len(lines))), chance.choice(NASTY_FIELDS))
        return b"\r\n".join(lines)
    if way == 4:
        lines[0] = chance.choice(NASTY_LINES)
        return b"\r\n".join(lines)
    if way == 5:
        line = chance.randrange(len(lines))
        lines.insert(line, lines[line])
        return b"\r\n".join(lines)
    if way == 6:
        del lines[chance.randrange(len(lines))]
        return b"\r\n".join(lines) or b"\r\n"
    if way == 7:
        return chance.choice([b"\r\n", b"\n", b"\r\n\r\n", b" "]) + data
    return data[:at] + bytes([data[at] ^ (1 << chance.randrange(8))]) + data[at + 1 :]


def stream(chance: random.Random) -> bytes:
    """One to three requests, often the same again, of which one may be spoilt."""
    requests = [request(chance) for _ in range(chance.choice([1, 1, 2, 3]))]
    if chance.random() < 0.3:
        requests.append(requests[-1])
    if chance.random() < 0.6:
        spoilt = chance.randrange(len(requests))
        for _ in range(chance.choice([1, 1, 1, 2])):
            requests[spoilt] = spoil(chance, requests[spoilt])
    return b"".join(requests)


def difference(data: bytes, ours: Outcome, theirs: Outcome) -> str:
    """:returns: the key in ``DIFFERENCES`` of what these two differ in, "" where they agree."""
    for mine, other in zip(ours.taken, theirs.taken, strict=False):
        if mine != other:
            same = (mine.method, mine.body) == (other.method, other.body) and other.target.endswith(mine.target)
            return ABSOLUTE if same and other.target.startswith(b"http://") else f"{mine} was {other} to h11"
    further = len(ours.taken) - len(theirs.taken)
    if theirs.left and (further > 0 or (further == 0 and ours.refused)):
        connection = [value.lower() for name, value in theirs.taken[-1].fields if name == b"connection"]
        return STAYS if b"keep-alive" in connection else f"h11 read no further, we did: {ours.refused}"
    if len(ours.taken) == len(theirs.taken) and bool(ours.refused) == bool(theirs.refused):
        return ""
    if len(ours.taken) == len(theirs.taken) and ours.refused:
        later = by_h11(data + b"\r\n\r\n")
        if later.refused and later.taken == ours.taken:
            return SOONER
    if len(ours.taken) <= len(theirs.taken) and ours.refused:
        return re.sub(r"\d+", "N", ours.refused)
    if theirs.refused == "no request line received" and b"\r\n" in data:
        return EMPTY_LINE
    return f"we: {ours.refused or 'nothing to say'}, h11: {theirs.refused or 'nothing to say'}"


def pieces(chance: random.Random, data: bytes) -> list[bytes]:
    """``data`` cut at a few places."""
    places = sorted(chance.sample(range(len(data)), min(len(data), chance.randint(1, 6))))
    return [data[start:end] for start, end in zip([0, *places], [*places, len(data)], strict=True) if start < end]


class Differential(SynchronousTestCase):
    def same(self, data: bytes, cut: list[bytes], whole: Outcome) -> None:
        """``data`` in pieces comes to what it comes to whole. (What is wrong in two ways may be told of either.)"""
        outcome = by_us(cut)
        if outcome.taken != whole.taken or bool(outcome.refused) != bool(whole.refused):
            self.fail(f"{data!r}\nwhole: {whole}\ncut after {[len(piece) for piece in cut]}: {outcome}")

    def test_same_as_h11(self) -> None:
        """We make of each stream what h11 makes of it, or differ for a reason; and no cut changes that."""
        chance = random.Random(SEED)
        seen: Counter[str] = Counter()
        to_cut = CUT_EVERYWHERE
        for number in range(CASES):
            data = stream(chance)
            ours = by_us([data])
            name = difference(data, ours, by_h11(data))
            if name and name not in DIFFERENCES:
                self.fail(f"case {number}: {name}\n{data!r}\nwe: {ours}\nh11: {by_h11(data)}")
            seen[name] += 1
            if to_cut and len(data) <= SHORT:
                to_cut -= 1
                for at in range(1, len(data)):
                    self.same(data, [data[:at], data[at:]], ours)
                self.same(data, [data[at : at + 1] for at in range(len(data))], ours)
            else:
                self.same(data, pieces(chance, data), ours)
        self.assertEqual(to_cut, 0)
        self.assertGreater(seen[""], CASES // 2)
