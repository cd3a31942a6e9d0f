"""Fields by name: those of a service's JSON, each checked and named by its path where it is wrong, names that were
nearly hit, and forms. Pure."""

from __future__ import annotations

import re
from binascii import a2b_qp
from collections.abc import Iterable, Mapping
from ipaddress import IPv6Address
from sys import intern
from typing import Any
from urllib.parse import unquote_to_bytes

import orjson
from attrs import frozen

from sidecar.model import EMPTY

#: Characters in a name, version, node id or host. A key of an engine, a URL path and a log line must all hold it.
MAX_NAME = 512
#: Characters of the longest host name.
_MAX_HOST = 253
_HOST_NAME = re.compile(r"[0-9A-Za-z_-]{1,63}(\.[0-9A-Za-z_-]{1,63})*\.?")
#: An IPv4 address, or what was meant as one: no name server knows 999.1.1.1.
_DOTTED_NUMBERS = re.compile(r"[0-9]+(\.[0-9]+)+\.?")
_IPV6 = re.compile(r"[0-9A-Fa-f:.]+(%[0-9A-Za-z._-]+)?")


@frozen
class RegistrationLimits:
    """How much one registration may hold, so that reading it keeps nobody waiting.

    :ivar nodes: how many. :ivar endpoints: how many.
    :ivar values: JSON values in all: each object, array, member and item counts.
    """

    nodes: int = 1000
    endpoints: int = 1000
    values: int = 30_000


class WrongField(Exception):
    """A field that cannot be read. :ivar path: ``nodes[0].port``."""

    def __init__(self, path: str, why: str) -> None:
        super().__init__(f"{path}: {why}" if path else why)


def members(obj: object, path: str, what: str) -> dict[str, Any]:
    """The object's fields by lower-case key; as in Go, of two spellings the later one holds."""
    if not isinstance(obj, dict):
        raise WrongField(path, f"must be {what}, not {kind(obj)}")
    return {key.lower(): value for key, value in obj.items()}


def kind(value: object) -> str:
    if value is None:
        return "null"
    for types, name in ((bool, "a boolean"), (str, "a string"), ((int, float), "a number"), (list, "an array")):
        if isinstance(value, types):
            return name
    return "an object"


def text(value: object, path: str, *, required: bool = False) -> str:
    if value is None:
        value = ""
    if not isinstance(value, str):
        raise WrongField(path, f"must be a string, not {kind(value)}")
    if required and not value:
        raise WrongField(path, "is missing")
    if len(value) > MAX_NAME:
        raise WrongField(path, f"is longer than {MAX_NAME} characters")
    if not value.isprintable():
        raise WrongField(path, "holds a control character")
    return value


def name(value: object, path: str) -> str:
    name = text(value, path, required=True)
    if name != name.strip() or name in (".", ".."):
        raise WrongField(path, f"{name!r} cannot be a name: it is a dot path or has space around it")
    return name


def items(value: object, path: str) -> list[Any]:
    if value is None:
        return []
    if not isinstance(value, list):
        raise WrongField(path, f"must be an array, not {kind(value)}")
    return value


def metadata(value: object, path: str) -> Mapping[str, str]:
    if not value and (value is None or isinstance(value, dict)):
        return EMPTY
    if not isinstance(value, dict):
        raise WrongField(path, f"must be an object of strings, not {kind(value)}")
    found = {}
    for key, item in value.items():
        if item is None:
            item = ""
        if not isinstance(item, str):
            raise WrongField(f"{path}.{key[:80]}", f"must be a string, not {kind(item)}")
        # Thousands of nodes say the same few words: keep each once.
        found[intern(key)] = intern(item) if len(item) < 32 else item
    return found


def address(host: str, port: object, path: str, need_port: bool = True) -> tuple[str, int]:
    """The bare host and the port of a node.

    :param path: what stands before ``address`` and ``port`` in the path of a fault.
    :param need_port: False takes an address without one, with the port 0: a queue's name, and no host.
    """
    if port is not None and (isinstance(port, bool) or not isinstance(port, int)):
        raise WrongField(f"{path}port", f"must be a whole number from 1 to 65535, not {kind(port)}")
    joined = _split(host)
    if joined is not None:
        host, tail = joined
        where = f"{path}address"
        if not (tail.isascii() and tail.isdigit()) or len(tail) > 5:
            raise WrongField(where, f"the port {tail[:20]!r} is not 1 to 65535")
        if port and int(tail) != port:
            raise WrongField(f"{path}port", f"{port} differs from the port {tail} in address")
        port = int(tail)
    else:
        where = f"{path}port"
    if not host:
        raise WrongField(f"{path}address", "is missing")
    host = _host(host, f"{path}address")
    if not port and not need_port:
        return host, 0
    if not port:
        raise WrongField(where, "is missing" if port is None else "0 is not 1 to 65535")
    if not 1 <= port <= 65535:
        shown = str(port) if abs(port) < 10**20 else "a number of very many digits"
        raise WrongField(where, f"{shown} is not 1 to 65535")
    return host, port


def is_host(text: str) -> bool:
    """Whether it is a name or an address that can be connected to; an IPv6 address without brackets.

    It is the one rule for flags, registrations, engines' records and URLs. Underscores and dashes stand anywhere:
    Docker Compose and Swarm make such names, and whatever looks names up finds them.

    :source: RFC 1034 3.1 for the lengths
    """
    if ":" not in text:
        if len(text) > _MAX_HOST or _HOST_NAME.fullmatch(text) is None:
            return False
        return _DOTTED_NUMBERS.fullmatch(text) is None or _is_ipv4(text)
    try:
        IPv6Address(text)
    except ValueError:
        return False
    return _IPV6.fullmatch(text) is not None


