"""The table of a client connection, and a connection that is driven through all of it."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.error import ConnectionDone
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from sidecar.net.client import states
from sidecar.net.client.connection import ClientConnection
from sidecar.test.unit.net.client.test_connection import Story

_HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"
#: How a connection that idles comes into each state that lasts.
_WAYS: dict[str, Callable[[Story], object]] = {
    states.IDLE: lambda story: None,
    states.WAITING: lambda story: story.ask(),
    states.HEAD: lambda story: story.ask(_HEAD[:9]),
    states.BODY: lambda story: story.ask(_HEAD, b"hel"),
    states.CLOSING: lambda story: story.connection.drop(),
    states.CLOSED: lambda story: story.end(ConnectionDone()),
}
#: What can be done to a connection from outside, by what happens then.
_DEEDS: dict[str, Callable[[Story], object]] = {
    states.SENT: lambda story: story.connection.send(b"POST / HTTP/1.1\r\n\r\n", story),
    states.DROPPED: lambda story: story.connection.drop(),
    states.LOST: lambda story: story.connection.connectionLost(Failure(ConnectionDone())),
}
_ALL = (
    *(states.CONNECTING, states.IDLE, states.WAITING, states.HEAD, states.BODY, states.WHOLE, states.SURPLUS),
    *(states.CLOSING, states.CLOSED),
)
_EVENTS = (
    *(states.CONNECTED, states.SENT, states.BEGUN, states.ANNOUNCED, states.BODY_BEGUN, states.COMPLETED),
    *(states.GARBLED, states.TOLD, states.DROPPED, states.LOST),
)
#: The table, written a second time: each row what may happen in a state, and where that leads.
_WANTED = """
connecting  connected-idle dropped-closing lost-closed
idle        sent-waiting dropped-closing lost-closed
waiting     begun-head dropped-closing lost-closed
head        announced-waiting body_begun-body completed-whole dropped-closing lost-closed
body        completed-whole dropped-closing lost-closed
whole       begun-surplus garbled-surplus told-idle dropped-closing lost-closed
surplus     begun-surplus garbled-surplus told-idle dropped-closing lost-closed
closing     sent-closing dropped-closing lost-closed
closed      dropped-closed lost-closed
"""


def state_of(connection: ClientConnection) -> str:
    return connection._state


class Table(SynchronousTestCase):
    def test_every_pair(self) -> None:
        """Each state and event: where it leads, or that it is refused."""
        wanted = {}
        for row in _WANTED.strip().splitlines():
            state, *moves = row.split()
            for move in moves:
                event, _, then = move.partition("-")
                wanted[state, event.replace("_", " ")] = then
        self.assertEqual(set(states.TABLE), set(_ALL))
        for state in _ALL:
            self.assertLessEqual(set(states.TABLE[state]), set(_EVENTS))
            for event in _EVENTS:
                self.assertEqual(states.TABLE[state].get(event), wanted.get((state, event)), (state, event))

    def test_every_state_ends(self) -> None:
        """From each state one comes to the end, and from the first to each."""
        for state in _ALL:
            self.assertEqual(self.reached(state) & {states.CLOSED}, {states.CLOSED})
        self.assertEqual(self.reached(states.CONNECTING), set(_ALL))

    def reached(self, state: str) -> set[str]:
        found, following = {state}, [state]
        while following:
            new = set(states.TABLE[following.pop()].values()) - found
            found |= new
            following += new
        return found


class Driven(SynchronousTestCase):
    def test_deeds(self) -> None:
        """Whatever its owner or its transport does to a connection in any state leads where the table says, or is
        refused before anything is written."""
        for state, come in _WAYS.items():
            for event, deed in _DEEDS.items():
                story = Story()
                come(story)
                self.assertEqual(state_of(story.connection), state)
                written = story.transport.value()
                wanted = states.TABLE[state].get(event)
                if wanted is None:
                    self.assertRaises(KeyError, deed, story)
                    self.assertEqual((state_of(story.connection), story.transport.value()), (state, written))
                else:
                    deed(story)
                    self.assertEqual(state_of(story.connection), wanted, (state, event))

    def test_bytes(self) -> None:
        """What comes leads through the states of an answer, whole or in pieces."""
        story = Story().ask()
        seen = []
        for piece in (b"HTTP/1.1 103 Early Hints\r\n", b"\r\n", _HEAD[:9], _HEAD[9:], b"h", b"ello"):
            story.connection.dataReceived(piece)
            seen.append(state_of(story.connection))
        head, waiting, body, idle = states.HEAD, states.WAITING, states.BODY, states.IDLE
        self.assertEqual(seen, [head, waiting, head, head, body, idle])
        self.assertEqual(story.answers, [(200, b"hello")])

    def test_out_of_turn(self) -> None:
        """Bytes that nobody asked for end the connection, and whoever sends on it then is told that it is lost."""
        for way in (states.IDLE, states.CLOSING):
            story = Story()
            _WAYS[way](story)
            story.connection.dataReceived(_HEAD)
            self.assertEqual((state_of(story.connection), story.transport.aborted), (states.CLOSING, True))
            story.ask().end(ConnectionDone())
            self.assertEqual((len(story.errors), story.answers), (1, []))

    def test_behind(self) -> None:
        """Something behind the answer, a second one or garbage, leaves the connection unfit for another call."""
        for behind in (_HEAD, _HEAD + b"hello", b"garbage\r\n\r\n"):
            story = Story().ask(_HEAD + b"hello" + behind)
            self.assertEqual(story.outcome, ([(200, b"hello")], [], False))
            self.assertEqual(state_of(story.connection), states.IDLE)
