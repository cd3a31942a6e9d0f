"""Multicast DNS as go-micro speaks it: packets in and out, and services in their records. Pure.

Packets of strangers come here first, so the reader is strict and bounded: names are cut at 255 octets and at a few
pointers, records are counted, compressed text is unpacked no further than it may be long. Written names are not
compressed, which lets an answer be joined from a question's own bytes and records made once.

:source: RFC 1035 section 4, RFC 6762 sections 6, 8, 10 and 18; micro/go-micro ``registry/mdns_registry.go@v1.0.0`` and
    ``@v6.10.0``, ``internal/util/mdns@v6.10.0``
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping
from ipaddress import IPv4Address, IPv6Address, ip_address
from struct import Struct, error

import orjson
from attrs import field, frozen

from sidecar.errors import BadRequest, MalformedRecord
from sidecar.model import Node, Service
from sidecar.wire import services

GROUP, PORT = "224.0.0.251", 5353
#: The zones that services live in: since v1.10, and before.
DOMAINS = ("micro", "local")
#: The pseudo service whose instances are the names of all services, and the port that they are said to have.
LISTING, LISTING_PORT = "_services", 9999
#: Seconds that others may remember a record.
TTL = 120

A, PTR, TXT, AAAA, SRV, ANY = 1, 12, 16, 28, 33, 255
_IN = 1
#: In a question: answers are wanted by unicast. In a record: older ones are to be forgotten.
_TOP_BIT = 0x8000

_HEADER = Struct("!6H")
_QUESTION = Struct("!2H")
_RECORD = Struct("!2HIH")
_SRV = Struct("!3H")
_ANSWERING = 0x8400
#: Response, opcode, truncation and response code: all but the first must be zero.
_RESPONSE, _REFUSED = 0x8000, 0x7A0F

#: Records and questions of one packet, pointers within one name.
MAX_RECORDS, MAX_QUESTIONS, MAX_POINTERS = 64, 16, 16
#: Octets of the longest TXT that we write: UDP over IPv4 holds 65,507, and names are to go with it.
MAX_WRITTEN = 62_000
#: Octets that a node's text may be long when it is unpacked.
MAX_TEXT = 256 * 1024


@frozen
class Question:
    """:ivar raw: its own bytes, uncompressed, to be copied into the answer. :ivar name: without the last dot."""

    name: str
    type: int
    raw: bytes


@frozen
class Record:
    """:ivar name: its owner, without the last dot.
    :ivar value: by ``type``: a name, an address, (port, target), text."""

    name: str
    type: int
    ttl: int
    value: str | tuple[int, str] | bytes


@frozen
class Packet:
    """:ivar response: whether it answers, or asks."""

    response: bool
    questions: tuple[Question, ...] = ()
    records: tuple[Record, ...] = ()


# --- Names ----------------------------------------------------------------------------------------------------------


def pack_name(name: str) -> bytes:
    """The labels of a dotted name. :raises ValueError: DNS cannot hold it."""
    packed = bytearray()
    for label in name.split("."):
        encoded = label.encode("utf-8", "surrogateescape")
        if not 1 <= len(encoded) <= 63:
            shown = label[:20] + "..." if len(label) > 20 else label
            raise ValueError(f"the part {shown!r} of {name[:80]!r} is not 1 to 63 bytes long")
        packed.append(len(encoded))
        packed += encoded
    if len(packed) > 254:
        raise ValueError(f"{name[:80]!r}... is longer than 253 bytes")
    packed.append(0)
    return bytes(packed)


def _unpack_name(packet: bytes, at: int) -> tuple[str, int]:
    """:returns: the name and where it ends."""
    labels: list[bytes] = []
    end = -1
    pointers = size = 0
    while True:
        length = packet[at]
        if length == 0:
            return b".".join(labels).decode("utf-8", "surrogateescape"), at + 1 if end < 0 else end
        if length >= 0xC0:
            target = (length & 0x3F) << 8 | packet[at + 1]
            pointers += 1
            if target >= at or pointers > MAX_POINTERS:
                raise MalformedRecord("a name that points forward or in circles")
            if end < 0:
                end = at + 2
            at = target
            continue
        size += length + 1
        if length > 63 or size > 254 or at + 1 + length > len(packet):
            raise MalformedRecord("a name that is too long")
        labels.append(packet[at + 1 : at + 1 + length])
        at += 1 + length


# --- Reading packets ------------------------------------------------------------------------------------------------


def decode(packet: bytes) -> Packet:
    """Read a packet; records of types that we have no use for are left out.

    :raises MalformedRecord: it is none, or not one that must be looked at.
    """
    try:
        return _decode(packet)
    except (IndexError, error, ValueError):
        raise MalformedRecord("a packet that ends early") from None


def _decode(packet: bytes) -> Packet:
    _, flags, asked, answered, authority, additional = _HEADER.unpack_from(packet)
    if flags & _REFUSED:
        raise MalformedRecord("not a plain question or answer")
    count = answered + authority + additional
    if asked > MAX_QUESTIONS or count > MAX_RECORDS:
        raise MalformedRecord(f"{asked} questions and {count} records are too many")
    at = _HEADER.size
    questions = []
    for _ in range(asked):
        name, at = _unpack_name(packet, at)
        kind, cls = _QUESTION.unpack_from(packet, at)
        at += _QUESTION.size
        if cls & ~_TOP_BIT == _IN and name:
            questions.append(Question(name, kind, pack_name(name) + _QUESTION.pack(kind, cls)))
    response = bool(flags & _RESPONSE)
    # What a question holds besides is a prober's claim, not a fact.
    return Packet(response, tuple(questions), tuple(_records(packet, at, count)) if response else ())


def _records(packet: bytes, at: int, count: int) -> Iterator[Record]:
    for _ in range(count):
        name, at = _unpack_name(packet, at)
        kind, cls, ttl, length = _RECORD.unpack_from(packet, at)
        at += _RECORD.size
        end = at + length
        if end > len(packet):
            raise MalformedRecord("a record that is longer than its packet")
        if cls & ~_TOP_BIT == _IN:
            value = _value(packet, kind, at, end)
            if value is not None:
                yield Record(name, kind, ttl, value)
        at = end


def _value(packet: bytes, kind: int, at: int, end: int) -> str | tuple[int, str] | bytes | None:
    if kind == PTR:
        return _unpack_name(packet, at)[0]
    if kind == SRV:
        _, _, port = _SRV.unpack_from(packet, at)
        return port, _unpack_name(packet, at + _SRV.size)[0]
    if kind == A and end - at == 4:
        return str(IPv4Address(packet[at:end]))
    if kind == AAAA and end - at == 16:
        return str(IPv6Address(packet[at:end]))
    if kind == TXT:
        strings = []
        while at < end:
            length = packet[at]
            strings.append(packet[at + 1 : min(at + 1 + length, end)])
            at += 1 + length
        return b"".join(strings)
    return None


# --- Writing packets ------------------------------------------------------------------------------------------------


def question(name: str) -> bytes:
    """A packet that asks for the instances of ``name``. :raises ValueError: DNS cannot hold the name."""
    return _HEADER.pack(0, 0, 1, 0, 0, 0) + pack_name(name) + _QUESTION.pack(PTR, _IN)


@frozen
class Records:
    """The records of one instance, made once and used in every packet about it. :ivar data: four of them, in order."""

    instance: str
    data: bytes = field(repr=False)
    #: SRV and TXT alone, for a probe.
    claim: bytes = field(repr=False)


def answer(asked: Question, records: Records) -> bytes:
    """The answer to ``asked``: the question as it came, and everything about one instance."""
    return _HEADER.pack(0, _ANSWERING, 1, 4, 0, 0) + asked.raw + records.data


def announcement(records: Records) -> bytes:
    """What is told unasked."""
    return _HEADER.pack(0, _ANSWERING, 0, 4, 0, 0) + records.data


def probe(records: Records) -> bytes:
    """The question whether anybody else uses this instance's name, with what we shall say about it."""
    asked = pack_name(records.instance) + _QUESTION.pack(PTR, _IN)
    return _HEADER.pack(0, 0, 1, 0, 2, 0) + asked + records.claim


