"""The mDNS codec: against Twisted's own DNS, against noise, and for each kind of broken record."""

from __future__ import annotations

import json
import zlib
from typing import Any

from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.names import dns
from twisted.trial.unittest import SynchronousTestCase

from sidecar.errors import BadRequest, MalformedRecord
from sidecar.model import Node, Service
from sidecar.test.contracts.registry import a_service
from sidecar.wire.dns import mdns

SERVICE = evolve(a_service("go.micro.srv.say"), metadata={})
NODE = SERVICE.nodes[0]
LABELS = st.text(st.characters(codec="utf-8", exclude_characters="."), min_size=1, max_size=15)


def packed(told: Any) -> bytes:
    return zlib.compress(json.dumps(told).encode()).hex().encode()


def packet(text: bytes, address: str = "10.0.0.1", port: int = 80, instance: str = "say-1.say.micro") -> mdns.Packet:
    records = [
        mdns.ResourceRecord(instance, mdns.SRV, 120, (port, "host")),
        mdns.ResourceRecord(instance, mdns.TXT, 120, text),
    ]
    if address:
        records.insert(1, mdns.ResourceRecord("host", mdns.A, 120, address))
    return mdns.Packet(True, (), tuple(records))


class AgainstTwisted(SynchronousTestCase):
    """Twisted's DNS reads what we write, and we read what it writes, compressed names and all."""

    def read(self, data: bytes) -> dns.Message:
        message = dns.Message()
        message.fromStr(data)
        return message

    def test_question(self) -> None:
        """A question is one for PTR records of the name, class IN, with nothing else set."""
        message = self.read(mdns.question("go.micro.srv.say.micro"))
        self.assertEqual((message.id, message.answer, message.recDes, message.opCode), (0, 0, 0, 0))
        (query,) = message.queries
        self.assertEqual((query.name.name, query.type, query.cls), (b"go.micro.srv.say.micro", dns.PTR, dns.IN))

    def test_answer(self) -> None:
        """An answer has the question first and PTR, SRV, address and TXT in the answer section."""
        for address, kind in (("10.1.2.3", dns.A), ("fe80::1", dns.AAAA)):
            node = evolve(NODE, address=address)
            (asked,) = mdns.decode(mdns.question("go.micro.srv.say.micro")).questions
            message = self.read(mdns.answer(asked, mdns.node_records(SERVICE, node, "micro", "host")))
            self.assertEqual((message.id, message.answer, message.auth), (0, 1, 1))
            self.assertEqual([query.name.name for query in message.queries], [b"go.micro.srv.say.micro"])
            self.assertEqual([each.type for each in message.answers], [dns.PTR, dns.SRV, kind, dns.TXT])
            pointer, _, located, _ = message.answers
            payloads: list[Any] = [each.payload for each in message.answers]
            instance = f"{node.id}.go.micro.srv.say.micro".encode()
            self.assertEqual((pointer.name.name, payloads[0].name.name), (b"go.micro.srv.say.micro", instance))
            self.assertEqual((payloads[1].priority, payloads[1].weight, payloads[1].port), (10, 1, node.port))
            self.assertEqual((located.name.name, located.ttl), (b"host", 120))
            self.assertTrue(all(len(string) <= 255 for string in payloads[3].data))
            text = json.loads(zlib.decompress(bytes.fromhex(b"".join(payloads[3].data).decode())))
            self.assertEqual(list(text), ["Service", "Version", "Endpoints", "Metadata"])

    def test_reads_compressed(self) -> None:
        """A node that another library wrote, its names compressed, is read."""
        message = dns.Message(answer=1, auth=True)
        message.maxSize = 0  # as large as it needs to be
        instance = f"{NODE.id}.go.micro.srv.say.local"
        text = mdns.encode_text(SERVICE, NODE)
        for name, payload in (
            ("go.micro.srv.say.local", dns.Record_PTR(instance, ttl=120)),
            (instance, dns.Record_SRV(10, 1, NODE.port, "host", ttl=120)),
            ("host", dns.Record_A("127.0.0.1", ttl=120)),
            (instance, dns.Record_TXT(*(text[at : at + 255] for at in range(0, len(text), 255)), ttl=120)),
        ):
            message.answers.append(dns.RRHeader(name, payload.TYPE, dns.IN, 120, payload))
        (told,) = mdns.read_nodes(mdns.decode(message.toStr()))
        self.assertEqual(told, mdns.NodeAnnouncement(SERVICE))

    @given(st.lists(LABELS, min_size=1, max_size=5).map(".".join))
    @settings(max_examples=100, deadline=None)
    def test_names(self, name: str) -> None:
        """Any name that DNS can hold comes back as it was."""
        (asked,) = mdns.decode(mdns.question(name)).questions
        self.assertEqual(asked.name, name)
        self.assertEqual(self.read(mdns.question(name)).queries[0].name.name, name.encode())


def look_at(data: bytes) -> None:
    try:
        read = mdns.decode(data)
    except MalformedRecord:
        return
    list(mdns.read_nodes(read))
    list(mdns.names(read))


