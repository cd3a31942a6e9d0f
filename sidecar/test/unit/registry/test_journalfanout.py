"""The fan-out of the journal: everybody hears each entry of interest once, in order, from when they began."""

from __future__ import annotations

from itertools import pairwise

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from sidecar.model import Change, Node, Service
from sidecar.registry.journal import Journal, JournalEntry
from sidecar.registry.journalfanout import MOST, Follower, JournalFanout, joined


def short(entry: JournalEntry) -> bytes:
    """An entry as its node's id."""
    return b"%b;" % entry.service.nodes[0].id.encode()


class FanoutCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.journal = Journal(self.clock)
        self.fanout = JournalFanout(self.journal, self.clock)
        self.encoded = 0

    def form(self, entry: JournalEntry) -> bytes:
        self.encoded += 1
        return short(entry)

    def happen(self, *ids: str, name: str = "foo") -> None:
        for identity in ids:
            self.journal.changed(Change.of("create", Service(name, "1", nodes=(Node(identity, "h", 1),))))

    def follow(self, name: str | None = None) -> tuple[list[bytes], Follower]:
        told: list[bytes] = []
        follower = Follower(name, self.form, told.append)
        self.fanout.add(follower)
        return told, follower


class Fanout(FanoutCase):
    def test_later(self) -> None:
        """Nobody is told inside the call that caused an entry; what happens in one turn is told together, in order."""
        told, _ = self.follow()
        self.happen("a", "b")
        self.assertEqual(told, [])
        self.clock.advance(0)
        self.assertEqual(told, [b"a;b;"])
        self.happen("c")
        self.clock.advance(0)
        self.assertEqual(told, [b"a;b;", b"c;"])

    def test_of_interest(self) -> None:
        """Who follows one service hears of no other, and nothing where nothing of it is among what happened."""
        (foo, _), (bar, _), (anything, _) = self.follow("foo"), self.follow("bar"), self.follow()
        self.happen("a", "b")
        self.clock.advance(0)
        self.happen("c", name="bar")
        self.clock.advance(0)
        self.assertEqual((foo, bar, anything), ([b"a;b;"], [b"c;"], [b"a;b;", b"c;"]))

    def test_from_the_beginning(self) -> None:
        """Who comes between an entry and its telling has it in what they read when they came, and hears the next."""
        early, _ = self.follow()
        self.happen("a")
        late, _ = self.follow()
        self.happen("b")
        self.clock.advance(0)
        self.assertEqual((b"".join(early), b"".join(late)), (b"a;b;", b"b;"))

    def test_leaving(self) -> None:
        """Who leaves between an entry and its telling is told nothing more; once more is no error."""
        (told, follower), (other, _) = self.follow(), self.follow()
        self.happen("a")
        self.fanout.remove(follower)
        self.fanout.remove(follower)
        self.clock.advance(0)
        self.assertEqual((told, other), ([], [b"a;"]))

    def test_leaving_while_others_are_told(self) -> None:
        """Who is told may have others leave, who then hear nothing."""
        told: list[bytes] = []
        last = Follower(None, self.form, told.append)
        first = Follower(None, self.form, lambda _: self.fanout.remove(last))
        self.fanout.add(first)
        self.fanout.add(last)
        self.happen("a")
        self.clock.advance(0)
        self.assertEqual(told, [])

    def test_encoded_once(self) -> None:
        """However many hear of an entry in one form, it is encoded once; with nobody there, not at all."""
        self.happen("a")
        everybody = [self.follow() for _ in range(1000)]
        self.happen("b")
        self.clock.advance(0)
        self.assertEqual(self.encoded, 1)
        self.assertEqual({b"".join(told) for told, _ in everybody}, {b"b;"})
        for _, follower in everybody:
            self.fanout.remove(follower)
        self.happen("c")
        self.clock.advance(0)
        self.assertEqual(self.encoded, 1)

    def test_while_telling(self) -> None:
        """What happens while many are being told comes after it, to all of them."""
        heard: list[bytes] = []

        def first(told: bytes) -> None:
            heard.append(told)
            if told == b"a;":
                self.happen("b", "c")

        self.fanout.add(Follower(None, self.form, first))
        others = [self.follow()[0] for _ in range(200)]
        self.happen("a")
        self.clock.advance(0)
        self.assertEqual(heard, [b"a;", b"b;c;"])
        self.assertEqual({tuple(each) for each in others}, {(b"a;", b"b;c;")})

    def test_many_in_slices(self) -> None:
        """Where telling a thousand takes long, others have their turn after each 64 of them."""
        told = 0

        def slowly(_: bytes) -> None:
            nonlocal told
            told += 1
            self.clock.rightNow += 0.001

        for _ in range(1000):
            self.fanout.add(Follower(None, self.form, slowly))
        self.happen("a")
        seen = [0]

        def somebody_else() -> None:
            seen.append(told)
            if told < 1000 and len(seen) < 2000:
                self.clock.callLater(0, somebody_else)

        self.clock.callLater(0, somebody_else)
        self.clock.advance(0)
        self.assertEqual(told, 1000)
        self.assertLessEqual(max(after - before for before, after in pairwise(seen)), 64)

    def test_joined(self) -> None:
        """Many entries go together, and not too many."""
        self.happen(*(f"{number:0>1000}" for number in range(100)))
        pieces = list(joined(self.journal.find(), short))
        self.assertEqual(b"".join(pieces), b"".join(short(each) for each in self.journal.find()))
        self.assertTrue(all(len(piece) <= MOST for piece in pieces))
        self.assertLess(len(pieces), 5)
        self.assertEqual(list(joined([], short)), [])