def node_records(service: Service, node: Node, domain: str, host: str, ttl: int = TTL) -> Records:
    """The records of one node of ``service``.

    :param host: a name for the address, which others need not know. :param ttl: 0 says goodbye.
    :raises BadRequest: mDNS cannot carry it. The text names the field.
    """
    text = encode_text(service, node)
    if len(text) > MAX_WRITTEN:
        raise BadRequest(f"nodes: {node.id}: {len(text)} bytes of TXT do not fit an mDNS packet; give less metadata")
    try:
        address = ip_address(node.address)
    except ValueError:
        raise BadRequest(f"nodes: {node.id}: address {node.address!r}: mDNS carries IP addresses only") from None
    try:
        records = _instance(f"{service.name}.{domain}", node.id, host, address, node.port, text, ttl)
    except ValueError as wrong:
        raise BadRequest(f"nodes: {node.id}: mDNS cannot carry this name: {wrong}") from None
    return records


def listing_records(name: str, domain: str, host: str, ttl: int = TTL) -> Records:
    """The records that put a service's name on the list of all. :raises BadRequest: mDNS cannot carry the name."""
    try:
        return _instance(f"{LISTING}.{domain}", name, host, IPv4Address(0), LISTING_PORT, b"", ttl)
    except ValueError as wrong:
        raise BadRequest(f"name: mDNS cannot carry it: {wrong}") from None