class Strangers(SynchronousTestCase):
    @given(st.binary(max_size=200))
    @settings(max_examples=300, deadline=None)
    def test_noise(self, data: bytes) -> None:
        """Noise is refused, or read; nothing else happens."""
        look_at(data)

    @given(st.integers(12, 2000), st.integers(0, 255))
    @settings(max_examples=300, deadline=None)
    def test_damaged(self, at: int, byte: int) -> None:
        """So is a good packet with a byte changed, or cut short."""
        good = mdns.announcement(mdns.node_records(SERVICE, NODE, "micro", "host"))
        at %= len(good)
        for data in (good[:at] + bytes([byte]) + good[at + 1 :], good[:at]):
            look_at(data)

    def test_circles(self) -> None:
        """Names that point at themselves, forward, or from one to the next without end are refused at once."""
        header = b"\0\0\x84\0\0\0\0\1\0\0\0\0"
        chain = b"".join((0xC000 | (at - 2)).to_bytes(2, "big") for at in range(14, 8000, 2))
        for name in (b"\xc0\x0c", b"\xc0\x10", b"\1a\xc0\x0c", chain):
            self.assertRaises(MalformedRecord, mdns.decode, header + name + b"\0\x0c\0\1\0\0\0\0\0\0")

    def test_counts(self) -> None:
        """Packets that claim thousands of records, and what is no plain question or answer, are not looked at."""
        for header in (
            "0000 8400 0000 ffff 0000 0000",
            "0000 0000 ffff 0000 0000 0000",
            "0000 2800 0000 0000 0000 0000",
        ):
            self.assertRaises(MalformedRecord, mdns.decode, bytes.fromhex(header) + bytes(50_000))


class LastSeen(SynchronousTestCase):
    GOOD: dict[str, Any] = {"Service": "say", "Version": "1", "Endpoints": None, "Metadata": {"a": "b"}}

    def test_good(self) -> None:
        """Keys in any case, nulls, unknown keys."""
        expected = Service("say", "1", nodes=(Node("say-1", "10.0.0.1", 80, {"a": "b"}),))
        for told in (self.GOOD, {key.lower(): value for key, value in self.GOOD.items()}, {**self.GOOD, "More": [1]}):
            self.assertEqual(list(mdns.read_nodes(packet(packed(told)))), [mdns.NodeAnnouncement(expected)])

    def test_malformed(self) -> None:
        """Each broken record is told with its instance and what is wrong, and is no node."""
        for text, word in (
            (b"zz", "hex"),
            (b"", "zlib"),
            (b"789c00", "zlib"),
            (zlib.compress(b"nonsense").hex().encode(), "JSON"),
            (packed([1]), "object"),
            (packed({**self.GOOD, "Service": 3}), "name"),
            (zlib.compress(bytes(10_000_000), 9).hex().encode(), "more than"),
        ):
            (trouble,) = mdns.read_nodes(packet(text))
            assert isinstance(trouble, mdns.MalformedNode), text[:40]
            self.assertIn("say-1.say.micro", trouble.instance)
            self.assertIn(word, trouble.why)
        for address, port, word in (("", 80, "address"), ("0.0.0.0", 80, "address"), ("10.0.0.1", 0, "port")):
            (trouble,) = mdns.read_nodes(packet(packed(self.GOOD), address, port))
            assert isinstance(trouble, mdns.MalformedNode)
            self.assertIn(word, trouble.why)

    def test_a_bad_part(self) -> None:
        """A part that cannot be read is told and left out; the node stays."""
        for parts, word in (({"Metadata": {"a": 1, "b": "c"}}, "metadata"), ({"Endpoints": {"a": 1}}, "endpoints")):
            node, trouble = mdns.read_nodes(packet(packed({**self.GOOD, **parts})))
            assert isinstance(node, mdns.NodeAnnouncement)
            assert isinstance(trouble, mdns.MalformedNode)
            self.assertEqual(node.service.nodes[0].id, "say-1")
            self.assertIn(word, trouble.why)
            if word == "metadata":
                self.assertEqual(node.service.nodes[0].metadata, {"b": "c"})

    def test_others(self) -> None:
        """Printers, and another service whose name ends alike, are passed over."""
        self.assertEqual(list(mdns.read_nodes(packet(b"rp=queue", instance="Laser._ipp._tcp.local"))), [])
        self.assertEqual(list(mdns.read_nodes(packet(packed(self.GOOD), instance="x.other.micro"))), [])
        self.assertEqual(list(mdns.read_nodes(packet(packed(self.GOOD), instance="say.micro"))), [])

    def test_goodbye(self) -> None:
        """TTL 0 is a goodbye."""
        records = mdns.node_records(SERVICE, NODE, "micro", "host", 0)
        (told,) = mdns.read_nodes(mdns.decode(mdns.announcement(records)))
        assert isinstance(told, mdns.NodeAnnouncement)
        self.assertTrue(told.gone)
        self.assertEqual([node.id for node in told.service.nodes], [NODE.id])

    @given(st.dictionaries(st.text(st.characters(exclude_categories=["C"]), max_size=10), st.text(max_size=20)))
    @settings(max_examples=100, deadline=None)
    def test_text(self, metadata: dict[str, str]) -> None:
        """What is said of a node comes back as it was."""
        told = mdns.decode_text(mdns.encode_text(SERVICE, evolve(NODE, metadata=metadata)))
        self.assertEqual((told.name, told.version, told.endpoints), (SERVICE.name, SERVICE.version, SERVICE.endpoints))
        self.assertEqual(dict(told.metadata), metadata)

    def test_cannot_carry(self) -> None:
        """A host name, and names that DNS cannot hold, are refused with the reason."""
        for service, node in (
            (SERVICE, evolve(NODE, address="host.example")),
            (evolve(SERVICE, name="x" * 64), NODE),
            (evolve(SERVICE, name="a..b"), NODE),
            (SERVICE, evolve(NODE, id=".".join("y" * 60 for _ in range(5)))),
        ):
            self.assertRaises(BadRequest, mdns.node_records, service, node, "micro", "host")
