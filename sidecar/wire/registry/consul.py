"""Consul's HTTP API as go-micro uses it: a node is a Consul service, its description packed into tags.

Per metadata pair a tag ``t-``, per endpoint ``e-``, and one ``v-`` with the version, each followed by the hex of a zlib
stream. Before May 2016 the letters were followed by ``=`` and plain text; both are read.

:source: micro/go-micro@v6.10.0:registry/consul/, micro/go-micro@d3bfdc79:registry/{consul_registry,encoding}.go;
    Consul's HTTP API, agent/service, agent/check, health and catalog
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from typing import Any

import orjson
from attrs import evolve, frozen

from sidecar.errors import MalformedRecord
from sidecar.model import Endpoint, Node, Service
from sidecar.wire import durations, fields, services

#: Bytes that one tag may unpack to. Go's largest, an endpoint described to depth three, stay under a few KiB.
MAX_TAG = 256 * 1024

#: What Consul takes as a pair of ``Meta``; one that does not fit would have the whole registration refused.
_META_KEY = re.compile(r"[A-Za-z0-9_-]{1,128}")
_MAX_META_VALUE = 512
_MAX_META_PAIRS = 64
#: The pair of ``Meta`` that says which process registered a node: two may use one id. It is not the node's metadata.
OWNER = "microsidecar-owner"

#: Deregistered by Consul itself this many seconds after its TTL ran out, and never sooner than the second figure.
_GRACE = 5.0
_MIN_DEREGISTER = 65.0


# --- Writing --------------------------------------------------------------------------------------------------------


def registration(service: Service, node: Node, ttl: float | None, owner: str = "") -> dict[str, Any]:
    """The body of ``PUT /v1/agent/service/register`` for one node.

    :param ttl: seconds, or None for an entry that lasts until it is deregistered.
    :param owner: names the process that registers it, "" for none.
    """
    body: dict[str, Any] = {
        "ID": node.id,
        "Name": service.name,
        "Tags": tags(service, node),
        "Port": node.port,
        "Address": node.address,
    }
    meta = {
        key: value
        for key, value in node.metadata.items()
        if _META_KEY.fullmatch(key) and len(value.encode()) <= _MAX_META_VALUE
    }
    if len(meta) > _MAX_META_PAIRS - bool(owner):
        meta = {}
    if owner:
        meta[OWNER] = owner
    if meta:
        body["Meta"] = meta
    if ttl is not None:
        ttl = max(ttl, 0.001)
        body["Check"] = {
            "TTL": durations.format(ttl),
            # Born passing: else the node would be away from its registration to the pass that follows it.
            "Status": "passing",
            "DeregisterCriticalServiceAfter": durations.format(max(ttl + _GRACE, _MIN_DEREGISTER)),
        }
    return body


def tags(service: Service, node: Node) -> list[str]:
    """The tags of a node: its own metadata, the service's endpoints and version."""
    return [
        *(f"t-{pack(orjson.dumps({key: value}))}" for key, value in node.metadata.items()),
        *(f"e-{pack(orjson.dumps(services.endpoint_to_json(each)))}" for each in service.endpoints),
        # Nodes without it are skipped by 2016's readers, so it is there even when it says nothing.
        f"v-{pack(service.version.encode())}",
    ]


@lru_cache(maxsize=1024)
def pack(text: bytes) -> str:
    """``text`` as a tag holds it."""
    return zlib.compress(text).hex()


# --- Reading --------------------------------------------------------------------------------------------------------


def unpack(text: str) -> bytes:
    """What a tag holds. :raises MalformedRecord: it is not hex, not zlib, or too much."""
    try:
        packed = bytes.fromhex(text)
    except ValueError:
        raise MalformedRecord(f"{text[:40]!r} is not hex") from None
    stream = zlib.decompressobj()
    try:
        found = stream.decompress(packed, MAX_TAG)
    except zlib.error as error:
        raise MalformedRecord(f"{text[:40]!r} is not zlib: {error}") from None
    if stream.unconsumed_tail:
        raise MalformedRecord(f"{text[:40]!r} unpacks to more than {MAX_TAG} bytes")
    if not stream.eof:
        raise MalformedRecord(f"{text[:40]!r} is a zlib stream cut short")
    return found


def described(
    found: Iterable[str], skip: Callable[[str], None] = lambda _: None
) -> tuple[dict[str, str], tuple[Endpoint, ...], str]:
    """Read tags. Those that are not go-micro's are left alone, as are, like go-micro does it, those that look like its
    own and cannot be read (a deploy script's ``v-1.0.0``).

    :param skip: told which tag cannot be read and why.
    :returns: metadata, endpoints, version.
    """
    metadata: dict[str, str] = {}
    endpoints: list[Endpoint] = []
    version: str | None = None
    styles: dict[str, str] = {}
    for tag in found:
        if not isinstance(tag, str) or tag[:1] not in ("t", "e", "v") or tag[1:2] not in ("-", "="):
            continue
        if styles.get(tag[0], tag[1]) != tag[1]:
            continue  # written twice, for readers of both ages: the first style says it all
        try:
            item = _read_tag(tag)
        except MalformedRecord as error:
            skip(str(error))
            continue
        styles[tag[0]] = tag[1]
        if isinstance(item, Endpoint):
            endpoints.append(item)
        elif isinstance(item, str):
            version = item if version is None else version
        else:
            metadata.update(item)
    return metadata, tuple(endpoints), version or ""


