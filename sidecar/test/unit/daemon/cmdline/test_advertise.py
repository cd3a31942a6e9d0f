"""An app is registered at an address by which others reach it, or the log and /health say why they cannot."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sidecar.daemon.cmdline.advertise import AdvertisedAddress, advertised, here, is_everywhere, is_loopback
from sidecar.net.ownaddress import own_addresses, reaches_us


class AdvertiseTests(SynchronousTestCase):
    def advertised(self, host: str, alone: bool = False, own: dict[bool, list[str]] | None = None) -> AdvertisedAddress:
        addresses = {False: ["10.1.2.3", "10.9.9.9"], True: ["2001:db8::7"]} if own is None else own
        return advertised("--server_address", host, 9090, alone, lambda ipv6: addresses.get(ipv6, []))

    def test_an_address_of_the_machine_stays(self) -> None:
        """Nothing is made of what others can reach, a name among it."""
        for host in ("10.0.0.5", "2001:db8::1", "app.example", "my_app"):
            self.assertEqual(self.advertised(host), AdvertisedAddress(host, 9090))

    def test_every_interface(self) -> None:
        """The machine's own address is taken, and it is said which, and what overrides it."""
        for host in ("0.0.0.0", "::", ""):  # not bound
            found = self.advertised(host)
            self.assertEqual((found.host, found.port, found.warning), ("10.1.2.3", 9090, ""))
            for word in ("10.1.2.3", "--server_address=", "--server_advertise"):
                self.assertIn(word, found.note)
        self.assertEqual(self.advertised("::", own={True: ["2001:db8::7"]}).host, "2001:db8::7")

    def test_every_interface_of_a_machine_alone(self) -> None:
        """Loopback is registered, with a warning that nobody else can reach it."""
        found = self.advertised("0.0.0.0", own={})  # not bound
        self.assertEqual(found.host, "127.0.0.1")
        self.assertIn("--server_advertise", found.warning)

    def test_in_a_memory_of_our_own(self) -> None:
        """Every interface becomes loopback of its family, and loopback is no reason to warn."""
        self.assertEqual(self.advertised("0.0.0.0", alone=True).host, "127.0.0.1")  # not bound
        self.assertEqual(self.advertised("::", alone=True).host, "::1")
        self.assertEqual(self.advertised("127.0.0.1", alone=True), AdvertisedAddress("127.0.0.1", 9090))

    def test_loopback_in_a_registry_of_others(self) -> None:
        """It is registered, with a warning."""
        for host in ("127.0.0.1", "127.1.2.3", "::1", "localhost"):
            found = self.advertised(host)
            self.assertEqual((found.host, found.note), (host, ""))
            self.assertIn("--server_advertise", found.warning)

    def test_kinds_of_hosts(self) -> None:
        """Spelled in whatever way."""
        self.assertTrue(all(map(is_everywhere, ("", "0.0.0.0", "::", "0::0"))))  # not bound
        self.assertFalse(any(map(is_everywhere, ("0.0.0.1", "localhost"))))
        self.assertTrue(all(map(is_loopback, ("LOCALHOST.", "app.localhost", "127.0.0.9"))))
        self.assertEqual([here(host) for host in ("::", "0.0.0.0", "x")], ["::1", "127.0.0.1", "x"])

    def test_own_addresses(self) -> None:
        """Whatever this machine has is of use to others."""
        for ipv6 in (False, True):
            self.assertTrue(all(reaches_us(one) and (":" in one) == ipv6 for one in own_addresses(ipv6)))
