"""URLs in messages show no secret."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sidecar.redaction import redacted


class RedactionTests(SynchronousTestCase):
    def test_what_may_be_secret_goes(self) -> None:
        """User, password, query and fragment, in every URL of a text; the rest stays."""
        for text, shown in {
            "http://127.0.0.1:9090/ok": "http://127.0.0.1:9090/ok",
            "http://u:hidden@h:1/x?token=hidden&b=1": "http://...@h:1/x?...",
            "http://[::1]:9/ok#hidden": "http://[::1]:9/ok#...",
            "nats://u:hidden@a:4222,nats://hidden@b": "nats://...@a:4222,nats://...@b",
            "consul=https://u:hidden@c:8501": "consul=https://...@c:8501",
            "http://u:hid/den@h/x": "http://...@h/x",
            "GET http://h/p?t=hidden: refused": "GET http://h/p?... refused",
            "u:hidden@h:4222 is away": "...@h:4222 is away",
            "no URL, a=b, joe@example.org": "no URL, a=b, joe@example.org",
        }.items():
            self.assertEqual(redacted(text), shown)
