"""NATS in memory, on a clock: what clients publish reaches all who hold a subject of it, but for who published it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from attrs import define, field
from twisted.application import service
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.interfaces import IReactorTime

from sidecar.net.errors import Unavailable
from sidecar.net.firstattempt import FirstAttempt
from sidecar.net.nats.client import Interest
from sidecar.test.doubles.servers.nats import matches


@define(eq=False)
class MemoryNats:
    """The server. :ivar clients: those that are connected."""

    clock: IReactorTime
    clients: list[MemoryNatsClient] = field(factory=list)

    def route(self, sender: MemoryNatsClient, subject: str, reply: str, payload: bytes) -> None:
        for client in self.clients:
            if client is not sender:
                for interest in client.interests:
                    if matches(interest.subject, subject):
                        self.clock.callLater(0, _deliver, interest, subject, reply, payload)


class MemoryNatsClient(service.Service):
    """A client of it, with the part of :class:`~sidecar.net.nats.client.NatsClient` that registries use."""

    def __init__(self, server: MemoryNats) -> None:
        self._server = server
        self._observers: list[Callable[[bool], None]] = []
        self.interests: dict[Interest, None] = {}
        self.first_attempt = FirstAttempt(over=True)
        self.connected, self.detail = False, "not started"

    def startService(self) -> None:
        super().startService()
        self.first_attempt = FirstAttempt()
        self._server.clock.callLater(0, self._connect)

    def stopService(self) -> Any:
        super().stopService()
        self.first_attempt.made()
        if self in self._server.clients:
            self._server.clients.remove(self)
        self.connected, self.detail = False, "stopped"
        return succeed(None)

    def on_change(self, observer: Callable[[bool], None]) -> None:
        self._observers.append(observer)

    def subscribe(self, interest: Interest) -> Deferred[None]:
        self.interests[interest] = None
        return succeed(None)

    def unsubscribe(self, interest: Interest) -> Deferred[None]:
        interest.active = False
        self.interests.pop(interest, None)
        return succeed(None)

    def publish(self, subject: str, payload: bytes, reply: str = "") -> Deferred[None]:
        if not self.connected:
            return fail(Unavailable("not connected"))
        self._server.route(self, subject, reply, payload)
        done: Deferred[None] = Deferred()
        self._server.clock.callLater(0, done.callback, None)
        return done

    def _connect(self) -> None:
        if self.running:
            self._server.clients.append(self)
            self.connected, self.detail = True, ""
            self.first_attempt.made()
            for observer in self._observers:
                observer(True)


def _deliver(interest: Interest, subject: str, reply: str, payload: bytes) -> None:
    if interest.active:
        interest.deliver(subject, reply, payload)
