"""What a reverse proxy does to header fields on their way to a node and back. Pure.

:source: RFC 9110, 7.6 (hop by hop, Connection, TE), RFC 7239 (Forwarded)
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final

from attrs import frozen

Fields = Iterable[tuple[bytes, bytes]]

#: For one hop alone, whether Connection names them or not. Expect is answered by us: we ask the client for its body.
_HOP: Final = frozenset(
    (
        b"connection",
        b"keep-alive",
        b"proxy-connection",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"te",
        b"transfer-encoding",
        b"upgrade",
        b"http2-settings",
    )
)
_REQUEST_HOP: Final = _HOP | {b"host", b"expect", b"forwarded", b"x-forwarded-for", b"micro-explain"}
_ANSWER_HOP: Final = _HOP - {b"proxy-authenticate"}
_PLAIN = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+\Z")


@frozen
class Hop:
    """The connection on which a request came.

    :ivar peer: the IP address of the client, "" where it has none. :ivar secure: it came over TLS.
    """

    peer: str
    secure: bool


def request_lines(
    raw: Fields, fields: Mapping[bytes, bytes], hop: Hop, upgrade: bool, own: frozenset[bytes] = frozenset()
) -> bytes:
    """The fields of a request for a node, as lines, all but Host.

    :param raw: as they came. :param fields: by lower-case name. :param upgrade: it asks for a WebSocket, and the node
        is to hear that. :param own: fields, in lower case, that we set ourselves.
    """
    dropped = _dropped(_REQUEST_HOP, raw, fields) | own
    lines = [b"%b: %b\r\n" % pair for pair in raw if pair[0].lower() not in dropped]
    host = fields.get(b"host", b"")
    proto = b"https" if hop.secure else b"http"
    lines.append(b"X-Forwarded-For: %b\r\n" % _appended(raw, b"x-forwarded-for", hop.peer.encode() or b"unknown"))
    if b"x-forwarded-proto" not in fields:
        lines.append(b"X-Forwarded-Proto: %b\r\n" % proto)
    if b"x-forwarded-host" not in fields and host:
        lines.append(b"X-Forwarded-Host: %b\r\n" % host)
    lines.append(b"Forwarded: %b\r\n" % _appended(raw, b"forwarded", _forwarded(hop, host, proto)))
    if b"transfer-encoding" in fields:
        lines.append(b"Transfer-Encoding: chunked\r\n")
    if upgrade:
        lines.append(b"Connection: Upgrade\r\nUpgrade: %b\r\n" % fields[b"upgrade"])
    elif b"trailers" in fields.get(b"te", b"").lower():
        lines.append(b"TE: trailers\r\nConnection: TE\r\n")
    return b"".join(lines)


#: Hop-by-hop fields of an answer, as lines.
_hop_lines = re.compile(
    rb"(?im)^(?:" + b"|".join(sorted(map(re.escape, _HOP - {b"proxy-authenticate"}))) + rb"):[^\n]*\n"
).sub
_USUAL_CONNECTION: Final = (None, b"keep-alive", b"close", b"Keep-Alive", b"Close")


def answer_lines(
    block: bytes, raw: Fields, fields: Mapping[bytes, bytes], own: frozenset[bytes] = frozenset()
) -> bytes:
    """The fields of an answer for the client, as lines.

    :param block: as they came, as lines. :param raw: the same, one by one. :param fields: the same by lower-case name.
    :param own: fields, in lower case, that we set ourselves.
    """
    if not own and fields.get(b"connection") in _USUAL_CONNECTION:
        return _hop_lines(b"", block)
    dropped = _dropped(_ANSWER_HOP, raw, fields) | own
    return b"".join([b"%b: %b\r\n" % pair for pair in raw if pair[0].lower() not in dropped])


def trailer_fields(raw: Fields) -> list[tuple[bytes, bytes]]:
    """The trailers that may go on: none of those that frame a message or route it (RFC 9110, 6.5.1)."""
    refused = _HOP | {b"content-length", b"host", b"trailer", b"content-encoding", b"content-type", b"authorization"}
    return [pair for pair in raw if pair[0].lower() not in refused]


def _dropped(usual: frozenset[bytes], raw: Fields, fields: Mapping[bytes, bytes]) -> frozenset[bytes]:
    """The names of fields that stay behind: the usual ones and those that Connection names."""
    if b"connection" not in fields:
        return usual
    named = b",".join(value for name, value in raw if name.lower() == b"connection").lower().split(b",")
    kept = (b"content-length", b"host", b"close", b"")  # nobody may take these away
    return usual | {name.strip() for name in named if name.strip() not in kept}


def _appended(raw: Fields, name: bytes, value: bytes) -> bytes:
    before = [said for field, said in raw if field.lower() == name and said]
    return b", ".join([*before, value]) if before else value


def _forwarded(hop: Hop, host: bytes, proto: bytes) -> bytes:
    peer = hop.peer.encode()
    node = b'"[%b]"' % peer if b":" in peer else peer or b"unknown"
    parts = [b"for=%b" % node]
    if host:
        parts.append(b"host=%b" % (host if _PLAIN.match(host) else b'"%b"' % host))
    parts.append(b"proto=%b" % proto)
    return b";".join(parts)
