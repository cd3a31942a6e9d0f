"""The mDNS registry: the contract over loopback multicast, go-micro's packets byte for byte, and strangers."""

from __future__ import annotations

import fcntl
import tempfile
from pathlib import Path
from typing import Any

from attrs import evolve
from twisted.internet import reactor as installed
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from sidecar.errors import BadRequest, ConfigError, NotFound
from sidecar.model import ANONYMOUS, BackendOptions, Change, Node, Service
from sidecar.net import multicast
from sidecar.net.errors import InvalidSetting
from sidecar.registry.peers.mdns import MdnsTransport, build
from sidecar.registry.peers.registry import PeerRegistry
from sidecar.test.contracts.registry import RegistryContract, a_service
from sidecar.test.doubles.memorylink import MemoryLink
from sidecar.test.doubles.servers.mdns import MdnsPeer
from sidecar.test.doubles.watcher import RecordingWatcher
from sidecar.wire.dns import mdns as wire

reactor: Any = installed
LOOPBACK = "127.0.0.1"


def multicast_missing() -> str | None:
    """Why these tests cannot run here, None where they can."""
    try:
        multicast.check(wire.GROUP, wire.PORT, LOOPBACK)
        peer = MdnsPeer(LOOPBACK)
    except (InvalidSetting, OSError) as error:
        return f"no multicast on loopback: {error}"
    try:
        return peer.hears_itself()
    finally:
        peer.close()


async def sleep(seconds: float) -> None:
    await deferLater(reactor, seconds, lambda: None)


def started() -> Any:
    registry: Any = build(BackendOptions(reactor, interface=LOOPBACK))
    registry.startService()
    return registry


