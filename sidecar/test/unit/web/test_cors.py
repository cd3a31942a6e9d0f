"""Which pages may ask us."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sidecar.web.cors import HEADERS, CorsPolicy, refusal

HOST = b"127.0.0.1:8081"


def headers(policy: CorsPolicy, origin: bytes, host: bytes | None = HOST) -> dict[bytes, bytes]:
    return dict(policy.headers_for(origin, host))


class Policy(SynchronousTestCase):
    def test_same_host_by_default(self) -> None:
        """Nobody is named: only pages of the host that was asked, on the same port."""
        policy = CorsPolicy()
        for origin, host, welcome in (
            (b"http://127.0.0.1:8081", HOST, True),
            (b"https://127.0.0.1:8081", HOST, True),  # TLS may end in front of us
            (b"HTTP://Api.Example.com", b"api.example.com:80", True),
            (b"https://api.example.com", b"api.example.com", True),
            (b"http://[::1]:8081", b"[::1]:8081", True),
            (b"http://127.0.0.1:3000", HOST, False),
            (b"http://localhost:8081", HOST, False),
            (b"http://127.0.0.1", HOST, False),
            (b"http://evil.example", HOST, False),
            (b"http://127.0.0.1:8081.evil.example", HOST, False),
            (b"null", HOST, False),
            (b"", HOST, False),
            (b"127.0.0.1:8081", HOST, False),
            (b"http://a:99999", b"a:99999", True),
            (b"http://127.0.0.1:8081", None, False),
        ):
            self.assertEqual(policy.permits_websocket(origin, host), welcome, origin)
            self.assertEqual(b"Access-Control-Allow-Origin" in headers(policy, origin, host), welcome, origin)

    def test_named(self) -> None:
        """A named origin is echoed, with credentials; another one is not."""
        policy = CorsPolicy(("https://app.example.com", "http://localhost:3000/"))
        got = headers(policy, b"https://app.example.com")
        self.assertEqual(got[b"Access-Control-Allow-Origin"], b"https://app.example.com")
        self.assertEqual(got[b"Access-Control-Allow-Methods"], b"POST, GET, OPTIONS, PUT, DELETE")
        self.assertEqual(
            got[b"Access-Control-Allow-Headers"],
            b"Content-Type, Content-Length, Accept-Encoding, X-CSRF-Token, Authorization",
        )
        self.assertEqual(got[b"Access-Control-Allow-Credentials"], b"true")
        self.assertTrue(policy.permits_websocket(b"http://localhost:3000", HOST))
        self.assertEqual(headers(policy, b"https://app.example.com:8443"), {b"Vary": b"Origin"})
        self.assertFalse(policy.permits_websocket(b"https://evil.example", HOST))

    def test_exposed(self) -> None:
        """A permitted page reads the headers of our own answers."""
        exposed = headers(CorsPolicy(), b"http://127.0.0.1:8081")[b"Access-Control-Expose-Headers"]
        for name in (b"Warning", b"Retry-After", b"Allow", b"WWW-Authenticate"):
            self.assertIn(name, exposed)

    def test_preflight(self) -> None:
        """The headers that are asked for are allowed, unless they are dangerous, and the answer may be kept."""
        policy = CorsPolicy(("https://app.example.com",))
        asked = b"content-type, Timeout,x-tenant, traceparent, Micro-From-Service, X-Tenant, bad name"
        got = dict(policy.preflight_headers(b"https://app.example.com", HOST, asked))
        allowed = got[b"Access-Control-Allow-Headers"].decode().lower().split(", ")
        for name in ("content-type", "authorization", "timeout", "x-tenant", "traceparent", "micro-from-service"):
            self.assertEqual(allowed.count(name), 1, name)
        self.assertNotIn("bad name", allowed)
        self.assertEqual(got[b"Access-Control-Max-Age"], b"7200")
        self.assertNotIn(b"Access-Control-Allow-Private-Network", got)

    def test_dangerous(self) -> None:
        """What speaks for the connection, a proxy or the browser is never allowed."""
        policy = CorsPolicy(("*",))
        asked = (
            b"Host, Cookie, Origin, Connection, X-Forwarded-For, X-Real-IP, Forwarded, Proxy-Authorization, "
            b"Sec-Fetch-Site, Transfer-Encoding, X-HTTP-Method-Override, Micro-Topic, X-Micro-Topic, Upgrade"
        )
        got = dict(policy.preflight_headers(b"https://any.example", HOST, asked))
        self.assertEqual(got[b"Access-Control-Allow-Headers"], HEADERS)

    def test_preflight_of_others(self) -> None:
        """A page that may not is told nothing."""
        self.assertEqual(CorsPolicy().preflight_headers(b"https://evil.example", HOST, b"x-a"), ((b"Vary", b"Origin"),))

    def test_private_network(self) -> None:
        """A permitted page of the internet may reach us in a private network, where its browser asks that."""
        got = dict(CorsPolicy(("*",)).preflight_headers(b"https://any.example", HOST, b"", True))
        self.assertEqual(got[b"Access-Control-Allow-Private-Network"], b"true")

    def test_refusal(self) -> None:
        """Who may not is told which Host was seen, the flag, and what to set in nginx."""
        told = refusal(b"https://app.example.com", b"127.0.0.1:8081", "open a WebSocket here")
        for word in (
            "https://app.example.com",
            "127.0.0.1:8081",
            "--sidecar_cors",
            "proxy_set_header Host $http_host;",
        ):
            self.assertIn(word, told)
        self.assertIn("none", refusal(b"null", None, "x"))

    def test_everybody(self) -> None:
        """With a star every origin may come, and none with the user's cookies."""
        policy = CorsPolicy(("*",))
        got = headers(policy, b"https://any.example")
        self.assertEqual(got[b"Access-Control-Allow-Origin"], b"https://any.example")
        self.assertNotIn(b"Access-Control-Allow-Credentials", got)
        self.assertTrue(policy.permits_websocket(b"null", HOST))

    def test_no_browser(self) -> None:
        """Who sends no Origin is no browser, and is not judged."""
        self.assertTrue(CorsPolicy().permits_websocket(None, HOST))
