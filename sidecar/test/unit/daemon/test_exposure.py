"""Nobody serves a whole network by accident."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sidecar.daemon import exposure
from sidecar.daemon.cmdline.options import Options
from sidecar.daemon.cmdline.settings import Settings
from sidecar.errors import UnsafeSetting
from sidecar.test.doubles.programs.process import not_installed

# Backends are found by their entry points, and settings are read against those there are.
skip = not_installed()


def settings(*flags: str) -> Settings:
    options = Options({"MICRO_CONFIG": "none"})
    options.parseOptions(flags)
    return options.settings


class ExposureTests(SynchronousTestCase):
    def test_public(self) -> None:
        """Public is anything but loopback, in every spelling."""
        for host in (
            "",
            "0.0.0.0",
            "::",
            "10.0.0.5",
            "192.168.1.2",
            "fe80::1",
            "::ffff:10.0.0.1",
            "box",
            "169.254.1.1",
        ):  # not bound
            self.assertTrue(exposure.is_public(host), host)
        for host in ("127.0.0.1", "127.3.2.1", "::1", "[::1]", "::ffff:127.0.0.1", "localhost"):
            self.assertFalse(exposure.is_public(host), host)

    def test_refused(self) -> None:
        """A public port of the API is refused with the three ways out, whatever way it is written."""
        for flags in (("--address=:8081",), ("--address=0.0.0.0:0",), ("--port=tcp:9000",), ("--address=[::]:1",)):
            said = str(self.assertRaises(UnsafeSetting, exposure.check, settings(*flags)))
            for way in ("--auth_tokens", "--tls_client_ca_file", "--insecure_listen"):
                self.assertIn(way, said)
        for bound in ("0.0.0.0", "10.0.0.5"):  # not bound
            self.assertRaises(UnsafeSetting, exposure.check, settings(), bound)

    def test_ways_out(self) -> None:
        """Loopback, a Unix socket, tokens, client certificates and the flag that says so are let through."""
        tls = ("--tls_cert_file=c", "--tls_key_file=k")
        for flags in (
            (),
            ("--address=127.0.0.1:1",),
            ("--address=[::1]:1",),
            ("--port=unix:/tmp/x",),
            ("--address=:1", "--auth_tokens=f"),
            ("--address=:1", *tls, "--tls_client_ca_file=a"),
            ("--address=:1", "--insecure_listen"),
        ):
            exposure.check(settings(*flags))
        self.assertRaises(UnsafeSetting, exposure.check, settings("--address=:1", *tls))
        self.assertRaises(UnsafeSetting, exposure.check, settings("--address=:1", "--auth_roles=f"))
        exposure.check(settings(), "")

    def test_warnings(self) -> None:
        """What is open is warned of at each start: the API's port, the inbound port, the HTTP broker's."""
        given = settings(
            "--address=:1",
            "--insecure_listen",
            "--server_name=shop",
            "--server_address=127.0.0.1:1",
            "--server_protocol=http",
            "--server_inbound=0.0.0.0:0",
            "--broker=http",
            "--broker_address=0.0.0.0:0",
        )
        warnings = list(exposure.warnings(given, "::"))
        self.assertEqual(len(warnings), 3, warnings)
        for word, warning in zip(("--insecure_listen", "inbound port of shop", "HTTP broker"), warnings, strict=True):
            self.assertIn(word, warning)
        self.assertEqual(list(exposure.warnings(settings(), "127.0.0.1")), [])
