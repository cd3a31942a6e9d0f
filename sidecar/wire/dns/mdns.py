"""Multicast DNS as go-micro speaks it: services in records. Pure.

:source: RFC 6762 sections 6, 8 and 10; micro/go-micro ``registry/mdns_registry.go@v1.0.0`` and ``@v6.10.0``,
    ``internal/util/mdns@v6.10.0``
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping
from ipaddress import IPv4Address, IPv6Address, ip_address

import orjson
from attrs import field, frozen

from sidecar.errors import BadRequest, MalformedRecord
from sidecar.model import Node, Service
from sidecar.wire import services
from sidecar.wire.dns.packet import (
    AAAA,
    ANY,
    HEADER,
    IN,
    PTR,
    QUESTION,
    RECORD,
    SERVED,
    SRV,
    TXT,
    A,
    Packet,
    Question,
    ResourceRecord,
    decode,
    pack_name,
)
from sidecar.wire.partial import Skip

__all__ = ["AAAA", "ANY", "PTR", "SRV", "TXT", "A", "Packet", "Question", "ResourceRecord", "decode"]

GROUP, PORT = "224.0.0.251", 5353
#: The zones that services live in: since v1.10, and before.
DOMAINS = ("micro", "local")
#: The pseudo service whose instances are the names of all services, and the port that they are said to have.
LISTING, LISTING_PORT = "_services", 9999
#: Seconds that others may remember a record.
TTL = 120
#: The flags of an answer: a response, with authority.
_ANSWERING = 0x8400
#: Octets of the longest TXT that we write: UDP over IPv4 holds 65,507, and names are to go with it.
MAX_WRITTEN = 62_000
#: Octets that a node's text may be long when it is unpacked.
MAX_TEXT = 256 * 1024


# --- Writing packets ------------------------------------------------------------------------------------------------


def question(name: str) -> bytes:
    """A packet that asks for the instances of ``name``. :raises ValueError: DNS cannot hold the name."""
    return HEADER.pack(0, 0, 1, 0, 0, 0) + pack_name(name) + QUESTION.pack(PTR, IN)


@frozen
class Records:
    """The records of one instance, made once and used in every packet about it. :ivar data: four of them, in order."""

    instance: str
    data: bytes = field(repr=False)
    #: SRV and TXT alone, for a probe.
    claim: bytes = field(repr=False)


def answer(asked: Question, records: Records) -> bytes:
    """The answer to ``asked``: the question as it came, and everything about one instance."""
    return HEADER.pack(0, _ANSWERING, 1, 4, 0, 0) + asked.raw + records.data


def announcement(records: Records) -> bytes:
    """What is told unasked."""
    return HEADER.pack(0, _ANSWERING, 0, 4, 0, 0) + records.data


def probe(records: Records) -> bytes:
    """The question whether anybody else uses this instance's name, with what we shall say about it."""
    asked = pack_name(records.instance) + QUESTION.pack(PTR, IN)
    return HEADER.pack(0, 0, 1, 0, 2, 0) + asked + records.claim


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
    served = _record(packed, SRV, ttl, SERVED.pack(10, 1, port) + target)
    located = _record(target, A if address.version == 4 else AAAA, ttl, address.packed)
    told = _record(packed, TXT, ttl, strings or b"\0")
    return Records(name, pointer + served + located + told, served + told)


def _record(owner: bytes, kind: int, ttl: int, data: bytes) -> bytes:
    return owner + RECORD.pack(kind, IN, ttl, len(data)) + data


# --- Services in records --------------------------------------------------------------------------------------------


@frozen
class NodeAnnouncement:
    """A node that somebody tells of.

    :ivar service: with just that node; without endpoints and version when ``gone``.
    :ivar gone: whether it says goodbye.
    """

    service: Service
    gone: bool = False


@frozen
class MalformedNode:
    """A record of a go-micro service that cannot be read, or a part of one that is left out."""

    instance: str
    why: str


def read_nodes(packet: Packet) -> Iterator[NodeAnnouncement | MalformedNode]:
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
        skipped: list[str] = []
        try:
            found = _read_node(instance, domain, text, places.get(target), port, gone, skipped.append)
        except MalformedRecord as wrong:
            yield MalformedNode(ascii(instance), str(wrong))
        else:
            if found is not None:
                yield found
                if skipped:
                    yield MalformedNode(f"a part of {instance!a}", "; ".join(skipped))


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


def _read_node(
    instance: str, domain: str, text: bytes, place: str | None, port: int, gone: bool, skip: Skip
) -> NodeAnnouncement | None:
    told = decode_text(text, skip)
    suffix = f".{told.name}.{domain}"
    identity = instance.removesuffix(suffix)
    if identity == instance or not identity:
        return None  # another service's, which happens to be a part of this name
    if not identity.isprintable():
        raise MalformedRecord("a node whose id is not text")
    if gone:
        return NodeAnnouncement(Service(told.name, told.version, nodes=(Node(identity, "", 0),)), gone=True)
    if place is None or place in ("0.0.0.0", "::"):  # noqa: S104  # compared, not bound
        raise MalformedRecord("a node without an address")
    if not port:
        raise MalformedRecord("a node without a port")
    node = Node(identity, place, port, told.metadata)
    return NodeAnnouncement(Service(told.name, told.version, endpoints=told.endpoints, nodes=(node,)))


def encode_text(service: Service, node: Node) -> bytes:
    """What a node's TXT says: JSON with capitalised keys, zlib, hex."""
    told = {
        "Service": service.name,
        "Version": service.version,
        "Endpoints": [services.endpoint_to_json(endpoint) for endpoint in service.endpoints] or None,
        "Metadata": dict(node.metadata) or None,
    }
    return zlib.compress(orjson.dumps(told)).hex().encode("ascii")


def decode_text(text: bytes, skip: Skip | None = None) -> Service:
    """Undo :func:`encode_text`. :returns: a service without nodes; its metadata is the node's.

    :param skip: told of parts that are left out.
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
        },
        skip,
    )
