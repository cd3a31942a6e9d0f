"""Streams into an app: what is one, and what becomes of it where the app opens no WebSocket."""

from __future__ import annotations

from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from sidecar.errors import ConnectFailed, NotSent, ServiceFault
from sidecar.interfaces import IStream, IStreamListener, IStreamTransport
from sidecar.model import Call, Fault, Node, Reply
from sidecar.rpc.dialects.bynode import DeferredTransport
from sidecar.test.unit.web.app.test_app import NODE, Saying
from sidecar.web.app.app import App
from sidecar.web.app.stream import ALONE, SILENCE, InboundStream


@implementer(IStream)
@define(eq=False)
class Socket:
    """A WebSocket to an app. :ivar sent: what the app got. :ivar closed: whether we left."""

    sent: list[bytes] = field(factory=list)
    closed: bool = False

    def send(self, payload: bytes) -> None:
        self.sent.append(payload)

    def end(self) -> None:
        """A WebSocket has one end."""

    def pause(self) -> None:
        """Nothing is read."""

    def resume(self) -> None:
        """As before."""

    def close(self) -> None:
        self.closed = True


@implementer(IStreamTransport)
@define(eq=False)
class Opening:
    """Opens, later or not at all. :ivar answer: what opening comes to."""

    answer: Deferred[Any]
    listener: Any = None

    def open(self, node: Node, call: Call, listener: IStreamListener) -> Deferred[IStream]:
        self.listener = listener
        return self.answer


@define(eq=False)
class Caller:
    """:ivar said: what came, None or a fault at the end."""

    said: list[bytes | Fault | None] = field(factory=list)

    def say(self, payload: bytes) -> None:
        self.said.append(payload)

    def finish(self, fault: Fault | None) -> None:
        self.said.append(fault)


class InboundStreams(SynchronousTestCase):
    def start(
        self, answer: Deferred[Any], opening: bytes = b"", reply: Reply | Exception | None = None
    ) -> InboundStream:
        self.clock, self.caller, self.socket = Clock(), Caller(), Socket()
        self.opening, self.plain = Opening(answer), Saying(reply or Reply(b'{"a":1}'))
        app = App("srv", NODE, DeferredTransport(self.plain, self.clock), streams=self.opening)
        stream = InboundStream(app, Call("srv", "Say.Stream"), self.caller, 30.0, opening)
        stream.start()
        return stream

    def refused(self, opening: bytes = b"") -> InboundStream:
        return self.start(fail(NotSent("404")), opening)

    def test_both_ways(self) -> None:
        """What comes before the app has let us in waits, in order; what the app says is told, and how it ends."""
        letting_in: Deferred[Any] = Deferred()
        stream = self.start(letting_in, b'{"opening":"is thrown away"}')
        stream.received(b'{"n":1}\n')
        letting_in.callback(self.socket)
        stream.received(b'{"n":2}')
        self.assertEqual(self.socket.sent, [b'{"n":1}', b'{"n":2}'])
        for payload in (b'{"m":1}', b"words", b""):
            self.opening.listener.message(payload)
        self.opening.listener.stream_ended()
        self.assertEqual(self.caller.said, [b'{"m":1}', b'"words"', None])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_apps_error(self) -> None:
        """An app that ends the stream with an error has its caller told that."""
        self.start(succeed(Socket()))
        fault = Fault("srv", 409, "gone", "Conflict")
        self.opening.listener.failed(ServiceFault(fault))
        self.assertEqual(self.caller.said, [fault])

    def test_opening_alone(self) -> None:
        """A payload that comes with the opening is the message where no other comes."""
        stream = self.start(succeed(Socket()), b'{"n":1}')
        self.clock.advance(ALONE)
        assert stream._stream is not None
        socket: Any = stream._stream
        self.assertEqual(socket.sent, [b'{"n":1}'])

    def test_single_is_a_call(self) -> None:
        """Where the app refuses, a single message is a POST: as soon as its caller ends, or when no other comes."""
        for end in (lambda stream: stream.ended(), lambda stream: self.clock.advance(ALONE)):
            stream = self.refused()
            stream.received(b'{"n":1}')
            end(stream)
            self.assertEqual([call.request for call in self.plain.asked], [b'{"n":1}'])
            self.assertEqual(self.caller.said, [b'{"a":1}', None])
        self.refused(b'{"n":7}')
        self.clock.advance(ALONE)
        self.assertEqual([call.request for call in self.plain.asked], [b'{"n":7}'])

    def test_more_are_unimplemented(self) -> None:
        """More messages than one cannot be had of it, whenever the second comes."""
        refusing: Deferred[Any] = Deferred()
        for late in (False, True):
            stream = self.start(refusing) if late else self.refused()
            for _ in range(2):
                stream.received(b"{}")
            if late:
                refusing.errback(NotSent("404"))
            (said,) = self.caller.said
            assert isinstance(said, Fault)
            self.assertEqual((said.code, self.plain.asked), (501, []))

    def test_nobody(self) -> None:
        """An app that is not there is told as such, and a caller who says nothing is not waited for without end."""
        self.start(fail(ConnectFailed("refused")))
        (said,) = self.caller.said
        self.assertIsInstance(said, Fault)
        self.refused()
        self.clock.advance(30)
        (said,) = self.caller.said
        assert isinstance(said, Fault)
        self.assertEqual((said.code, self.clock.getDelayedCalls()), (501, []))

    def test_silence_after_the_end(self) -> None:
        """After several messages and the caller's end an app that is silent has said all; one message asks for answers
        for as long as they take."""
        for count, said in ((1, []), (2, [None])):
            socket = Socket()
            stream = self.start(succeed(socket))
            for _ in range(count):
                stream.received(b"{}")
            stream.ended()
            self.clock.advance(SILENCE)
            self.assertEqual((self.caller.said, socket.closed), (said, count == 2))

    def test_caller_leaves(self) -> None:
        """The app's WebSocket is closed when its caller is gone, or opens too late."""
        socket = Socket()
        self.start(succeed(socket)).leave()
        self.assertTrue(socket.closed)
        self.assertEqual((self.caller.said, self.clock.getDelayedCalls()), ([], []))