def _instance(
    owner: str, instance: str, host: str, address: IPv4Address | IPv6Address, port: int, text: bytes, ttl: int
) -> Records:
    name = f"{instance}.{owner}"
    packed, target = pack_name(name), pack_name(host)
    strings = b"".join(bytes([len(text[at : at + 255])]) + text[at : at + 255] for at in range(0, len(text), 255))
    # A client needs the port before the address, and takes what stands last for the whole: this order, one node.
    pointer = _record(pack_name(owner), PTR, ttl, packed)
    served = _record(packed, SRV, ttl, _SRV.pack(10, 1, port) + target)
    located = _record(target, A if address.version == 4 else AAAA, ttl, address.packed)
    told = _record(packed, TXT, ttl, strings or b"\0")
    return Records(name, pointer + served + located + told, served + told)


def _record(owner: bytes, kind: int, ttl: int, data: bytes) -> bytes:
    return owner + _RECORD.pack(kind, _IN, ttl, len(data)) + data


# --- Services in records --------------------------------------------------------------------------------------------


@frozen
class Sighting:
    """A node that somebody tells of.

    :ivar service: with just that node; without endpoints and version when ``gone``.
    :ivar gone: whether it says goodbye.
    """

    service: Service
    gone: bool = False


@frozen
class Trouble:
    """A record of a go-micro service that cannot be read."""

    instance: str
    why: str


def sightings(packet: Packet) -> Iterator[Sighting | Trouble]:
    """The nodes that an answer tells of. What is of no go-micro service, printers and the like, is passed over."""
    served: dict[str, tuple[int, str, bool]] = {}
    places: dict[str, str] = {}
    texts: dict[str, bytes] = {}
    for record in packet.records:
        if isinstance(record.value, tuple):
            served[record.name] = (*record.value, record.ttl == 0)
        elif record.type == A and isinstance(record.value, str):
            places[record.name] = record.value
        elif record.type == AAAA and isinstance(record.value, str):
            places.setdefault(record.name, record.value)
        elif record.type == TXT and isinstance(record.value, bytes):
            texts[record.name] = record.value
    for instance, (port, target, gone) in served.items():
        text = texts.get(instance, b"")
        domain = instance.rpartition(".")[2]
        if domain not in DOMAINS or f".{LISTING}." in instance or not _is_ours(text, domain):
            continue
        try:
            sighting = _sighting(instance, domain, text, places.get(target), port, gone)
        except MalformedRecord as wrong:
            yield Trouble(ascii(instance), str(wrong))
        else:
            if sighting is not None:
                yield sighting


