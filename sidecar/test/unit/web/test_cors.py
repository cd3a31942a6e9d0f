"""Which pages may talk to us."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sidecar.web.cors import CorsPolicy

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
