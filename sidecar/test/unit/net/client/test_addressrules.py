"""Addresses to which nobody may have us connect."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sidecar.net.client.addressrules import AddressRules, network

#: One address in all the spellings that a system takes.
METADATA = (
    "169.254.169.254",
    "169.254.43518",
    "169.16689662",
    "2852039166",
    "0xa9fea9fe",
    "0XA9.0xFE.0xA9.0xFE",
    "0251.0376.0251.0376",
    "025177524776",
    "169.254.169.254.",
    "::ffff:169.254.169.254",
    "::ffff:a9fe:a9fe",
    "0:0:0:0:0:FFFF:A9FE:A9FE",
    "::169.254.169.254",
    "64:ff9b::169.254.169.254",
    "64:ff9b:1::a9fe:a9fe",
    "2002:a9fe:a9fe::1",
)
REFUSED = (
    *METADATA,
    "169.254.0.1",
    "fe80::1",
    "fe80::1%eth0",
    "febf::1",
    "fd00:ec2::254",
    "FD00:0EC2:0:0:0:0:0:0254",
    "100.100.100.200",
    "224.0.0.1",
    "239.255.255.250",
    "ff02::1",
    "ff02::1%lo",
    "255.255.255.255",
    "240.0.0.1",
    "0.0.0.0",
    "0",
    "0x0",
    "::",
    "::ffff:0.0.0.0",
    "::ffff:224.0.0.1",
)
TAKEN = (
    "127.0.0.1",
    "127.1",
    "2130706433",
    "::1",
    "::ffff:127.0.0.1",
    "10.0.0.1",
    "172.16.0.1",
    "192.168.1.1",
    "100.64.0.1",
    "100.100.100.201",
    "fc00::1",
    "fd12:3456::1",
    "203.0.113.1",
    "2001:db8::1",
    "localhost",
    "my_app",
    "169.254.169.254.example",
    "a9fea9fe",
)


class RulesTests(SynchronousTestCase):
    def test_refused(self) -> None:
        """Link-local, a cloud's metadata, multicast, broadcast, reserved and unspecified, in every spelling."""
        for host in REFUSED:
            self.assertIn("--allow_addresses", AddressRules().refusal(host) or f"{host} is taken")

    def test_taken(self) -> None:
        """Loopback, private networks, public ones, and names, which are judged by their addresses."""
        for host in TAKEN:
            self.assertIsNone(AddressRules().refusal(host), host)

    def test_allowed(self) -> None:
        """What the operator allows is taken, in every spelling, and nothing beside it."""
        rules = AddressRules((network("169.254.169.254"), network("fe80::/10")))
        for host in (*METADATA, "fe80::1%eth0"):
            self.assertIsNone(rules.refusal(host), host)
        for host in ("169.254.169.253", "ff02::1", "::"):
            self.assertIsNotNone(rules.refusal(host), host)

    def test_words(self) -> None:
        """Why is told, with the address that is meant."""
        self.assertEqual(
            AddressRules().refusal("0xfe.0"), "0xfe.0 (254.0.0.0) is reserved; --allow_addresses permits it"
        )
