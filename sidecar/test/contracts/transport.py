"""What every transport promises, whatever dialect it speaks. A subclass says how to make one, and a node for it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from attrs import define, field
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.protocol import Factory
from zope.interface import implementer
from zope.interface.verify import verifyObject

from sidecar.errors import BadRequest, CallTimeout, ConnectFailed, ConnectionLost, ServiceFault, SidecarError
from sidecar.interfaces import IExchange, IExchangeListener, ITransport
from sidecar.model import Call, Node, Reply
from sidecar.rpc.dialects.bynode import DeferredTransport

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

    def send(self, transport: ITransport, node: Node, call: Call, timeout: float = PATIENCE) -> Deferred[Reply]:
        return DeferredTransport(transport, self.reactor).send(node, call, timeout)

    async def failing(self, outcome: Deferred[Any], *kinds: type[BaseException]) -> Any:
        """The error that ``outcome`` fails with, which has to be of one of ``kinds``."""
        try:
            found = await outcome
        except kinds as error:
            return error
        raise AssertionError(f"answered {found!r}")


@implementer(IExchangeListener)
@define(eq=False)
class Told:
    """Listens to one exchange and keeps what it was told."""

    outcomes: list[Reply | SidecarError] = field(factory=list)
    waits: list[float] = field(factory=list)

    def attempt_waits(self, patience: float) -> None:
        self.waits.append(patience)

    def attempt_replied(self, reply: Reply) -> None:
        self.outcomes.append(reply)

    def attempt_failed(self, error: SidecarError) -> None:
        self.outcomes.append(error)


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

    async def test_interface(self) -> None:
        """It is an ITransport, and what it makes are IExchanges."""
        transport, node = self.make_transport(1 << 20), await self.make_node()
        verifyObject(ITransport, transport)
        verifyObject(IExchange, transport.exchange(node, Call("foo", "Say.Hello"), PATIENCE, Told()))

    async def test_told_once(self) -> None:
        """The listener is told once, and nothing happens before the attempt is started."""
        transport, node = self.make_transport(1 << 20), await self.make_node()
        told = Told()
        exchange = transport.exchange(node, Call("foo", "Say.Hello", b'{"name":"John"}'), PATIENCE, told)
        await self.pause(0.02)
        self.assertEqual(told.outcomes, [])
        exchange.start()
        while not told.outcomes:
            await self.pause(0.01)
        exchange.cancel()
        await self.pause(0.02)
        self.assertEqual(len(told.outcomes), 1)
        self.assertIsInstance(told.outcomes[0], Reply)

    async def test_not_told(self) -> None:
        """The listener of an attempt that was cancelled hears nothing, whether a connection was there or not."""
        transport, node = self.make_transport(1 << 20), await self.make_node()
        for _ in range(2):
            told = Told()
            exchange = transport.exchange(node, Call("foo", "Say.Hang"), PATIENCE, told)
            exchange.start()
            exchange.cancel()
            await self.pause(0.05)
            self.assertEqual(told.outcomes, [])
            await self.send(transport, node, Call("foo", "Say.Hello", b'{"name":"John"}'))

    async def test_before_sending(self) -> None:
        """The first attempt at a node spends time connecting, the next one none; both say what they wait for."""
        transport, node = self.make_transport(1 << 20), await self.make_node()
        spent = []
        for _ in range(2):
            told = Told()
            exchange = transport.exchange(node, Call("foo", "Say.Hello", b'{"name":"John"}'), PATIENCE, told)
            exchange.start()
            self.assertIn(exchange.state, ("no connection", "no answer"))
            while not told.outcomes:
                await self.pause(0.01)
            spent.append(exchange.before_sending(self.reactor.seconds()))
        self.assertGreater(spent[0][1], 0.0)
        self.assertLess(spent[0][0] + spent[0][1], PATIENCE)
        self.assertEqual(spent[1], (0.0, 0.0))

    async def test_cannot_be_written(self) -> None:
        """What no wire can carry is the caller's fault, told before anything is sent."""
        transport, node = self.make_transport(1 << 20), await self.make_node()
        for call in (Call("foo", "Say\r\nX: y"), Call("foo", "Say.Hello", metadata={"X-Foo": "a\r\nX-Bar: b"})):
            await self.failing(self.send(transport, node, call), BadRequest)

    async def test_answers(self) -> None:
        """A call is answered with the service's JSON."""
        transport, node = self.make_transport(1 << 20), await self.make_node()
        reply = await self.send(transport, node, Call("foo", "Say.Hello", b'{"name":"John"}'))
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
            reply = await self.send(transport, node, Call("foo", "Say.Echo", payload))
            self.assertEqual(reply.body.strip(), payload)

    async def test_fault(self) -> None:
        """An error of the service keeps its code and its words."""
        transport, node = self.make_transport(1 << 20), await self.make_node()
        error = await self.failing(self.send(transport, node, Call("foo", "Say.Fail")), ServiceFault)
        self.assertEqual((error.fault.code, error.fault.detail), (400, "bad John"))

    async def test_metadata(self) -> None:
        """Metadata arrives; what steers the protocol itself does not."""
        transport, node = self.make_transport(1 << 20), await self.make_node()
        call = Call("foo", "Say.Meta", metadata={"X-Foo": "bar", "Micro-Topic": "steered"})
        told = json.loads((await self.send(transport, node, call)).body)
        found = {name.lower(): value for name, value in told.items()}
        self.assertEqual(found.get("x-foo"), "bar")
        self.assertNotIn("steered", found.values())

    async def test_many_at_once(self) -> None:
        """Answers do not get mixed up among calls that are in flight together."""
        transport, node = self.make_transport(1 << 20), await self.make_node()
        asked = [
            self.send(transport, node, Call("foo", "Say.Hello", b'{"name":"%d"}' % number)) for number in range(100)
        ]
        for number, answer in enumerate(asked):
            self.assertEqual(json.loads((await answer).body), {"msg": f"Hello {number}"})

    async def test_timeout(self) -> None:
        """A node that does not answer costs the timeout and no more, and a call after it is answered."""
        transport, node = self.make_transport(1 << 20), await self.make_node()
        await self.failing(self.send(transport, node, Call("foo", "Say.Hang"), 0.1), CallTimeout)
        await self.send(transport, node, Call("foo", "Say.Hello", b'{"name":"John"}'))

    async def test_cancelled(self) -> None:
        """A call that is given up ends at once, and a call after it is answered."""
        transport, node = self.make_transport(1 << 20), await self.make_node()
        sent = self.send(transport, node, Call("foo", "Say.Hang"))
        await self.pause(0.05)
        sent.cancel()
        await self.failing(sent, CancelledError)
        await self.send(transport, node, Call("foo", "Say.Hello", b'{"name":"John"}'))

    async def test_closed(self) -> None:
        """A connection that ends after the request was written may have run it, and that is told."""
        transport, node = self.make_transport(1 << 20), await self.make_node()
        await self.failing(self.send(transport, node, Call("foo", "Say.Close")), ConnectionLost)

    async def test_refused(self) -> None:
        """A node that is not there cannot have run it, and that is told."""
        transport = self.make_transport(1 << 20)
        port = self.reactor.listenTCP(0, Factory(), interface="127.0.0.1")
        number = port.getHost().port
        await port.stopListening()
        node = Node("foo-1", "127.0.0.1", number, (await self.make_node()).metadata)
        error = await self.failing(self.send(transport, node, Call("foo", "Say.Hello")), ConnectFailed)
        self.assertIn("refused", str(error))

    async def test_waiting(self) -> None:
        """Who waits for a connection to a node that always connected quickly is told after how long another node is
        better; of a node that nobody connected to before nothing is known."""
        transport, node = self.make_transport(1 << 20), await self.make_node()
        told = await self.closed_on(transport, node)
        self.assertEqual(told.waits, [])
        # On a machine that is busy the first ones may have been slow; that is forgotten little by little.
        for _ in range(100):
            told = await self.closed_on(transport, node)
            if told.waits:
                break
        self.assertEqual(len(told.waits), 1)
        self.assertGreaterEqual(told.waits[0], 0.25)
        self.assertLess(told.waits[0], 2.0)

    async def closed_on(self, transport: ITransport, node: Node) -> Told:
        """Make a call that ends the connection, so that the next one needs another."""
        told = Told()
        transport.exchange(node, Call("foo", "Say.Close"), PATIENCE, told).start()
        while not told.outcomes:
            await self.pause(0.01)
        await self.pause(0.05)
        return told

    async def test_too_large(self) -> None:
        """An answer over the limit is not taken."""
        transport, node = self.make_transport(4096), await self.make_node()
        payload = b'{"pad":"' + b"x" * 8192 + b'"}'
        await self.failing(self.send(transport, node, Call("foo", "Say.Echo", payload)), SidecarError)
        small = await self.send(transport, node, Call("foo", "Say.Echo", b'{"a":1}'))
        self.assertEqual(small.body.strip(), b'{"a":1}')
