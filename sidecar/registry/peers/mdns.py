"""The registry over multicast DNS: everybody on the link is asked, whoever has the service answers.

:source: micro/go-micro ``registry/mdns_registry.go@v1.0.0`` and ``@v6.10.0``; ``internal/util/mdns@v6.10.0``
"""

from __future__ import annotations

import random
import socket
from collections.abc import Callable
from ipaddress import IPv4Address
from typing import Any

from attrs import define, field
from twisted.application import service
from twisted.application.service import IService
from twisted.internet.defer import Deferred, maybeDeferred, succeed
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from sidecar.errors import ConfigError, EngineUnavailable, MalformedRecord
from sidecar.interfaces import IRegistry
from sidecar.model import BackendOptions, Node, Service
from sidecar.net import multicast
from sidecar.net.errors import InvalidSetting, NetError
from sidecar.net.multicast import MulticastGroup
from sidecar.net.ratelimit import TokenBuckets
from sidecar.registry.peers.registry import PeerRegistry
from sidecar.registry.peers.transport import PeerListener
from sidecar.wire.dns import mdns as wire

#: Packets of one sender that are looked at, a second and at once. One machine may hold hundreds of services.
RATE, BURST = 1000.0, 3000.0
#: When a newcomer is announced, in seconds after its last probe.
ANNOUNCED = (0.0, 1.0, 3.0)
PROBES, PROBE_GAP = 3, 0.05


@define(eq=False)
class _Told:
    """What is told of one instance, in one packet a domain. :ivar later: announcements that are still to come."""

    records: tuple[wire.Records, ...]
    goodbyes: tuple[wire.Records, ...]
    later: list[IDelayedCall] = field(factory=list)


