"""Header fields through a reverse proxy."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sidecar.wire.gateway import forwarding
from sidecar.wire.gateway.forwarding import Hop

HOP = Hop("10.0.0.1", False)
RAW = list[tuple[bytes, bytes]]


def by_name(raw: RAW) -> dict[bytes, bytes]:
    return {name.lower(): value for name, value in raw}


class RequestTests(SynchronousTestCase):
    def lines(self, raw: RAW, hop: Hop = HOP, upgrade: bool = False) -> dict[bytes, list[bytes]]:
        found: dict[bytes, list[bytes]] = {}
        for line in forwarding.request_lines(raw, by_name(raw), hop, upgrade).split(b"\r\n")[:-1]:
            name, _, value = line.partition(b": ")
            found.setdefault(name, []).append(value)
        return found

    def test_what_goes_on(self) -> None:
        """All but what is for one hop, those fields included that Connection names."""
        found = self.lines(
            [
                (b"Host", b"app.example:8081"),
                (b"Connection", b"keep-alive, X-Hop"),
                (b"connection", b"X-Other"),
                (b"Keep-Alive", b"5"),
                (b"X-Hop", b"1"),
                (b"X-Other", b"1"),
                (b"TE", b"gzip"),
                (b"Proxy-Authorization", b"x"),
                (b"Upgrade", b"h2c"),
                (b"Expect", b"100-continue"),
                (b"Cookie", b"a=b"),
                (b"Authorization", b"Bearer x"),
                (b"Accept", b"a"),
                (b"Accept", b"b"),
                (b"Content-Length", b"3"),
            ]
        )
        self.assertEqual(
            found,
            {
                b"Cookie": [b"a=b"],
                b"Authorization": [b"Bearer x"],
                b"Accept": [b"a", b"b"],
                b"Content-Length": [b"3"],
                b"X-Forwarded-For": [b"10.0.0.1"],
                b"X-Forwarded-Proto": [b"http"],
                b"X-Forwarded-Host": [b"app.example:8081"],
                b"Forwarded": [b'for=10.0.0.1;host="app.example:8081";proto=http'],
            },
        )

    def test_behind_another_proxy(self) -> None:
        """Its hops come first; what it says of the client stays."""
        raw = [
            (b"Host", b"app"),
            (b"X-Forwarded-For", b"1.2.3.4"),
            (b"Forwarded", b"for=1.2.3.4"),
            (b"X-Forwarded-Proto", b"https"),
            (b"X-Forwarded-Host", b"example.com"),
        ]
        found = self.lines(raw, Hop("::1", True))
        self.assertEqual(found[b"X-Forwarded-For"], [b"1.2.3.4, ::1"])
        self.assertEqual(found[b"Forwarded"], [b'for=1.2.3.4, for="[::1]";host=app;proto=https'])
        self.assertEqual((found[b"X-Forwarded-Proto"], found[b"X-Forwarded-Host"]), ([b"https"], [b"example.com"]))

    def test_unix_sockets(self) -> None:
        """Have no address."""
        found = self.lines([], Hop("", False))
        self.assertEqual(found[b"Forwarded"], [b"for=unknown;proto=http"])

    def test_nobody_takes_away_where_the_body_ends(self) -> None:
        """Connection may name what it likes."""
        found = self.lines([(b"Connection", b"Content-Length, close"), (b"Content-Length", b"3")])
        self.assertEqual(found[b"Content-Length"], [b"3"])

    def test_chunks_trailers_and_websockets(self) -> None:
        """Are said for the next hop."""
        found = self.lines([(b"Transfer-Encoding", b"chunked"), (b"TE", b"trailers"), (b"Trailer", b"X-Sum")])
        self.assertEqual((found[b"Transfer-Encoding"], found[b"TE"]), ([b"chunked"], [b"trailers"]))
        self.assertEqual((found[b"Connection"], found[b"Trailer"]), ([b"TE"], [b"X-Sum"]))
        found = self.lines([(b"Connection", b"keep-alive, Upgrade"), (b"Upgrade", b"websocket")], upgrade=True)
        self.assertEqual((found[b"Connection"], found[b"Upgrade"]), ([b"Upgrade"], [b"websocket"]))


class AnswerTests(SynchronousTestCase):
    def lines(self, raw: RAW, own: frozenset[bytes] = frozenset()) -> bytes:
        block = b"".join(b"%b: %b\r\n" % pair for pair in raw)
        return forwarding.answer_lines(block, raw, by_name(raw), own)

    def test_what_goes_on(self) -> None:
        """All but what is for one hop."""
        raw = [(b"Set-Cookie", b"a"), (b"Keep-Alive", b"5"), (b"Set-Cookie", b"b"), (b"Content-Length", b"3")]
        kept = b"Set-Cookie: a\r\nSet-Cookie: b\r\nContent-Length: 3\r\n"
        for connection in (b"keep-alive", b"close", b"Keep-Alive, X-Hop"):
            more = [(b"Connection", connection), (b"transfer-encoding", b"x"), (b"Upgrade", b"h2")]
            hop = [(b"X-Hop", b"1")] if b"X-Hop" in connection else []
            self.assertEqual(self.lines([*raw, *more, *hop]), kept, connection)

    def test_ours(self) -> None:
        """Fields that we set ourselves are not the node's to set."""
        raw = [(b"Access-Control-Allow-Origin", b"*"), (b"A", b"1")]
        self.assertEqual(self.lines(raw, frozenset((b"access-control-allow-origin",))), b"A: 1\r\n")

    def test_trailers(self) -> None:
        """Go on unless they would frame or route a message."""
        raw = [(b"X-Sum", b"1"), (b"Content-Length", b"3"), (b"Transfer-Encoding", b"x"), (b"Grpc-Status", b"0")]
        self.assertEqual(forwarding.trailer_fields(raw), [(b"X-Sum", b"1"), (b"Grpc-Status", b"0")])