def _is_ipv4(text: str) -> bool:
    """Whether the system reads it as one: 127.1 and 0177.0.0.1 are. :param text: decimal digits and dots.

    :source: inet_aton(3): the last part takes the bytes that are left, and a zero ahead means octal
    """
    parts = text.rstrip(".").split(".")
    if len(parts) > 4 or any(len(part) > 12 for part in parts):
        return False
    try:
        numbers = [int(part, 8 if part.startswith("0") else 10) for part in parts]
    except ValueError:
        return False
    return all(number < 256 for number in numbers[:-1]) and numbers[-1] < 256 ** (5 - len(parts))


def _split(host: str) -> tuple[str, str] | None:
    """``host:port`` and ``[ipv6]:port`` in two, or None for a host alone. Unbracketed IPv6 is a host alone."""
    if host.startswith("["):
        inner, bracket, tail = host.partition("]")
        return (inner + bracket, tail[1:]) if bracket and tail.startswith(":") else None
    if host.count(":") == 1:
        name, _, tail = host.partition(":")
        return name, tail
    return None


def _host(host: str, path: str) -> str:
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    if not is_host(bare) or (bare != host and ":" not in bare):
        raise WrongField(path, f"{host[:80]!r} is not a host name or an IP address")
    return bare


# --- Names that were nearly hit --------------------------------------------------------------------------------------

#: Names shorter than this are near to nothing, and those from this length on may be missed by two slips.
_SHORTEST, _LONG = 3, 6


def meant(name: str, known: Iterable[str]) -> str | None:
    """Which of the ``known`` names was meant by one that is not among them.

    :param name: in lower case, as the known ones are.
    :returns: the nearest one, where it is one slip away (a letter too many, too few, another, or two that changed
        places; two slips for known names of six letters or more), or None.
    """
    best, fewest = None, _LONG
    for other in known:
        allowed = 2 if len(other) >= _LONG else 1
        if min(len(name), len(other)) < _SHORTEST or abs(len(name) - len(other)) > allowed:
            continue
        count = _slips(name, other)
        if count <= allowed and count < fewest:
            best, fewest = other, count
    return best


def _slips(one: str, other: str) -> int:
    """The Damerau-Levenshtein distance, of two short names."""
    before: list[int] = []
    row = list(range(len(other) + 1))
    for i, letter in enumerate(one, 1):
        before, above = row, before
        row = [i]
        for j, wanted in enumerate(other, 1):
            cost = min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (letter != wanted))
            if i > 1 and j > 1 and letter == other[j - 2] and one[i - 2] == wanted:
                cost = min(cost, above[j - 2] + 1)
            row.append(cost)
    return row[-1]


#: Members of a service and of a node, by which a slip of the hand is told.
_OF_SERVICE = ("name", "version", "metadata", "endpoints", "nodes")
_OF_NODE = ("id", "address", "port", "metadata")
#: What a service of Consul's has and none of go-micro's. (``Name`` both have.)
_OF_CONSUL = frozenset(("service", "services", "id", "address", "port", "tags", "meta", "check", "checks"))


def refuse_slips(obj: object) -> None:
    """Refuse what is nearly a member of a service or of its nodes, and would be lost."""

    def refuse(fields: object, known: tuple[str, ...], path: str) -> None:
        if not isinstance(fields, dict):
            return
        for name in fields:
            lower = name.lower()
            other = None if lower in known else meant(lower, known)
            if other is not None:
                raise WrongField(f"{path}{name[:80]}", f"there is nothing of that name; {other} was meant, it seems")

    refuse(obj, _OF_SERVICE, "")
    nodes = next((obj[key] for key in obj if key.lower() == "nodes"), None) if isinstance(obj, dict) else None
    for index, node in enumerate(nodes if isinstance(nodes, list) else ()):
        refuse(node, _OF_NODE, f"nodes[{index}].")


def refuse_consul(obj: object) -> None:
    """Tell who sends a service as Consul's agent takes it which form is wanted."""
    if not isinstance(obj, dict):
        return
    fields = {key.lower(): value for key, value in obj.items()}
    if "nodes" in fields or not _OF_CONSUL & fields.keys():
        return
    inner = fields.get("service", fields.get("services"))
    inner = inner[0] if isinstance(inner, list) and inner else inner
    if isinstance(inner, dict):
        fields = {**fields, **{key.lower(): value for key, value in inner.items()}}
    name = next((fields[key] for key in ("name", "service", "id") if isinstance(fields.get(key), str)), "web")
    address, port = fields.get("address"), fields.get("port")
    node = {
        "id": fields["id"] if isinstance(fields.get("id"), str) else f"{name}-1",
        "address": address if isinstance(address, str) and address else "127.0.0.1",
        "port": port if isinstance(port, int) and port else 8080,
    }
    wanted = orjson.dumps({"name": name[:80], "nodes": [node]}).decode("utf-8")
    raise WrongField("", f"this looks like a service definition of Consul's; send go-micro's form: {wanted}")


# --- Forms -----------------------------------------------------------------------------------------------------------

_BAD_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")


def unquoted(text: bytes) -> bytes:
    """A name or value of a form as it was before it was escaped; a broken escape stays as it is."""
    if b"+" in text:
        text = text.replace(b"+", b" ")
    if b"%" not in text:
        return text
    if _BAD_ESCAPE.search(text):
        return unquote_to_bytes(text)
    # The same in C: a body of a million escapes would hold everybody else up for a third of a second.
    return a2b_qp(text.replace(b"=", b"=3D").replace(b"%", b"="))