@lru_cache(maxsize=4096)
def _read_tag(tag: str) -> Endpoint | str | Mapping[str, str]:
    """One tag. The nodes of a service share nearly all of theirs, so most were read before."""
    body = unpack(tag[2:]) if tag[1] == "-" else tag[2:].encode("utf-8", "replace")
    if tag[0] == "v":
        try:
            return body.decode()
        except UnicodeDecodeError:
            raise MalformedRecord(f"the version in {tag[:40]!r} is not text") from None
    try:
        obj = orjson.loads(body)
    except ValueError as error:
        raise MalformedRecord(f"{tag[:40]!r} holds no JSON: {error}") from None
    if tag[0] == "e":
        return services.endpoint_from_json(obj)
    if not isinstance(obj, dict) or not all(isinstance(value, str) for value in obj.values()):
        raise MalformedRecord(f"{tag[:40]!r} holds no pair of strings")
    return obj


@frozen
class Health:
    """What Consul knows of one name.

    :ivar services: one a version, with the nodes that may be called; a version of which all are critical has none.
    :ivar present: the ids of all that is registered, critical or malformed as it may be.
    :ivar critical: what the failing check says, by the id of its node.
    :ivar owners: by id, which process registered it, "" where it does not say.
    """

    services: tuple[Service, ...]
    present: frozenset[str]
    critical: Mapping[str, str]
    owners: Mapping[str, str]


def health(body: bytes, name: str, report: Callable[[str, str, bool], None], clear: Callable[[str], None]) -> Health:
    """Read the answer of ``GET /v1/health/service/<name>``.

    :param report: told the id of a record that cannot be read, why, and whether it is left out as a whole; the others
        are read all the same.
    :param clear: told the id of each that could.
    :raises MalformedRecord: the answer as a whole is not what Consul answers.
    """
    entries = _json(body, list)
    heads: dict[str, Service] = {}
    nodes: dict[str, dict[str, Node]] = {}
    present = set()
    failing: dict[str, str] = {}
    owners: dict[str, str] = {}
    for index, entry in enumerate(entries):
        record = f"#{index}"
        try:
            record = str(entry["Service"]["ID"])[: fields.MAX_NAME] or record
            present.add(record)
            owners[record] = owner_of(entry["Service"])
            skipped: list[str] = []
            service, node, critical = _entry(entry, name, skipped.append)
        except MalformedRecord as error:
            report(record, str(error), True)
            continue
        except (KeyError, TypeError, AttributeError):
            report(record, "is not an entry of a health answer", True)
            continue
        if skipped:
            report(record, "; ".join(skipped)[:500], False)
        else:
            clear(record)
        heads.setdefault(service.version, service)
        if critical is not None:
            failing[node.id] = critical
        else:
            nodes.setdefault(service.version, {})[node.id] = node
    found = tuple(evolve(head, nodes=tuple(nodes.get(version, {}).values())) for version, head in heads.items())
    return Health(found, frozenset(present), failing, owners)


def owner_of(record: Any) -> str:
    """Which process registered a service of the agent's. :returns: "" where it does not say."""
    meta = record.get("Meta")
    owner = meta.get(OWNER) if isinstance(meta, dict) else None
    return owner if isinstance(owner, str) else ""


def ran_out(output: str) -> bool:
    """Whether a failing check failed because nobody renewed it. :source: Consul ``agent/checks/check.go``"""
    return "TTL expired" in output


def _entry(entry: Any, name: str, skip: Callable[[str], None]) -> tuple[Service, Node, str | None]:
    record = entry["Service"]
    identity = record["ID"]
    if not isinstance(identity, str) or not identity:
        raise MalformedRecord("has no ID")
    tags, meta = record.get("Tags") or (), record.get("Meta") or {}
    if not isinstance(tags, (list, tuple)):
        tags = ()
        skip("Tags is not an array")
    if not isinstance(meta, dict):
        meta = {}
        skip("Meta is not an object")
    metadata, endpoints, version = described(tags, skip)
    plain = {
        key: value for key, value in meta.items() if isinstance(key, str) and isinstance(value, str) and key != OWNER
    }
    host = record.get("Address") or (entry.get("Node") or {}).get("Address") or ""
    if not isinstance(host, str):
        raise MalformedRecord("has an address that is not text")
    try:
        address, port, told = services.address(host, record.get("Port"))
    except ValueError as error:
        raise MalformedRecord(str(error)) from None
    critical = next((check for check in entry.get("Checks") or () if check.get("Status") == "critical"), None)
    why = (
        None if critical is None else f"{critical.get('Name') or 'check'}: {critical.get('Output') or 'critical'}"[:300]
    )
    return (
        Service(name, version, endpoints=endpoints),
        Node(identity, address, port, {**plain, **metadata, **told}),
        why,
    )


def catalog(body: bytes) -> tuple[str, ...]:
    """Read the names in the answer of ``GET /v1/catalog/services``.

    :raises MalformedRecord: it is not what Consul answers.
    """
    return tuple(_json(body, dict))


def _json(body: bytes, kind: type) -> Any:
    try:
        found = orjson.loads(body)
    except ValueError as error:
        raise MalformedRecord(f"Consul's answer is not JSON: {error}") from None
    if found is None:
        return kind()
    if not isinstance(found, kind):
        raise MalformedRecord(f"Consul's answer is not {'an array' if kind is list else 'an object'}")
    return found
