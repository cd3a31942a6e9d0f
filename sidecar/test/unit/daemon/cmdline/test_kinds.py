"""Ids that every engine in use can hold."""

from __future__ import annotations

from twisted.python import usage
from twisted.trial.unittest import SynchronousTestCase

from sidecar.daemon.cmdline.kinds import node_id, unfit
from sidecar.daemon.cmdline.options import Options
from sidecar.daemon.cmdline.settings import AppSettings
from sidecar.test.doubles.programs.process import not_installed

# Backends are found by their entry points, and settings are read against those there are.
skip = not_installed()

LONG = "inventory-reservation-service"


def app(*flags: str) -> AppSettings:
    options = Options({})
    options.parseOptions(["--server_address=10.0.0.5:9090", *flags])
    return options.settings.apps[0]


class IdTests(SynchronousTestCase):
    def test_go_micros_custom_where_it_fits(self) -> None:
        """``<name>-<uuid>``, whatever its length, unless an engine cannot hold it."""
        uuid = r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"
        self.assertRegex(node_id(LONG, ("consul", "etcd", "nats")), f"^{LONG}-{uuid}$")
        self.assertRegex(node_id("foo", ("mdns",)), f"^foo-{uuid}$")
        self.assertRegex(node_id("go.micro.srv.inventory", ("mdns",)), f"^go.micro.srv.inventory-{uuid}$")

    def test_shorter_where_it_does_not(self) -> None:
        """The name stays as far as it can, each id is another, and all fit."""
        for name in (LONG, "a" * 50, "a" * 63, "ö" * 30, f"go.micro.{LONG}"):
            ids = {node_id(name, ("memory", "mdns")) for _ in range(50)}
            self.assertEqual(len(ids), 50)
            self.assertEqual([unfit(each, ("mdns",)) for each in ids], [""] * 50)
        self.assertTrue(node_id(LONG, ("mdns",)).startswith(f"{LONG}-"))

    def test_those_that_were_given(self) -> None:
        """An id or a name that the engine cannot hold is refused at start, and no other is made of it."""
        self.assertEqual(app(f"--server_name={LONG}", "--registry=mdns").name, LONG)
        for flags in (
            ("--server_name=foo", f"--server_id={'x' * 64}"),
            (f"--server_name={'x' * 64}",),
        ):
            error = self.assertRaises(usage.UsageError, app, "--registry=mdns", *flags)
            self.assertIn(flags[-1].partition("=")[0], str(error))
            self.assertIn("63 bytes", str(error))
        self.assertEqual(app("--server_name=foo", f"--server_id={'x' * 64}", "--registry=consul").id, "x" * 64)


class AddressTests(SynchronousTestCase):
    def assert_refused(self, *flags: str, words: tuple[str, ...]) -> None:
        options = Options({})
        error = self.assertRaises(usage.UsageError, options.parseOptions, ["--server_name=foo", *flags])
        for word in words:
            self.assertIn(word, str(error))

    def test_names_where_mdns_needs_addresses(self) -> None:
        """Refused at start with what to give instead; what is advertised counts."""
        self.assert_refused("--registry=mdns", "--server_address=my_app:9090", words=("my_app:9090", "IP address"))
        self.assert_refused(
            "--registry=consul,mdns",
            "--server_address=10.0.0.5:1",
            "--server_advertise=my-app:9090",
            words=("--server_advertise=my-app:9090",),
        )
        for flags in (
            ("--server_address=my_app:9090", "--server_advertise=10.0.0.5:9090"),
            ("--server_address=localhost:9090",),
            ("--server_address=my_app:9090", "--server_protocol=http"),
        ):
            options = Options({})
            options.parseOptions(["--registry=mdns", "--server_name=foo", *flags])

    def test_addresses_of_nobody(self) -> None:
        """Multicast, broadcast, and every interface as what others are told."""
        for address in ("224.0.0.1:9090", "255.255.255.255:9090", "[ff02::1]:9090"):
            self.assert_refused(f"--server_address={address}", words=(address, "many machines"))
        for address in ("0.0.0.0:9090", "[::]:9090"):
            self.assert_refused(
                "--server_address=127.0.0.1:1", f"--server_advertise={address}", words=(address, "every interface")
            )

    def test_every_interface(self) -> None:
        """May be written as Go writes it."""
        for address, host in ((":9090", ""), ("0.0.0.0:9090", "0.0.0.0"), ("[::]:9090", "::")):
            options = Options({})
            options.parseOptions(["--server_name=foo", f"--server_address={address}"])
            self.assertEqual((options.settings.apps[0].host, options.settings.apps[0].port), (host, 9090))
