"""What is one peer, and what it may have."""

from __future__ import annotations

import os
import socket
from types import SimpleNamespace
from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.trial.unittest import SynchronousTestCase

from sidecar.net.peers import Peers, PeerUse, Shares, peer_name

SHARES = Shares(connections=2, requests=3, websockets=4, subscriptions=5)


def at(host: str) -> Any:
    kind = IPv6Address if ":" in host else IPv4Address
    return SimpleNamespace(getPeer=lambda: kind("TCP", host, 1234))


class Names(SynchronousTestCase):
    def test_addresses(self) -> None:
        """A peer is its address, whatever its port and however sockets write it; loopback is nobody in particular."""
        self.assertEqual(peer_name(at("10.0.0.1")), "10.0.0.1")
        self.assertEqual(peer_name(at("::ffff:10.0.0.1")), "10.0.0.1")
        for host in ("2001:DB8::1", "2001:db8:0:0:ffff::2", "2001:db8::3%eth0"):
            self.assertEqual(peer_name(at(host)), "2001:db8::/64")  # one machine has them all
        for loopback in ("127.0.0.1", "127.4.5.6", "::1", "::ffff:127.0.0.1"):
            self.assertEqual(peer_name(at(loopback)), "")

    def test_user(self) -> None:
        """At a Unix socket a peer is a user, by the kernel's word, and counted like any other, also through TLS."""
        ours, theirs = socket.socketpair()
        self.addCleanup(ours.close)
        self.addCleanup(theirs.close)
        plain = SimpleNamespace(getPeer=lambda: UNIXAddress(None), getHandle=lambda: ours)
        covered = SimpleNamespace(getPeer=lambda: UNIXAddress(None), transport=plain)
        self.assertEqual([peer_name(each) for each in (plain, covered)], [f"uid:{os.getuid()}"] * 2)
        self.assertEqual(peer_name(SimpleNamespace(getPeer=lambda: None)), "")


class Uses(SynchronousTestCase):
    def use(self, peers: Peers, host: str = "10.0.0.1") -> PeerUse:
        use = peers.of(at(host))
        assert use is not None
        return use

    def test_edges(self) -> None:
        """As many of each kind as its share says; the next one is told what was reached, whose, and by which flag."""
        use = self.use(Peers(SHARES))
        use.take("connections")
        self.assertEqual(use.problem("connections"), "")
        use.take("connections")
        problem = use.problem("connections")
        for told in ("2 connections", "10.0.0.1", "--max_peer_connections", "try again"):
            self.assertIn(told, problem)
        self.assertEqual(use.problem("requests"), "")
        use.release("connections")
        self.assertEqual(use.problem("connections"), "")

    def test_what_lasts(self) -> None:
        """A stream of events takes the place of no connection and of no request; a WebSocket has left both behind."""
        use = self.use(Peers(SHARES))
        use.take("connections", "requests", "subscriptions")
        use.take("websockets", "subscriptions")
        self.assertEqual([use.count(kind) for kind in ("connections", "requests")], [0, 0])
        self.assertEqual([use.count(kind) for kind in ("websockets", "subscriptions")], [1, 2])
        for _ in range(3):
            use.take("websockets", "subscriptions")
        self.assertIn("--max_peer_websockets", use.problem("websockets"))
        self.assertIn("--max_peer_subscriptions", use.problem("subscriptions"))

    def test_apart(self) -> None:
        """Peers are counted apart, and forgotten when they have nothing any more; loopback is not counted."""
        peers = Peers(SHARES)
        one, other = self.use(peers), self.use(peers, "10.0.0.2")
        self.assertIs(self.use(peers), one)
        one.take("connections", "requests")
        one.take("connections")
        other.take("connections")
        self.assertEqual((other.problem("connections"), len(peers)), ("", 2))
        other.release("connections")
        one.release("connections", "requests")
        self.assertEqual(len(peers), 1)
        one.release("connections")
        self.assertEqual(len(peers), 0)
        self.assertIsNone(peers.of(at("127.0.0.1")))
