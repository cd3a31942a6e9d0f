"""Who is pinged, and who is dead, in virtual time."""

from __future__ import annotations

from attrs import define
from twisted.trial.unittest import SynchronousTestCase

from sidecar.pubsub.heartbeat import Heartbeat


@define(eq=False)
class Peer:
    received: bool = True


class Beats(SynchronousTestCase):
    def setUp(self) -> None:
        self.beats: Heartbeat[Peer] = Heartbeat(25.0, 10.0)

    def test_ping_and_answer(self) -> None:
        """One who answers is pinged every interval, for ever."""
        peer = Peer()
        self.beats.add(peer, 0.0)
        for round in range(1, 5):
            self.assertEqual(self.beats.next(), 25.0 * round)
            self.assertEqual(self.beats.due(25.0 * round), ([peer], []))
            self.assertFalse(peer.received)
            peer.received = True
            self.assertEqual(self.beats.next(), 25.0 * round + 10)
            self.assertEqual(self.beats.due(25.0 * round + 10), ([], []))

    def test_dead(self) -> None:
        """One who says nothing for the timeout after a ping is dead, once, and watched no more."""
        peer = Peer()
        self.beats.add(peer, 0.0)
        self.beats.due(25.0)
        self.assertEqual(self.beats.due(34.9), ([], []))
        self.assertEqual(self.beats.due(35.0), ([], [peer]))
        self.assertIsNone(self.beats.next())
        self.assertEqual(len(self.beats), 0)

    def test_anything_is_a_sign_of_life(self) -> None:
        """It need not be the pong: whoever sends at all lives."""
        peer = Peer()
        self.beats.add(peer, 0.0)
        self.beats.due(25.0)
        peer.received = True
        self.assertEqual(self.beats.due(40.0), ([], []))

    def test_leave(self) -> None:
        """Who left takes no memory, whether it was pinged or not."""
        idle, asked = Peer(), Peer()
        self.beats.add(asked, 0.0)
        self.beats.due(25.0)
        self.beats.add(idle, 26.0)
        for peer in (idle, asked, Peer()):
            self.beats.remove(peer)
        self.assertEqual(len(self.beats), 0)
        self.assertIsNone(self.beats.next())

    def test_timeout_longer_than_interval(self) -> None:
        """Then the next ping comes when the last one was settled."""
        beats: Heartbeat[Peer] = Heartbeat(1.0, 5.0)
        peer = Peer()
        beats.add(peer, 0.0)
        self.assertEqual(beats.due(1.0), ([peer], []))
        peer.received = True
        self.assertEqual(beats.due(6.0), ([peer], []))
