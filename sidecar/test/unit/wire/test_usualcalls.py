"""Calls that come one after the other are read as each of them would be alone."""

from __future__ import annotations

from itertools import permutations

from twisted.trial.unittest import SynchronousTestCase

from sidecar.model import EMPTY
from sidecar.wire.usualcalls import RepeatedCalls, read

FRONT = b'{"service": "foo", "method": "Say.Hello", "request": '
BODIES = (
    FRONT + b'{"name": "John"}}',
    FRONT + b"[1, 2]}",
    FRONT + b"-1}",
    FRONT + '{"name": "Zoë"}}'.encode(),
    FRONT.replace(b"Hello", b"Bye") + b"null}",
    FRONT.replace(b" ", b"") + b"{}}",
)
#: Each is said by somebody else to be a call, or what is wrong with it.
CLOSER = (
    FRONT,
    FRONT + b"}",
    FRONT + b'"{}"}',
    FRONT + b" {}}",
    FRONT + b"{}} ",
    FRONT + b'{}, "version": "1"}',
    FRONT + b"{",
    FRONT + b'{"name": "\xff"}}',
    b'{"request": {}, "service": "foo", "method": "Say.Hello"}',
    b"",
)


class Repeated(SynchronousTestCase):
    def test_as_alone(self) -> None:
        """What came before changes nothing, whatever it was."""
        for order in permutations(range(len(BODIES)), 3):
            calls = RepeatedCalls("json")
            for index in order:
                found = calls.read(BODIES[index], EMPTY, b"A: b\r\n")
                self.assertIsNotNone(found, BODIES[index])
                self.assertEqual(found, read("json", BODIES[index], EMPTY, b"A: b\r\n"))

    def test_closer_look(self) -> None:
        """What is written otherwise, or is wrong, is left to who can tell, also after many that were right."""
        calls = RepeatedCalls("json")
        for body in CLOSER:
            self.assertIsNotNone(calls.read(BODIES[0], EMPTY, b""))
            self.assertIsNone(calls.read(body, EMPTY, b""), body)

    def test_forms(self) -> None:
        """Forms are read likewise."""
        calls = RepeatedCalls("form")
        for method in ("Say.Hello", "Say.Bye"):
            found = calls.read(b'service=foo&method=%b&request={"a":1}' % method.encode(), EMPTY, b"")
            assert found is not None
            self.assertEqual((found.method, found.request), (method, b'{"a":1}'))
        self.assertIsNone(calls.read(b"service=foo&method=Say.Hello&request=%7B%7D", EMPTY, b""))