class OnTheLink(TestCase):
    """One at a time on this machine: all processes share the group, and some of these tests fill it."""

    def run(self, result: Any = None) -> Any:
        with open(Path(tempfile.gettempdir()) / "microsidecar-mdns.lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            return super().run(result)


class OverMemory(RegistryContract, TestCase):
    """The contract, two of us on one link, in time that passes by itself."""

    timeout = 120
    shared = True

    def setUp(self) -> None:
        self.link = MemoryLink()
        self.link.start()
        self.addCleanup(self.link.stop)

    async def pass_time(self, seconds: float) -> None:
        await self.link.sleep(seconds)

    async def make_registry(self) -> Any:
        registry = PeerRegistry(self.link, MdnsTransport(self.link, LOOPBACK, "here"))
        registry.startService()
        return registry


class OverLoopback(RegistryContract, OnTheLink):
    """The contract, two of us on one group."""

    timeout = 120
    shared = True
    ttl = 1.0
    skip = multicast_missing()

    async def make_registry(self) -> Any:
        return started()


class Packets(OnTheLink):
    """What a go-micro process on the same link sees, and what it may do to us."""

    timeout = 60
    skip = multicast_missing()

    def setUp(self) -> None:
        self.registry = started()
        self.addCleanup(self.registry.stopService)
        self.peer = MdnsPeer(LOOPBACK)
        self.addCleanup(self.peer.close)

    async def hear(self, wanted: Any, patience: float = 10.0) -> list[bytes]:
        """What the peer gets until ``wanted`` accepts it."""
        got: list[bytes] = []
        for _ in range(int(patience / 0.01)):
            got += self.peer.received()
            if wanted(got):
                return got
            await sleep(0.01)
        raise AssertionError(f"never heard: {got}")

    async def until(self, check: Any) -> None:
        while not check():
            await sleep(0.01)

    async def test_answer(self) -> None:
        """A question in either domain is answered to the asking port: one packet a node, id 0, flags 0x8400, the
        question first, then PTR, SRV, address and TXT in this order, all as answers."""
        service = a_service("go.micro.srv.say", nodes=3)
        await self.registry.register(service, None, ANONYMOUS)
        for domain in wire.DOMAINS:
            name = f"go.micro.srv.say.{domain}"
            question = wire.question(name)
            self.peer.ask(question)
            got = await self.hear(lambda packets: len(packets) >= 3)
            self.assertEqual(len(got), 3)
            seen = {}
            for packet in got:
                self.assertEqual(packet[:12], bytes.fromhex("0000 8400 0001 0004 0000 0000"))
                self.assertTrue(packet[12:].startswith(question[12:]))
                read = wire.decode(packet)
                self.assertEqual([record.type for record in read.records], [wire.PTR, wire.SRV, wire.A, wire.TXT])
                self.assertEqual({record.ttl for record in read.records}, {120})
                (told,) = wire.read_nodes(read)
                assert isinstance(told, wire.NodeAnnouncement)
                (node,) = told.service.nodes
                self.assertEqual(read.records[0].value, f"{node.id}.{name}")
                self.assertEqual(evolve(told.service, nodes=()), evolve(service, nodes=()))
                seen[node.id] = node
            self.assertEqual(seen, {node.id: node for node in service.nodes})

    async def test_listing(self) -> None:
        """``_services`` is answered with one packet a service, port 9999, in both domains."""
        await self.registry.register(a_service("one.a"), None, ANONYMOUS)
        await self.registry.register(a_service("two"), None, ANONYMOUS)
        for domain in wire.DOMAINS:
            self.peer.ask(wire.question(f"_services.{domain}"))
            got = await self.hear(lambda packets: len(packets) >= 2)
            self.assertEqual(
                sorted(name for packet in got for name in wire.names(wire.decode(packet))), ["one.a", "two"]
            )
            for packet in got:
                values: dict[int, Any] = {record.type: record.value for record in wire.decode(packet).records}
                self.assertEqual(values[wire.SRV][0], 9999)
                self.assertEqual((values[wire.A], values[wire.TXT]), ("0.0.0.0", b""))

    async def test_instance(self) -> None:
        """A question for the instance itself is answered as well; one for a stranger's is not."""
        service = a_service("say")
        await self.registry.register(service, None, ANONYMOUS)
        self.peer.ask(wire.question("nobody.say.micro"))
        self.peer.ask(wire.question(f"{service.nodes[0].id}.say.micro"))
        got = await self.hear(lambda packets: len(packets) >= 1)
        (told,) = wire.read_nodes(wire.decode(got[0]))
        assert isinstance(told, wire.NodeAnnouncement)
        self.assertEqual(told.service, service)

    async def test_announcements(self) -> None:
        """A newcomer is probed for and announced; who leaves says goodbye with TTL 0."""
        self.peer.join()
        service = a_service("newcomer")
        await self.registry.register(service, None, ANONYMOUS)
        instance = f"{service.nodes[0].id}.newcomer.micro"

        def about(packets: list[bytes], response: bool, ttl: int) -> list[wire.Packet]:
            read = [wire.decode(packet) for packet in packets]
            return [
                packet
                for packet in read
                if packet.response == response
                and (
                    any(record.name == instance and record.ttl == ttl for record in packet.records)
                    if response
                    else any(question.name == instance for question in packet.questions)
                )
            ]

        got = await self.hear(lambda packets: len(about(packets, True, 120)) >= 3)
        self.assertEqual(len(about(got, False, 0)), 3)
        await self.registry.deregister(service, ANONYMOUS)
        await self.hear(lambda packets: about(packets, True, 0))

    async def test_finds(self) -> None:
        """A peer's service is found in either domain, with its version, endpoints and metadata, and in the list."""
        for domain in wire.DOMAINS:
            service = a_service(f"theirs.{domain}", nodes=2)
            self.peer.serves(service, domain)
            (found,) = await self.peer.while_answering(self.registry.get(service.name))
            self.assertEqual(
                sorted(found.nodes, key=lambda node: node.id), sorted(service.nodes, key=lambda node: node.id)
            )
            self.assertEqual(evolve(found, nodes=()), evolve(service, nodes=()))
            self.assertIn(service.name, await self.peer.while_answering(self.registry.list()))

    async def test_hears(self) -> None:
        """Of a service once asked for, announcements and goodbyes count at once."""
        service = a_service()
        await self.assertFailure(self.registry.get(service.name), NotFound)
        seen: list[Change] = []
        self.registry.watch(RecordingWatcher(seen))
        self.peer.announce(service)
        await self.until(lambda: len(seen) == 1)
        self.assertEqual(await self.registry.get(service.name), (service,))
        self.peer.announce(service, ttl=0)
        await self.until(lambda: len(seen) == 2)
        self.assertEqual([change.action for change in seen], ["create", "delete"])
        await self.assertFailure(self.registry.get(service.name), NotFound)

    async def test_strangers(self) -> None:
        """Whatever comes, nothing is logged as an error and the next question is answered."""
        service = a_service("still.here")
        await self.registry.register(service, None, ANONYMOUS)
        good = wire.announcement(wire.node_records(service, service.nodes[0], "micro", "h")) + b""
        for packet in [
            b"",
            b"\0",
            bytes(12),
            b"\xff" * 12,
            b"\0\0\0\0\0\x01\0\0\0\0\0\0\xc0\x0c\0\x0c\0\x01",  # a name that points at itself
            b"\0\0\x84\0\xff\xff\xff\xff\xff\xff\xff\xff" + b"\0" * 9000,
            *(good[:at] for at in range(0, len(good), 7)),
            *(good[:at] + b"\xff" + good[at + 1 :] for at in range(12, len(good), 5)),
            b"\xc0" * 60_000,
        ]:
            self.peer.ask(packet)
            self.peer.tell(packet)
            await sleep(0)
        for text in (b"78zz", b"7801", b"78" * 30, (b"\0" * 10_000_000), b""):
            self.peer.announce_text("bad.node", text)
        await sleep(0.1)
        self.peer.received()
        self.peer.ask(wire.question("still.here.micro"))
        await self.hear(lambda packets: packets)
        self.assertEqual(self.flushLoggedErrors(), [])
        self.assertEqual(await self.registry.get("still.here"), (service,))

    async def test_cannot_carry(self) -> None:
        """What mDNS cannot carry is refused with the field and the reason, and nothing is kept."""
        good = a_service("cannot.carry")
        (node,) = good.nodes
        bad = (
            evolve(good, nodes=(evolve(node, address="host.example"),)),
            evolve(good, name="x" * 64),
            evolve(good, name="a..b"),
            evolve(good, name=".".join(["x" * 60] * 5)),
            evolve(good, nodes=(evolve(node, id="y" * 64),)),
            evolve(good, nodes=(evolve(node, metadata={"k": random_text(80_000)}),)),
        )
        for one in bad:
            await self.assertFailure(self.registry.register(one, None, ANONYMOUS), BadRequest)
        # Others on this link, such as a test that runs beside this one, may have names of their own.
        self.assertEqual({one.name for one in bad} & set(await self.registry.list()), set())

    async def test_goodbye_at_stop(self) -> None:
        """Stopping says goodbye for everything registered here."""
        other = started()
        service = Service("parting", nodes=(Node("parting-1", "10.0.0.1", 80),))
        await other.register(service, None, ANONYMOUS)
        self.assertEqual(await self.registry.get("parting"), (service,))
        await other.stopService()
        await sleep(0.2)
        await self.assertFailure(self.registry.get("parting"), NotFound)


def random_text(length: int) -> str:
    import random

    return "".join(random.choice("abcdefghijklmnopqrstuvwxyz0123456789") for _ in range(length))


class Interfaces(TestCase):
    def test_no_address(self) -> None:
        """An interface that is no IPv4 address is refused before anything starts."""
        for interface in ("eth0", "::1", "127.0.0.256"):
            self.assertRaises(ConfigError, build, BackendOptions(reactor, interface=interface))

    def test_not_here(self) -> None:
        """An address that is not this machine's is refused with advice."""
        error = self.assertRaises(ConfigError, build, BackendOptions(reactor, interface="192.0.2.1"))
        self.assertIn("192.0.2.1", str(error))
        self.assertIn("interface", str(error))
