"""Half messages of many WebSockets, and the bound of all of them together."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sidecar.test.doubles.clients.pubsub import BrokerCase, Client
from sidecar.test.doubles.clients.websocket import BINARY, client_frame
from sidecar.websocket.incomplete import IncompleteMessages

#: As large as a message of these tests may be.
HALF = client_frame(b"x" * 1000, BINARY)[:900]


class Bound(SynchronousTestCase):
    def test_oldest_first(self) -> None:
        """Beyond the bound those go that have waited longest, until the rest fits; a grown one keeps its place."""
        waiting: IncompleteMessages[str] = IncompleteMessages(100)
        self.assertEqual(waiting.changed("a", 40), [])
        self.assertEqual(waiting.changed("b", 40), [])
        self.assertEqual(waiting.changed("a", 60), [])
        self.assertEqual((waiting.total, waiting.changed("c", 1)), (100, ["a"]))
        self.assertEqual((waiting.total, waiting.changed("c", 100)), (41, ["b"]))
        self.assertEqual((waiting.total, waiting.changed("c", 0), waiting.total), (100, [], 0))
        self.assertEqual(waiting.changed("nobody", 0), [])

    def test_one_too_large(self) -> None:
        """One that does not fit alone goes itself."""
        waiting: IncompleteMessages[str] = IncompleteMessages(10)
        self.assertEqual((waiting.changed("a", 11), waiting.total), (["a"], 0))


class HalfFrames(BrokerCase):
    def half(self, data: bytes = HALF) -> Client:
        client = self.joined()
        client.send(data)
        return client

    def test_shed(self) -> None:
        """The oldest halves are closed with 1013 when all together are too much; who sends whole messages is not."""
        self.serve(self.memory, max_incomplete=2700)
        whole = self.joined("/broker?topic=t&format=raw")
        clients = [self.half() for _ in range(5)]
        for number in range(50):
            whole.say(b"%d" % number * 100, BINARY)
            self.turn()
            whole.read()
        self.assertEqual([client.read().closed for client in clients], [1013, 1013, None, None, None])
        self.assertEqual([client.open for client in clients], [False, False, True, True, True])
        self.assertEqual(len(whole.reader.messages), 50)
        self.assertEqual(self.pubsub.stats()["shed"], 2)

    def test_fragments(self) -> None:
        """So are those that never end a message of many fragments."""
        self.serve(self.memory, max_incomplete=2700)
        piece = client_frame(b"x" * 300, BINARY, fin=False)
        more = client_frame(b"x" * 300, 0, fin=False)
        clients = [self.half(piece) for _ in range(4)]
        for client in clients:
            client.send(more)
            client.send(more)
        self.assertEqual([client.read().closed for client in clients], [1013, 1013, None, None])

    def test_ended(self) -> None:
        """What came whole, and who left, counts no more."""
        self.serve(self.memory, max_incomplete=2700)
        rest = client_frame(b"x" * 1000, BINARY)[900:]
        for _ in range(10):
            client = self.half()
            client.send(rest)
            self.assertTrue(client.open)
            self.half().leave()
        self.assertEqual(self.sockets._incomplete.total, 0)
        self.assertEqual(self.pubsub.stats()["shed"], 0)

    def test_byte_by_byte(self) -> None:
        """However small the pieces, what waits takes no more room than its bytes."""
        client = self.joined()
        for at in range(len(HALF)):
            client.send(HALF[at : at + 1])
        self.assertEqual(self.sockets._incomplete.total, len(HALF))
