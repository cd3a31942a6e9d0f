"""The one rule for hosts."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sidecar.wire.fields import is_host


class HostTests(SynchronousTestCase):
    def test_hosts(self) -> None:
        """Whatever a machine may be called, and addresses of both families."""
        for host in (
            "localhost",
            "my_app",
            "-app",
            "app-",
            "_app.my_net_default",
            "a.example.",
            "127.0.0.1",
            "127.1",
            "0300.0250.1.1",
            "123456789012",
            "1.example",
            "::1",
            "fe80::1%eth0",
            "::ffff:10.0.0.1",
            "x" * 63,
            ".".join(["x" * 62] * 4),
        ):
            self.assertTrue(is_host(host), host)

    def test_others(self) -> None:
        """What nothing can be looked up or connected to by."""
        for host in (
            "",
            ".",
            "a..b",
            ".a",
            "a b",
            "a\n",
            "a/b",
            "a,b",
            "a@b",
            "büro",
            "999.1.1.1",
            "127.0.0.08",
            "1.16777216",
            "1.2.3.4.5",
            "256.256.256.256",
            "[::1]",
            "1:2",
            ":::",
            "::1%",
            "::1%a b",
            "x" * 64,
            ".".join(["x" * 63] * 4),
        ):
            self.assertFalse(is_host(host), host)
