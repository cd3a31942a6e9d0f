"""DNS packets as multicast DNS has them: names, questions, records. Pure.

Whatever anybody sends to the port comes here first, so it is read strictly and within bounds: names are cut at 255
octets and at a few pointers, records are counted. Twisted's own reader follows pointers without end. Written names are
not compressed, which lets an answer be joined from a question's own bytes and records made once.

:source: RFC 1035 section 4, RFC 6762 section 18
"""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address
from struct import Struct, error

from attrs import frozen

from sidecar.errors import MalformedRecord

A, PTR, TXT, AAAA, SRV, ANY = 1, 12, 16, 28, 33, 255
IN = 1
#: In a question: answers are wanted by unicast. In a record: older ones are to be forgotten.
_TOP_BIT = 0x8000

HEADER = Struct("!6H")
QUESTION = Struct("!2H")
RECORD = Struct("!2HIH")
SERVED = Struct("!3H")
#: Response, opcode, truncation and response code: all but the first must be zero.
_RESPONSE, _REFUSED = 0x8000, 0x7A0F

#: Records and questions of one packet, pointers within one name.
MAX_RECORDS, MAX_QUESTIONS, MAX_POINTERS = 64, 16, 16


@frozen
class Question:
    """:ivar raw: its own bytes, uncompressed, to be copied into the answer. :ivar name: without the last dot."""

    name: str
    type: int
    raw: bytes


@frozen
class ResourceRecord:
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
    records: tuple[ResourceRecord, ...] = ()


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
    _, flags, asked, answered, authority, additional = HEADER.unpack_from(packet)
    if flags & _REFUSED:
        raise MalformedRecord("not a plain question or answer")
    count = answered + authority + additional
    if asked > MAX_QUESTIONS or count > MAX_RECORDS:
        raise MalformedRecord(f"{asked} questions and {count} records are too many")
    at = HEADER.size
    questions = []
    for _ in range(asked):
        name, at = _unpack_name(packet, at)
        kind, cls = QUESTION.unpack_from(packet, at)
        at += QUESTION.size
        if cls & ~_TOP_BIT == IN and name:
            questions.append(Question(name, kind, pack_name(name) + QUESTION.pack(kind, cls)))
    response = bool(flags & _RESPONSE)
    # What a question holds besides is a prober's claim, not a fact.
    return Packet(response, tuple(questions), tuple(_records(packet, at, count)) if response else ())


def _records(packet: bytes, at: int, count: int) -> Iterator[ResourceRecord]:
    for _ in range(count):
        name, at = _unpack_name(packet, at)
        kind, cls, ttl, length = RECORD.unpack_from(packet, at)
        at += RECORD.size
        end = at + length
        if end > len(packet):
            raise MalformedRecord("a record that is longer than its packet")
        if cls & ~_TOP_BIT == IN:
            value = _value(packet, kind, at, end)
            if value is not None:
                yield ResourceRecord(name, kind, ttl, value)
        at = end


def _value(packet: bytes, kind: int, at: int, end: int) -> str | tuple[int, str] | bytes | None:
    if kind == PTR:
        return _unpack_name(packet, at)[0]
    if kind == SRV:
        _, _, port = SERVED.unpack_from(packet, at)
        return port, _unpack_name(packet, at + SERVED.size)[0]
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
