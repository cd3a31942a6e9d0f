"""Which requests are begun in a turn, which wait for theirs, and which are refused: on a Clock that counts turns."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from sidecar.net.reactor.admission import AT_ONCE, LOOKED_AT, PATIENCE, STANDING, Admission


class CountedClock(Clock):
    """A Clock that counts its turns, as our reactor does; what is to be called at once is called in the next one."""

    turns = 0

    def __init__(self) -> None:
        super().__init__()
        self.due: list[Callable[[], object]] = []

    def callLater(self, delay: float, callable: Callable[..., object], *args: object, **kw: object) -> Any:
        self.due.append(callable)
        return callable

    def next_turn(self, seconds: float = 0.0) -> None:
        self.turns += 1
        self.advance(seconds)
        due, self.due = self.due, []
        for call in due:
            call()


class Waiting:
    """A request. :ivar outcome: what became of it. :ivar there: its client did not leave."""

    def __init__(self, name: int) -> None:
        self.name = name
        self.outcome = ""
        self.there = True

    def begin_late(self) -> bool:
        if self.there:
            self.outcome = "begun"
        return self.there

    def refuse(self, seconds: float) -> bool:
        if self.there:
            self.outcome = f"refused after {seconds:.2f}"
        return self.there


class Turns(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = CountedClock()
        self.admission = Admission(self.clock, PATIENCE)
        self.requests: list[Waiting] = []

    def ask(self, count: int) -> int:
        """:returns: how many of so many were begun at once."""
        begun = 0
        for number in range(count):
            if self.admission.admits():
                begun += 1
            else:
                self.requests.append(Waiting(number))
                self.admission.wait(self.requests[-1])
        return begun

    def outcomes(self, what: str) -> list[int]:
        return [request.name for request in self.requests if request.outcome.startswith(what)]

    def test_few(self) -> None:
        """As many as a turn has time for are begun at once, in each turn anew."""
        for _ in range(3):
            self.clock.next_turn()
            self.assertEqual(self.ask(AT_ONCE), AT_ONCE)
        self.assertEqual(len(self.admission), 0)

    def test_burst(self) -> None:
        """Of more the rest waits, and is served in order, some in each turn; nobody goes before them meanwhile."""
        self.clock.next_turn()
        self.assertEqual(self.ask(3 * AT_ONCE), AT_ONCE)
        self.clock.next_turn()
        self.assertEqual(self.outcomes("begun"), list(range(AT_ONCE, 2 * AT_ONCE)))
        self.assertEqual(self.ask(1), 0)
        self.clock.next_turn()
        self.clock.next_turn()
        self.assertEqual(self.outcomes("begun"), [*range(AT_ONCE, 3 * AT_ONCE), 0])
        self.clock.next_turn()
        self.assertEqual(self.ask(AT_ONCE), AT_ONCE)

    def test_standing(self) -> None:
        """A queue that stands is served in order as well where its callers wait: whoever waits asks nothing else."""
        self.clock.next_turn()
        self.ask(4 * AT_ONCE)
        self.clock.next_turn(STANDING + 0.01)
        self.assertEqual(self.outcomes("begun"), list(range(AT_ONCE, 2 * AT_ONCE)))

    def test_impatient(self) -> None:
        """Where callers leave before it is their turn, whoever came last is begun first as long as the queue stands;
        who has left costs nobody a place."""
        self.clock.next_turn()
        self.ask(5 * AT_ONCE)
        for request in self.requests[: 2 * AT_ONCE]:
            request.there = False
        self.clock.next_turn(STANDING + 0.01)
        self.assertEqual(self.outcomes("begun"), list(range(3 * AT_ONCE, 4 * AT_ONCE)))
        self.ask(3 * AT_ONCE)
        self.clock.next_turn(STANDING + 0.01)
        newest = self.requests[-AT_ONCE:]
        self.assertEqual({request.outcome for request in newest}, {"begun"})
        self.assertEqual((self.admission.left, self.admission.refused), (2 * AT_ONCE, 0))

    def test_patient_again(self) -> None:
        """That is over when those at the front of the queue stay again."""
        self.clock.next_turn()
        self.ask(3 * AT_ONCE)
        for request in self.requests:
            request.there = False
        self.clock.next_turn()
        for _ in range(2 * LOOKED_AT // AT_ONCE):
            self.clock.next_turn()
            self.ask(2 * AT_ONCE)
            self.clock.next_turn()
        before = len(self.requests)
        self.ask(3 * AT_ONCE)
        self.clock.next_turn(STANDING + 0.01)
        self.assertEqual({request.outcome for request in self.requests[before : before + AT_ONCE]}, {"begun"})

    def test_refused(self) -> None:
        """Who has waited for as long as may be is still begun; a moment later it is refused, and counted."""
        self.clock.next_turn()
        self.ask(AT_ONCE + 1)
        self.clock.next_turn(PATIENCE)
        self.assertEqual((self.outcomes("begun"), self.admission.refused), ([AT_ONCE], 0))
        self.clock.next_turn()
        self.ask(AT_ONCE + 1)
        self.clock.next_turn(PATIENCE + 0.01)
        self.assertEqual((self.outcomes("refused"), self.admission.refused), ([AT_ONCE], 1))

    def test_work_of_a_turn(self) -> None:
        """Four times as many waiting are no more work in one turn."""
        for count in (1000, 4000):
            self.clock.next_turn()
            self.ask(count)
            before = len(self.outcomes("begun"))
            self.clock.next_turn()
            self.assertLessEqual(len(self.outcomes("begun")) - before, AT_ONCE)
            while len(self.admission):
                self.clock.next_turn()

    def test_fault(self) -> None:
        """One that fails keeps nobody else from their turn."""
        self.clock.next_turn()
        self.ask(2 * AT_ONCE)

        def fail() -> None:
            raise ZeroDivisionError

        broken: Any = self.requests[0]
        broken.begin_late = fail
        with self.assertRaises(ZeroDivisionError):
            self.clock.next_turn()
        self.clock.next_turn()
        self.assertEqual(len(self.outcomes("begun")), AT_ONCE - 1)

    def test_no_turns(self) -> None:
        """With a reactor that does not count its turns everybody is begun at once."""
        admission = Admission(Clock(), PATIENCE)
        self.assertTrue(all(admission.admits() for _ in range(1000)))
