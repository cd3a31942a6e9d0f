"""What every selector promises. A subclass says how to make one that knows some services."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred
from zope.interface.verify import verifyObject

from sidecar.errors import NoNodes, NotFound, UnknownTransport
from sidecar.interfaces import ISelector
from sidecar.model import Node, Outcome, Service

if TYPE_CHECKING:
    from twisted.trial.unittest import SynchronousTestCase as _Case
else:
    _Case = object


def node(number: int, port: int = 0, **metadata: str) -> Node:
    return Node(f"foo-{number}", "127.0.0.1", port or number, metadata)


class SelectorContract(_Case):
    """To be mixed into a ``SynchronousTestCase`` that gives the one below."""

    def make_selector(self, *services: Service) -> ISelector:
        """A selector at work before a registry that answers at once and has ``services``."""
        raise NotImplementedError

    def found(self, outcome: Any) -> Any:
        """What was told, at once or by a Deferred."""
        return self.successResultOf(outcome) if isinstance(outcome, Deferred) else outcome

    def failing(self, kind: type[Exception], ask: Any, *arguments: Any) -> str:
        """The words of the error that asking fails with, at once or by a Deferred."""
        try:
            outcome = ask(*arguments)
        except kind as error:
            return str(error)
        return str(self.failureResultOf(outcome, kind).value)

    # --- The promises -----------------------------------------------------------------------------------------------

    def test_interface(self) -> None:
        """It is an ISelector."""
        verifyObject(ISelector, self.make_selector())

    def test_each_node(self) -> None:
        """Every node is first at some time, and none else."""
        selector = self.make_selector(
            Service("foo", "1", nodes=(node(1), node(2))), Service("foo", "2", nodes=(node(3),))
        )
        firsts = {self.found(selector.first("foo", None)).port for _ in range(200)}
        self.assertEqual(firsts, {1, 2, 3})

    def test_others(self) -> None:
        """The others are every address but the one that was tried, once each; those of weight 0 come last."""
        nodes = (node(1), node(2), node(3), node(4, port=1), node(5, port=2), node(6, weight="0"))
        selector = self.make_selector(Service("foo", "1", nodes=nodes))
        tried = self.found(selector.first("foo", None))
        others = [each.port for each in selector.others("foo", None, tried)]
        self.assertEqual(sorted(others), sorted({1, 2, 3, 6} - {tried.port}))
        self.assertEqual(others[-1], 6)

    def test_no_others(self) -> None:
        """Where there is one address there are no others, and none of a service that is not known."""
        selector = self.make_selector(Service("foo", "1", nodes=(node(1), node(2, port=1))))
        self.assertEqual(list(selector.others("foo", None, self.found(selector.first("foo", None)))), [])
        self.assertEqual(list(selector.others("bar", None, node(1))), [])

    def test_version(self) -> None:
        """A version narrows all of it to its own nodes."""
        selector = self.make_selector(
            Service("foo", "1", nodes=(node(1), node(2))), Service("foo", "2", nodes=(node(3), node(4)))
        )
        for _ in range(50):
            first = self.found(selector.first("foo", "2"))
            others = [each.port for each in selector.others("foo", "2", first)]
            self.assertEqual({first.port, *others}, {3, 4})
        self.assertEqual(self.found(selector.find("foo", "127.0.0.1:3", "2")), node(3))
        self.assertIsNone(self.found(selector.find("foo", "127.0.0.1:1", "2")))

    def test_no_such_version(self) -> None:
        """A version without nodes is not found, and those that there are are named."""
        selector = self.make_selector(
            Service("foo", "1", nodes=(node(1),)), Service("foo", "2", nodes=(node(2),)), Service("foo", "3")
        )
        for ask, arguments in ((selector.first, ("foo",)), (selector.find, ("foo", "127.0.0.1:1"))):
            for version in ("3", "4", ""):
                words = self.failing(NotFound, ask, *arguments, version)
                self.assertIn("there are nodes of 1, 2", words)

    def test_find(self) -> None:
        """A node is found by its address, and only among those of the service."""
        selector = self.make_selector(
            Service("foo", "1", nodes=(node(1), Node("six", "::1", 6))), Service("bar", "1", nodes=(node(2),))
        )
        self.assertEqual(self.found(selector.find("foo", "127.0.0.1:1", None)), node(1))
        self.assertEqual(self.found(selector.find("foo", "[::1]:6", None)).id, "six")
        self.assertIsNone(self.found(selector.find("foo", "127.0.0.1:2", None)))

    def test_unknown(self) -> None:
        """A service that nobody registered is not found, and one without nodes is told apart."""
        selector = self.make_selector(Service("bar", "1"))
        self.failing(NotFound, selector.first, "foo", None)
        self.failing(NotFound, selector.find, "foo", "127.0.0.1:1", None)
        self.failing(NoNodes, selector.first, "bar", None)

    def test_without_a_port(self) -> None:
        """Nodes without a TCP port are passed over; a service, or version, that has no other says what they speak."""
        queue = Node("q", "_INBOX.x7", 0, {"transport": "nats"})
        selector = self.make_selector(
            Service("foo", "1", nodes=(node(1), queue)),
            Service("foo", "2", nodes=(queue,)),
            Service("bar", "1", nodes=(Node("q", "_INBOX.x8", 0),)),
        )
        for _ in range(20):
            first = self.found(selector.first("foo", None))
            self.assertEqual((first, list(selector.others("foo", None, first))), (node(1), []))
        self.assertIn("the transport nats", self.failing(UnknownTransport, selector.first, "foo", "2"))
        self.assertIn("the transport nats", self.failing(UnknownTransport, selector.first, "bar", None))

    def test_refused_is_last(self) -> None:
        """A node that refused is not first while there is another, and the last of the others."""
        nodes = (node(1), node(2), node(3))
        selector = self.make_selector(Service("foo", "1", nodes=nodes))
        self.found(selector.first("foo", None))
        selector.began(nodes[1])
        selector.ended(nodes[1], Outcome.REFUSED)
        firsts = {self.found(selector.first("foo", None)).port for _ in range(100)}
        self.assertEqual(firsts, {1, 3})
        self.assertEqual([each.port for each in selector.others("foo", None, nodes[0])], [3, 2])

    def test_never_the_last(self) -> None:
        """Where every node refused they are called all the same."""
        nodes = (node(1), node(2))
        selector = self.make_selector(Service("foo", "1", nodes=nodes))
        for each in nodes:
            selector.began(each)
            selector.ended(each, Outcome.REFUSED)
        firsts = {self.found(selector.first("foo", None)).port for _ in range(100)}
        self.assertEqual(firsts, {1, 2})

    def test_every_end(self) -> None:
        """It takes every end of an attempt, and goes on choosing among all nodes."""
        selector = self.make_selector(Service("foo", "1", nodes=(node(1), node(2))))
        for outcome in Outcome:
            chosen = self.found(selector.first("foo", None))
            selector.began(chosen)
            selector.ended(chosen, outcome)
        self.assertIn(self.found(selector.first("foo", None)).port, (1, 2))
