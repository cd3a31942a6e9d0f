"""Who asks, as what is asked for is told."""

from __future__ import annotations

from typing import Any

from twisted.internet.address import UNIXAddress
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from sidecar.broker.memory import MemoryBroker
from sidecar.model import ANONYMOUS, Caller, Message
from sidecar.test.doubles.clients.pubsub import BrokerCase
from sidecar.web.auth import caller_of

LOCAL = Caller(address="127.0.0.1")


class _Channel:
    """A connection. :ivar asked: how often it was asked who is at the other end."""

    identity: object = None
    asked = 0

    def __init__(self, peer: object) -> None:
        self._peer = peer

    def getPeer(self) -> object:
        self.asked += 1
        return self._peer


class _Request:
    def __init__(self, channel: _Channel | None) -> None:
        self.channel = channel


class CallerTests(SynchronousTestCase):
    def test_once_a_connection(self) -> None:
        """The requests of one connection have one caller, which is made once."""
        channel = _Channel(UNIXAddress(b"/run/app.sock"))
        first, second = caller_of(_Request(channel)), caller_of(_Request(channel))
        self.assertIs(first, second)
        self.assertEqual((first, channel.asked), (Caller(address="/run/app.sock"), 1))

    def test_gone(self) -> None:
        """Of a connection that has ended nobody is known."""
        self.assertEqual(caller_of(_Request(None)), ANONYMOUS)

    def test_nameless(self) -> None:
        """The other end of a Unix socket has no name, usually."""
        self.assertEqual(caller_of(_Request(_Channel(UNIXAddress(None)))), ANONYMOUS)


class _Asked(MemoryBroker):
    """Keeps who asked for what."""

    def __init__(self, clock: Any) -> None:
        super().__init__(clock)
        self.callers: list[tuple[str, Caller]] = []

    def publish(self, topic: str, message: Message, caller: Caller) -> Deferred[None]:
        self.callers.append(("publish", caller))
        return super().publish(topic, message, caller)

    def subscribe(self, topic: str, deliver: Any, queue: str | None, caller: Caller) -> Deferred[Any]:
        self.callers.append(("subscribe", caller))
        return super().subscribe(topic, deliver, queue, caller)


class BrokerCallers(BrokerCase):
    def test_told(self) -> None:
        """The broker is told who publishes and who subscribes, over HTTP and over WebSockets."""
        broker = _Asked(self.clock)
        broker.startService()
        self.serve(broker)
        self.post("/broker?topic=t", b"x")
        self.joined().say("y")
        self.joined("/broker?topic=t&queue=q")
        asked = [("publish", LOCAL), ("subscribe", LOCAL), ("publish", LOCAL), ("subscribe", LOCAL)]
        self.assertEqual(broker.callers, asked)