class MdnsTransport(service.Service):
    """Asks, answers and announces by multicast. There is no engine to lose: while the socket stands, so does it."""

    log = Logger()
    kind: str = "mdns"
    heartbeat: float | None = None
    _listener: PeerListener

    def __init__(self, reactor: Any, interface: str, host: str) -> None:
        """:param interface: the IP address of the interface to use, "" for the default.
        :param host: what our address is called in the records."""
        self._clock = reactor
        self._group = MulticastGroup(reactor, wire.GROUP, wire.PORT, interface, self._received)
        self._host = host
        self._gate = TokenBuckets(RATE, BURST)
        self._nodes: dict[tuple[str, str], _Told] = {}
        self._lists: dict[str, _Told] = {}

    # --- PeerTransport ---------------------------------------------------------------------------------------------

    def attach(self, listener: PeerListener) -> IService:
        self._listener = listener
        started: IService = self
        return started

    def startService(self) -> None:
        super().startService()
        try:
            self._group.start()
        except InvalidSetting as error:
            raise ConfigError(str(error)) from None

    def stopService(self) -> Deferred[Any]:
        super().stopService()
        for told in [*self._nodes.values(), *self._lists.values()]:
            _cancel_later(told)
        return self._group.stop()

    def first_attempt(self) -> Deferred[None]:
        return succeed(None)

    def state(self) -> tuple[bool, str]:
        return bool(self.running), "" if self.running else "not started"

    def check(self, service: Service) -> None:
        wire.listing_records(service.name, wire.DOMAINS[0], self._host)
        for node in service.nodes:
            wire.node_records(service, node, wire.DOMAINS[0], self._host)

    def query(self, name: str) -> Deferred[None]:
        return maybeDeferred(self._query, name).addErrback(_unavailable)

    def query_names(self) -> Deferred[None]:
        return maybeDeferred(self._query, wire.LISTING).addErrback(_unavailable)

    def announce(self, service: Service, news: bool) -> Deferred[None]:
        return maybeDeferred(self._announce, service, news).addErrback(_unavailable).addErrback(_unavailable)

    def withdraw(self, service: Service) -> Deferred[None]:
        return maybeDeferred(self._withdraw, service).addErrback(_unavailable)

    # --- what goes out ----------------------------------------------------------------------------------------------

    def _query(self, name: str) -> None:
        for domain in wire.DOMAINS:
            try:
                packet = wire.question(f"{name}.{domain}")
            except ValueError:
                return  # a name that cannot be asked for is nobody's
            self._group.ask(packet)

    def _announce(self, service: Service, news: bool) -> None:
        for node in service.nodes:
            key = (service.name, node.id)
            if news or key not in self._nodes:
                _cancel_later(self._nodes.get(key))
                told = self._nodes[key] = self._node_told(service, node)
                self._introduce(told)
        if service.name not in self._lists:
            told = self._lists[service.name] = self._list_told(service.name)
            self._introduce(told)

    def _introduce(self, told: _Told) -> None:
        """Probe, then announce, each thrice; the first probe now, so that what cannot be sent is known."""
        when = 0.0
        self._tell(wire.probe, told.records)
        for _ in range(PROBES - 1):
            when += random.uniform(0.0, PROBE_GAP)
            told.later.append(self._clock.callLater(when, self._tell_quietly, wire.probe, told.records))
        for pause in ANNOUNCED:
            told.later.append(self._clock.callLater(when + pause, self._tell_quietly, wire.announcement, told.records))

    def _withdraw(self, service: Service) -> None:
        for node in service.nodes:
            told = self._nodes.pop((service.name, node.id), None)
            if told is not None:
                _cancel_later(told)
                self._tell(wire.announcement, told.goodbyes)
        if not self._listener.own(service.name):
            listed = self._lists.pop(service.name, None)
            if listed is not None:
                _cancel_later(listed)
                self._tell(wire.announcement, listed.goodbyes)

    def _tell(self, make: Callable[[wire.Records], bytes], all_records: tuple[wire.Records, ...]) -> None:
        for records in all_records:
            self._group.tell(make(records))

    def _tell_quietly(self, make: Callable[[wire.Records], bytes], all_records: tuple[wire.Records, ...]) -> None:
        try:
            self._tell(make, all_records)
        except NetError as error:
            # Nobody waits for this one, and who asks is answered.
            self.log.debug("mdns: {error}", error=error)

    def _node_told(self, service: Service, node: Node) -> _Told:
        return _Told(
            tuple(wire.node_records(service, node, domain, self._host) for domain in wire.DOMAINS),
            tuple(wire.node_records(service, node, domain, self._host, 0) for domain in wire.DOMAINS),
        )

    def _list_told(self, name: str) -> _Told:
        return _Told(
            tuple(wire.listing_records(name, domain, self._host) for domain in wire.DOMAINS),
            tuple(wire.listing_records(name, domain, self._host, 0) for domain in wire.DOMAINS),
        )

    # --- what comes in ----------------------------------------------------------------------------------------------

    def _received(self, datagram: bytes, sender: tuple[str, int]) -> None:
        if not self._gate.admits(sender[0], self._clock.seconds()):
            return
        try:
            packet = wire.decode(datagram)
        except MalformedRecord:
            return  # a stranger's business
        if not packet.response:
            self._answer(packet, sender)
            return
        for name in wire.names(packet):
            self._listener.on_name(name)
        for found in wire.read_nodes(packet):
            if isinstance(found, wire.MalformedNode):
                self._listener.report_malformed(f"{found.instance} (from {sender[0]})", found.why)
            elif found.gone:
                self._listener.on_goodbye(found.service.name, [node.id for node in found.service.nodes])
            else:
                self._listener.on_announced(found.service)

    def _answer(self, packet: wire.Packet, sender: tuple[str, int]) -> None:
        for question in packet.questions:
            for records in self._about(question):
                answer = wire.answer(question, records)
                try:
                    if sender[1] == wire.PORT:
                        self._group.tell(answer)  # asked by one who hears the group
                    else:
                        self._group.answer(answer, sender)
                except NetError as error:
                    self.log.debug("mdns: {error}", error=error)

    def _about(self, question: wire.Question) -> list[wire.Records]:
        """What we have to say to a question: one entry a packet."""
        name, _, domain = question.name.rpartition(".")
        if domain not in wire.DOMAINS:
            return []
        which = wire.DOMAINS.index(domain)
        if name == wire.LISTING and question.type in (wire.PTR, wire.ANY):
            return [told.records[which] for told in self._lists.values()]
        own = self._listener.own(name)
        if own and question.type in (wire.PTR, wire.ANY):
            told = [self._nodes.get((name, node.id)) for each in own for node in each.nodes]
            return [each.records[which] for each in told if each is not None]
        return [
            told.records[which]
            for (owner, identity), told in self._nodes.items()
            if name.endswith(owner) and f"{identity}.{owner}" == name
        ]


def _cancel_later(told: _Told | None) -> None:
    if told is not None:
        for call in told.later:
            if call.active():
                call.cancel()
        told.later.clear()


def _host_name() -> str:
    """A name for this machine that DNS can hold."""
    name = "".join(
        char if char.isalnum() and char.isascii() else "-" for char in socket.gethostname().partition(".")[0]
    )
    return name.strip("-")[:63] or "microsidecar"


def _unavailable(failure: Failure) -> None:
    """What cannot be sent now is an engine that is out of reach."""
    failure.trap(NetError)
    raise EngineUnavailable(str(failure.value))


def build(options: BackendOptions) -> IRegistry:
    """The entry point ``microsidecar.registries: mdns``.

    :raises ConfigError: multicast does not work on that interface.
    """
    if options.interface:
        try:
            IPv4Address(options.interface)
        except ValueError:
            raise ConfigError(f"the interface {options.interface!r} is not an IPv4 address of this machine") from None
    try:
        multicast.check(wire.GROUP, wire.PORT, options.interface)
    except InvalidSetting as error:
        raise ConfigError(str(error)) from None
    transport = MdnsTransport(options.reactor, options.interface, _host_name())
    registry: IRegistry = PeerRegistry(options.reactor, transport)
    return registry
