"""The registry over NATS: questions are broadcast, whoever has the service answers. Both of go-micro's dialects.

:source: micro/go-micro ``plugins/registry/nats/nats.go@v3.7.1``, ``registry/nats/nats.go@v6.10.0``
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable
from typing import Any

from attrs import define, field
from twisted.application.service import IService
from twisted.internet.defer import Deferred, DeferredList
from twisted.python.failure import Failure

from sidecar.errors import EngineUnavailable, Forbidden, MalformedRecord
from sidecar.interfaces import IRegistry
from sidecar.model import BackendOptions, Service
from sidecar.net.errors import NetError, NotPermitted
from sidecar.net.nats.access import NatsServers
from sidecar.net.nats.client import Interest, NatsClient
from sidecar.registry.peers.registry import PeerRegistry
from sidecar.registry.peers.transport import PeerListener
from sidecar.wire.registry import nats as wire

#: Seconds between two announcements of what is ours: go-micro's.
HEARTBEAT = 30.0


@define(eq=False, slots=False)
class NatsTransport:
    """Asks, answers and announces over one link, which must not echo: what we say is not for us."""

    _link: NatsClient
    kind: str = "nats"
    heartbeat: float | None = HEARTBEAT
    _inbox: str = field(factory=lambda: f"_INBOX.{uuid.uuid4().hex}", init=False)
    _listener: PeerListener = field(init=False)

    def attach(self, listener: PeerListener) -> IService:
        self._listener = listener
        self._link.on_change(lambda connected: listener.on_up() if connected else listener.on_down())
        interests = [
            *(Interest(subject, self._asked) for subject in wire.QUERY),
            *(Interest(subject, self._told) for subject in wire.WATCH),
            Interest(f"{self._inbox}.*", self._answered),
        ]
        for interest in interests:
            # Before the link has started this only notes it. What the server forbids is told when it is asked.
            self._link.subscribe(interest)
        return self._link

    def first_attempt(self) -> Deferred[None]:
        return self._link.first_attempt.wait()

    def state(self) -> tuple[bool, str]:
        return self._link.connected, self._link.detail

    def check(self, service: Service) -> None:
        """Whatever is a service can be told of here."""

    def query(self, name: str) -> Deferred[None]:
        return self._say(wire.query(name), f"{self._inbox}.get")

    def query_names(self) -> Deferred[None]:
        return self._say(wire.query(None), f"{self._inbox}.list")

    def announce(self, service: Service, news: bool) -> Deferred[None]:
        return self._say(wire.broadcast("create", service))

    def withdraw(self, service: Service) -> Deferred[None]:
        return self._say(wire.broadcast("delete", service))

    def _say(self, said: Iterable[tuple[str, bytes]], reply: str = "") -> Deferred[None]:
        saying = [self._link.publish(subject, body, reply) for subject, body in said]

        return DeferredList(saying, consumeErrors=True).addCallback(_all_said)

    # --- what comes in ----------------------------------------------------------------------------------------------

    def _asked(self, subject: str, reply: str, body: bytes) -> None:
        if not reply or reply in wire.QUERY or reply in wire.WATCH:
            return  # nobody to answer, or somebody who would have us talk to ourselves
        try:
            query = wire.decode_query(body)
        except MalformedRecord as error:
            self._listener.report_malformed(f"a question on {subject}", str(error))
            return
        if query is None:
            return
        for name in self._listener.own_names() if query.name is None else (query.name,):
            for service in self._listener.own(name):
                # A lost connection is told elsewhere; who asked will ask again.
                self._link.publish(reply, wire.answer(service)).addErrback(_expected)

    def _answered(self, subject: str, reply: str, body: bytes) -> None:
        if not body:
            return  # the server's own word that nobody listens to the question ("no responders")
        try:
            service = wire.decode_answer(body, self._skipped(body))
        except MalformedRecord as error:
            self._listener.report_malformed(f"an answer ({_names(body)})", str(error))
            return
        self._listener.on_name(service.name)
        self._listener.on_announced(service)

    def _skipped(self, body: bytes) -> Callable[[str], None]:
        """Tells of a part of ``body`` that is left out, once for each."""
        return lambda why: self._listener.report_malformed(f"a part of what is told of a node ({_names(body)})", why)

    def _told(self, subject: str, reply: str, body: bytes) -> None:
        try:
            told = wire.decode_broadcast(body, self._skipped(body))
        except MalformedRecord as error:
            self._listener.report_malformed(f"a message on {subject} ({_names(body)})", str(error))
            return
        if told is None:
            return
        if told.gone:
            self._listener.on_goodbye(told.service.name, [node.id for node in told.service.nodes])
        else:
            self._listener.on_announced(told.service)


def _all_said(results: list[tuple[bool, Any]]) -> None:
    for well, result in results:
        if well:
            continue
        if result.check(NetError):
            kind = Forbidden if result.check(NotPermitted) else EngineUnavailable
            raise kind(str(result.value))
        result.raiseException()


def _names(body: bytes) -> str:
    """The beginning of what cannot be read, so that its sender can be found."""
    return ascii(body[:120].decode("utf-8", "replace"))


def _expected(failure: Failure) -> None:
    failure.trap(NetError)


def build(options: BackendOptions) -> IRegistry:
    """The entry point ``microsidecar.registries: nats``.

    :raises InvalidSetting: an address, a certificate or the credentials file cannot be used.
    """
    link = NatsClient(options.reactor, NatsServers.from_options(options), "microsidecar registry", echo=False)
    registry: IRegistry = PeerRegistry(options.reactor, NatsTransport(link))
    return registry
