"""Another process on the mDNS group, as a go-micro one would be: plain sockets, polled by the test."""

from __future__ import annotations

import select
import socket
import time
from typing import Any

from twisted.internet import reactor as installed
from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall

from sidecar.model import Node, Service
from sidecar.wire.dns import mdns as wire

reactor: Any = installed


class MdnsPeer:
    """Asks, hears, and answers for the services that it was given."""

    def __init__(self, interface: str) -> None:
        self._interface = socket.inet_aton(interface)
        self._asking = self._open(0)
        self._shared: socket.socket | None = None
        self._served: list[tuple[Service, str]] = []

    def _open(self, port: int) -> socket.socket:
        opened = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        opened.setblocking(False)
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        opened.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, self._interface)
        opened.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_LOOP, 1)
        opened.bind(("", port))
        return opened

    def join(self) -> None:
        """Hear the group from now on."""
        if self._shared is None:
            self._shared = self._open(wire.PORT)
            group = socket.inet_aton(wire.GROUP) + self._interface
            self._shared.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, group)

    def close(self) -> None:
        self._asking.close()
        if self._shared is not None:
            self._shared.close()

    def hears_itself(self) -> str | None:
        """Why multicast does not come back on this interface, None where it does."""
        self.join()
        self.ask(wire.question("anybody.here.micro"))
        deadline = time.monotonic() + 2
        while time.monotonic() < deadline:
            if self.received():
                return None
            time.sleep(0.01)
        return "multicast on loopback does not come back"

    def ask(self, packet: bytes) -> None:
        """Send from a port of our own, as go-micro's clients do."""
        self._asking.sendto(packet, (wire.GROUP, wire.PORT))

    def tell(self, packet: bytes) -> None:
        """Send from the group's port where it is held, as go-micro's servers do."""
        (self._shared or self._asking).sendto(packet, (wire.GROUP, wire.PORT))

    def received(self) -> list[bytes]:
        return [packet for packet, _ in self._received()]

    def _received(self) -> list[tuple[bytes, tuple[str, int]]]:
        sockets = [self._asking, *([self._shared] if self._shared is not None else [])]
        got = []
        while ready := select.select(sockets, [], [], 0)[0]:
            got += [each.recvfrom(65535) for each in ready]
        return got

    # --- serving ----------------------------------------------------------------------------------------------------

    def serves(self, service: Service, domain: str) -> None:
        """Answer for ``service`` in ``domain`` while :meth:`while_answering` waits."""
        self.join()
        self._served.append((service, domain))

    async def while_answering(self, waiting: Deferred[Any]) -> Any:
        """:returns: what ``waiting`` fires with, questions being answered meanwhile."""
        answering = LoopingCall(self._answer)
        answering.clock = reactor
        answering.start(0.005)
        try:
            return await waiting
        finally:
            answering.stop()

    def _answer(self) -> None:
        for datagram, sender in self._received():
            for question in wire.decode(datagram).questions:
                for service, domain in self._served:
                    if question.name == f"{service.name}.{domain}":
                        for node in service.nodes:
                            records = wire.node_records(service, node, domain, "peer")
                            self._asking.sendto(wire.answer(question, records), sender)
                    if question.name == f"_services.{domain}":
                        listed = wire.listing_records(service.name, domain, "peer")
                        self._asking.sendto(wire.answer(question, listed), sender)

    def announce(self, service: Service, ttl: int = wire.TTL) -> None:
        for node in service.nodes:
            self.tell(wire.announcement(wire.node_records(service, node, "micro", "peer", ttl)))

    def announce_text(self, name: str, text: bytes) -> None:
        """Announce a node whose TXT is ``text``, right or wrong; what is no text is made a bomb of."""
        service = Service(name, nodes=(Node(f"{name}-1", "10.0.0.1", 80),))
        original = wire.encode_text
        try:
            wire.encode_text = lambda *_: text if len(text) < 1000 else _bomb(text)
            self.announce(service)
        finally:
            wire.encode_text = original


def _bomb(content: bytes) -> bytes:
    import zlib

    return zlib.compress(content, 9).hex().encode()
