"""The names that a server goes by."""

from __future__ import annotations

import os
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from sidecar.net.http.hosts import AllowedHosts, machine_names, same_host


class Hosts(SynchronousTestCase):
    def test_always(self) -> None:
        """Addresses and loopback names, with a port or without, and no Host at all."""
        hosts = AllowedHosts()
        for host in (
            b"127.0.0.1:8081",
            b"127.0.0.1",
            b"10.1.2.3:80",
            b"[::1]:8081",
            b"[fe80::1]",
            b"localhost",
            b"LocalHost:8081",
            b"localhost.:8081",
            b"app.localhost:8081",
            None,
        ):
            self.assertTrue(hosts.allows(host), host)
            self.assertTrue(hosts.allows(host), "a second time")

    def test_never(self) -> None:
        """Any other name, which may resolve to us, and numbers that are no address as it is written."""
        hosts = AllowedHosts(("micro.example.com",))
        for host in (
            b"evil.example:8081",
            b"evil.example",
            b"localhost.evil.example",
            b"127.0.0.1.evil.example:8081",
            b"2130706433",
            b"0x7f.1",
            b"127.1",
            b"xlocalhost",
            b"sub.micro.example.com",
            b"example.com",
            b"",
        ):
            self.assertFalse(hosts.allows(host), host)

    def test_given(self) -> None:
        """Names that are given, all below one, and all there are."""
        hosts = AllowedHosts(("Micro.Example.com", "*.apps.example.com"))
        for host in (b"micro.example.com:443", b"MICRO.example.COM.", b"a.apps.example.com", b"a.b.apps.example.com:1"):
            self.assertTrue(hosts.allows(host), host)
        self.assertFalse(hosts.allows(b"apps.example.com"))
        self.assertTrue(AllowedHosts(("*",)).allows(b"evil.example"))

    def test_bounded(self) -> None:
        """However many names are asked for, few are remembered."""
        hosts = AllowedHosts()
        for number in range(1000):
            self.assertTrue(hosts.allows(b"%d.localhost" % number))
        self.assertLessEqual(len(hosts._known), 256)

    def test_machine(self) -> None:
        """The machine's name, alone and with the domains that its files say; a file that is not there is no error."""
        etc = Path(self.mktemp())
        etc.mkdir()
        own = os.uname().nodename.lower()
        self.assertIn(own, machine_names(etc))
        (etc / "hosts").write_text(f"127.0.0.1 localhost\n10.0.0.7 {own}.corp.example {own} # mine\n10.0.0.8 other\n")
        (etc / "resolv.conf").write_text("nameserver 10.0.0.1\nsearch corp.test lab.test.\n")
        names = machine_names(etc)
        short = own.partition(".")[0]
        self.assertLessEqual({own, f"{own}.corp.example", f"{short}.corp.test", f"{short}.lab.test"}, names)
        self.assertNotIn("other", names)

    def test_same_host(self) -> None:
        """A page is of the host that it asks where name and port are the same."""
        self.assertTrue(same_host(b"http://127.0.0.1:8081", b"127.0.0.1:8081"))
        self.assertTrue(same_host(b"https://a.example", b"A.example:443"))
        for origin in (b"null", b"http://evil.example", b"http://127.0.0.1:3000", b""):
            self.assertFalse(same_host(origin, b"127.0.0.1:8081"), origin)
        self.assertFalse(same_host(b"http://a.example", None))
