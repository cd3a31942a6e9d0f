"""What every transport promises, whatever dialect it speaks. A subclass says how to make one, and a node for it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.protocol import Factory

from sidecar.errors import CallTimeout, ConnectFailed, ConnectionLost, ServiceFault, SidecarError
from sidecar.interfaces import ITransport
from sidecar.model import Call, Node

if TYPE_CHECKING:
    from twisted.trial.unittest import TestCase as _Case
else:
    _Case = object

#: Seconds that a call may take on a machine that is busy with something else.
PATIENCE = 30.0


class Speaking(_Case):
    """What tests of transports need, to be mixed into a ``TestCase``."""

    @property
    def reactor(self) -> Any:
        from twisted.internet import reactor

        return reactor

    def pause(self, seconds: float) -> Deferred[None]:
        waiting: Deferred[None] = Deferred()
        self.reactor.callLater(seconds, waiting.callback, None)
        return waiting

    async def failing(self, outcome: Deferred[Any], *kinds: type[BaseException]) -> Any:
        """The error that ``outcome`` fails with, which has to be of one of ``kinds``."""
        try:
            found = await outcome
        except kinds as error:
            return error
        raise AssertionError(f"answered {found!r}")


class TransportContract(Speaking):
    """To be mixed into a ``TestCase`` that gives the two below. The node serves, in its own dialect:

    ``Say.Hello`` answers ``{"msg":"Hello <name>"}``, ``Say.Echo`` its request, ``Say.Fail`` a fault with code 400 and
    detail ``bad John``, ``Say.Meta`` its metadata, ``Say.Close`` ends the connection, ``Say.Hang`` never answers.
    """

    def make_transport(self, max_body: int) -> ITransport:
        """A transport, started; the test case stops it."""
        raise NotImplementedError

    async def make_node(self) -> Node:
        """A node at work; the test case stops it."""
        raise NotImplementedError

    # --- The promises -----------------------------------------------------------------------------------------------

    async def test_answers(self) -> None:
        """A call is answered with the service's JSON."""
        transport, node = self.make_transport(1 << 20), await self.make_node()
        reply = await transport.send(node, Call("foo", "Say.Hello", b'{"name":"John"}'), PATIENCE)
        self.assertEqual(json.loads(reply.body), {"msg": "Hello John"})
        self.assertEqual(reply.content_type, "application/json")

    async def test_exact(self) -> None:
        """What JSON holds arrives as it was sent, both ways."""
        transport, node = self.make_transport(1 << 20), await self.make_node()
        for payload in (
            b'{"n":9007199254740993,"d":0.12345678901234567890}',
            '{"s":"é😀\\n"}'.encode(),
            b'{"l":[1,[2]]}',
        ):
            reply = await transport.send(node, Call("foo", "Say.Echo", payload), PATIENCE)
            self.assertEqual(reply.body.strip(), payload)

    async def test_fault(self) -> None:
        """An error of the service keeps its code and its words."""
        transport, node = self.make_transport(1 << 20), await self.make_node()
        error = await self.failing(transport.send(node, Call("foo", "Say.Fail"), PATIENCE), ServiceFault)
        self.assertEqual((error.fault.code, error.fault.detail), (400, "bad John"))

    async def test_metadata(self) -> None:
        """Metadata arrives; what steers the protocol itself does not."""
        transport, node = self.make_transport(1 << 20), await self.make_node()
        call = Call("foo", "Say.Meta", metadata={"X-Foo": "bar", "Micro-Topic": "steered"})
        told = json.loads((await transport.send(node, call, PATIENCE)).body)
        found = {name.lower(): value for name, value in told.items()}
        self.assertEqual(found.get("x-foo"), "bar")
        self.assertNotIn("steered", found.values())

    async def test_many_at_once(self) -> None:
        """Answers do not get mixed up among calls that are in flight together."""
        transport, node = self.make_transport(1 << 20), await self.make_node()
        asked = [
            transport.send(node, Call("foo", "Say.Hello", b'{"name":"%d"}' % number), PATIENCE) for number in range(100)
        ]
        for number, answer in enumerate(asked):
            self.assertEqual(json.loads((await answer).body), {"msg": f"Hello {number}"})

    async def test_timeout(self) -> None:
        """A node that does not answer costs the timeout and no more, and a call after it is answered."""
        transport, node = self.make_transport(1 << 20), await self.make_node()
        await self.failing(transport.send(node, Call("foo", "Say.Hang"), 0.1), CallTimeout)
        await transport.send(node, Call("foo", "Say.Hello", b'{"name":"John"}'), PATIENCE)

    async def test_cancelled(self) -> None:
        """A call that is given up ends at once, and a call after it is answered."""
        transport, node = self.make_transport(1 << 20), await self.make_node()
        sent = transport.send(node, Call("foo", "Say.Hang"), PATIENCE)
        await self.pause(0.05)
        sent.cancel()
        await self.failing(sent, CancelledError)
        await transport.send(node, Call("foo", "Say.Hello", b'{"name":"John"}'), PATIENCE)

    async def test_closed(self) -> None:
        """A connection that ends after the request was written may have run it, and that is told."""
        transport, node = self.make_transport(1 << 20), await self.make_node()
        await self.failing(transport.send(node, Call("foo", "Say.Close"), PATIENCE), ConnectionLost)

    async def test_refused(self) -> None:
        """A node that is not there cannot have run it, and that is told."""
        transport = self.make_transport(1 << 20)
        port = self.reactor.listenTCP(0, Factory(), interface="127.0.0.1")
        number = port.getHost().port
        await port.stopListening()
        node = Node("foo-1", "127.0.0.1", number, (await self.make_node()).metadata)
        error = await self.failing(transport.send(node, Call("foo", "Say.Hello"), PATIENCE), ConnectFailed)
        self.assertIn("refused", str(error))

    async def test_too_large(self) -> None:
        """An answer over the limit is not taken."""
        transport, node = self.make_transport(4096), await self.make_node()
        payload = b'{"pad":"' + b"x" * 8192 + b'"}'
        await self.failing(transport.send(node, Call("foo", "Say.Echo", payload), PATIENCE), SidecarError)
        small = await transport.send(node, Call("foo", "Say.Echo", b'{"a":1}'), PATIENCE)
        self.assertEqual(small.body.strip(), b'{"a":1}')