def names(packet: Packet) -> Iterator[str]:
    """The names of services that an answer to the listing question tells of."""
    for record in packet.records:
        if record.type == PTR and record.ttl and isinstance(record.value, str):
            for domain in DOMAINS:
                if record.name == f"{LISTING}.{domain}" and record.value.endswith(f".{record.name}"):
                    name = record.value.removesuffix(f".{record.name}")
                    if name.isprintable():  # and thus no bytes that are not text
                        yield name


def _is_ours(text: bytes, domain: str) -> bool:
    """Whether this is meant to be go-micro's: in its own domain all is, in the common one what looks like it."""
    return domain == "micro" or text[:2] == b"78"


def _sighting(instance: str, domain: str, text: bytes, place: str | None, port: int, gone: bool) -> Sighting | None:
    told = decode_text(text)
    suffix = f".{told.name}.{domain}"
    identity = instance.removesuffix(suffix)
    if identity == instance or not identity:
        return None  # another service's, which happens to be a part of this name
    if not identity.isprintable():
        raise MalformedRecord("a node whose id is not text")
    if gone:
        return Sighting(Service(told.name, told.version, nodes=(Node(identity, "", 0),)), gone=True)
    if place is None or place in ("0.0.0.0", "::"):  # noqa: S104  # compared, not bound
        raise MalformedRecord("a node without an address")
    if not port:
        raise MalformedRecord("a node without a port")
    node = Node(identity, place, port, told.metadata)
    return Sighting(Service(told.name, told.version, endpoints=told.endpoints, nodes=(node,)))


def encode_text(service: Service, node: Node) -> bytes:
    """What a node's TXT says: JSON with capitalised keys, zlib, hex."""
    told = {
        "Service": service.name,
        "Version": service.version,
        "Endpoints": [services.endpoint_to_json(endpoint) for endpoint in service.endpoints] or None,
        "Metadata": dict(node.metadata) or None,
    }
    return zlib.compress(orjson.dumps(told)).hex().encode("ascii")


def decode_text(text: bytes) -> Service:
    """Undo :func:`encode_text`. :returns: a service without nodes; its metadata is the node's.

    :raises MalformedRecord: saying what is wrong with it.
    """
    try:
        unpacking = zlib.decompressobj()
        unpacked = unpacking.decompress(bytes.fromhex(text.decode("ascii")), MAX_TEXT)
    except (ValueError, zlib.error) as wrong:
        raise MalformedRecord(f"its TXT is not zlib in hex: {wrong}") from None
    if unpacking.unconsumed_tail:
        raise MalformedRecord(f"its TXT unpacks to more than {MAX_TEXT} bytes")
    if not unpacking.eof:
        raise MalformedRecord("its TXT is zlib that ends early")
    try:
        told = orjson.loads(unpacked)
    except orjson.JSONDecodeError as wrong:
        raise MalformedRecord(f"its TXT is not JSON: {wrong}") from None
    if not isinstance(told, dict):
        raise MalformedRecord("its TXT is not a JSON object")
    fields: Mapping[str, object] = {key.lower(): value for key, value in told.items()}
    return services.from_json(
        {
            "name": fields.get("service"),
            "version": fields.get("version"),
            "metadata": fields.get("metadata"),
            "endpoints": fields.get("endpoints"),
        }
    )
