"""Services as JSON: what apps send to ``/registry``, what we answer, and the form that Go services keep in stores.

Keys are read in any case, as Go's decoder does. A node is ``{"address": host, "port": p}`` (until v1.7) or
``{"address": "host:port"}`` (since v1.8); both are read everywhere.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from sys import intern
from typing import Any, Literal

import orjson

from sidecar.errors import BadRequest, MalformedRecord, TooLarge
from sidecar.model import Endpoint, Node, Service, Value
from sidecar.wire import fields as checked
from sidecar.wire import partial, rawjson
from sidecar.wire.fields import RegistrationLimits, WrongField
from sidecar.wire.secureaddress import without_scheme

#: Go's reflection goes three levels down; this leaves room for others and none for a bomb.
MAX_DEPTH = 16

#: Bytes of a body that is looked at though it holds too much, to tell what is no JSON by that name.
_LOOKED_AT = 1024 * 1024

What = Literal["register", "deregister"]


# --- Reading --------------------------------------------------------------------------------------------------------


def decode(body: bytes, what: What, make_id: Callable[[str], str], limits: RegistrationLimits | None = None) -> Service:
    """Read what an app posted to ``/registry``.

    :param body: JSON, in UTF-8.
    :param what: to ``deregister``, a node needs nothing but its id.
    :param make_id: gives an id to a node without one when registering; its argument is the service's name.
    :param limits: how much it may hold.
    :raises BadRequest: naming the field by path. :raises TooLarge: it holds more than it may.
    :source: micro/go-micro@d3bfdc79:registry/service.go, micro/go-micro@v6.10.0:registry/registry.go
    """
    limits = limits or RegistrationLimits()
    # Counted in C before anything is made of it. Inside strings these letters count too, which no name is full of.
    count = sum(body.count(letter) for letter in (b"{", b"[", b",", b":"))
    if count > limits.values and (len(body) > _LOOKED_AT or rawjson.is_strict_json(body)):
        raise TooLarge(f"the service holds more than {limits.values} JSON values: register its nodes in several posts")
    try:
        obj = _load(rawjson.without_bom(body))
        _refuse_many(obj, limits)
        checked.refuse_consul(obj)
        checked.refuse_slips(obj)
        return _read_service(obj, _strict_parser(what, make_id), need_nodes=True)
    except WrongField as wrong:
        raise BadRequest(str(wrong)) from None


def _refuse_many(obj: object, limits: RegistrationLimits) -> None:
    for key, value in obj.items() if isinstance(obj, dict) else ():
        most = {"nodes": limits.nodes, "endpoints": limits.endpoints}.get(key.lower())
        if most is not None and isinstance(value, list) and len(value) > most:
            raise TooLarge(f"{key[:20]}: {len(value)}, and a registration may have {most}: send several, of fewer each")


def decode_record(body: bytes, skip: partial.Skip | None = None) -> Service:
    """Read a service that a go-micro process left in a store or sent on a bus. It may be without nodes.

    :param skip: told of each part that cannot be read and is left out, so that the rest of the record counts.
    :raises MalformedRecord: saying what is wrong with it.
    """
    try:
        obj = orjson.loads(rawjson.without_bom(body))
    except ValueError as error:
        raise MalformedRecord(f"not JSON: {error}") from None
    return from_json(obj, skip)


def from_json(obj: object, skip: partial.Skip | None = None) -> Service:
    """Read a service from decoded JSON, as :func:`decode_record` does.

    :raises MalformedRecord: saying what is wrong with it.
    """
    try:
        return _read_service(
            partial.without_bad_parts(obj, skip, read_endpoint, _read_value) if skip is not None else obj,
            _read_node,
            need_nodes=False,
        )
    except WrongField as wrong:
        raise MalformedRecord(str(wrong)) from None


def endpoint_from_json(obj: object) -> Endpoint:
    """Read one endpoint. :raises MalformedRecord: saying what is wrong with it."""
    try:
        return read_endpoint(obj, "")
    except WrongField as wrong:
        raise MalformedRecord(str(wrong)) from None


def address(host: str, port: object) -> tuple[str, int, Mapping[str, str]]:
    """Normalise the address of a node: a name or IP literal, alone or with ``:port`` where ``port`` is 0 or None.

    :returns: bare host, port (0: another transport than TCP), what they say as metadata. :raises ValueError: in words.
    """
    try:
        host, port, told = without_scheme(host, port)
        return *checked.address(host, port, "", need_port=False), told
    except WrongField as wrong:
        raise ValueError(str(wrong)) from None


def _load(body: bytes) -> object:
    """JSON without what decoders disagree on: twice the same key, NaN, half surrogates, bottomless nesting."""
    if not body.strip():
        raise WrongField("", 'the body is empty; send a service as JSON: {"name": ..., "nodes": [...]}')
    try:
        orjson.loads(body)  # strict and in C: UTF-8, surrogates, NaN and depth are its to refuse
    except orjson.JSONDecodeError as error:
        raise WrongField("", f"the body is not JSON: {error}") from None
    try:
        return json.loads(body, object_pairs_hook=_no_twins)
    except (RecursionError, ValueError) as error:
        # What is left: nesting deeper than the interpreter's stack, integers of thousands of digits.
        raise WrongField("", f"the body cannot be read: {type(error).__name__}") from None


def _no_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        seen: set[str] = set()
        twin = next(name for name, _ in pairs if name in seen or seen.add(name))  # type: ignore[func-returns-value]
        raise WrongField("", f"the key {twin[:80]!r} stands twice in one object")
    return found


ParseNode = Callable[[object, str, str], Node]


def _read_service(obj: object, read_node: ParseNode, *, need_nodes: bool) -> Service:
    fields = checked.members(obj, "", "an object")
    name = intern(checked.name(fields.get("name"), "name"))
    version = intern(checked.text(fields.get("version"), "version"))
    metadata = checked.metadata(fields.get("metadata"), "metadata")
    endpoints = tuple(
        read_endpoint(item, f"endpoints[{index}]")
        for index, item in enumerate(checked.items(fields.get("endpoints"), "endpoints"))
    )
    nodes: dict[str, Node] = {}
    for index, item in enumerate(checked.items(fields.get("nodes"), "nodes")):
        node = read_node(item, name, f"nodes[{index}]")
        if node.id in nodes:
            raise WrongField(f"nodes[{index}].id", f"{node.id!r} is given to two nodes")
        nodes[node.id] = node
    if need_nodes and not nodes:
        raise WrongField("nodes", "is empty: name at least one node")
    return Service(name, version, metadata, endpoints, tuple(nodes.values()))


def _read_node(obj: object, name: str, path: str) -> Node:
    fields = checked.members(obj, path, "an object")
    # go-micro's NATS transport registers a queue's name and no port.
    return _node(fields, checked.name(fields.get("id"), f"{path}.id"), path, need_port=False)


def _node(fields: dict[str, Any], identity: str, path: str, need_port: bool = True) -> Node:
    given, port, told = without_scheme(checked.text(fields.get("address"), f"{path}.address"), fields.get("port"))
    host, number = checked.address(given, port, f"{path}.", need_port)
    said = checked.metadata(fields.get("metadata"), f"{path}.metadata")
    return Node(identity, intern(host), number, {**said, **told} if told else said)


def _strict_parser(what: What, make_id: Callable[[str], str]) -> ParseNode:
    def registering(obj: object, name: str, path: str) -> Node:
        fields = checked.members(obj, path, "an object")
        given = checked.text(fields.get("id"), f"{path}.id")
        return _node(fields, checked.name(given or make_id(name), f"{path}.id"), path)

    def deregistering(obj: object, name: str, path: str) -> Node:
        fields = checked.members(obj, path, "an object")
        identity = checked.name(fields.get("id"), f"{path}.id")
        # What is named by its id needs no address; one that is there is checked, to tell a slip of the hand.
        if not fields.get("address") and not fields.get("port"):
            return Node(identity, "", 0)
        return _node(fields, identity, path)

    return registering if what == "register" else deregistering


def read_endpoint(obj: object, path: str) -> Endpoint:
    """:param path: where it stands, for messages. :raises WrongField: it cannot be read."""
    fields = checked.members(obj, path, "an object")
    within = path and f"{path}."
    return Endpoint(
        intern(checked.text(fields.get("name"), f"{within}name")),
        _read_value(fields.get("request"), f"{within}request", 0),
        _read_value(fields.get("response"), f"{within}response", 0),
        checked.metadata(fields.get("metadata"), f"{within}metadata"),
    )


def _read_value(obj: object, path: str, depth: int) -> Value | None:
    if obj is None:
        return None
    if depth >= MAX_DEPTH:
        raise WrongField(path, f"is nested deeper than {MAX_DEPTH} levels")
    fields = checked.members(obj, path, "an object")
    items = enumerate(checked.items(fields.get("values"), f"{path}.values"))
    below = [_read_value(item, f"{path}.values[{index}]", depth + 1) for index, item in items]
    return Value(
        intern(checked.text(fields.get("name"), f"{path}.name")),
        intern(checked.text(fields.get("type"), f"{path}.type")),
        tuple(value for value in below if value is not None),
    )


# --- Writing --------------------------------------------------------------------------------------------------------


def to_json(service: Service) -> dict[str, Any]:
    """A service at one version, as the original sidecar's array holds it: nodes with ``address`` and ``port`` apart."""
    return {
        "name": service.name,
        "version": service.version,
        "metadata": dict(service.metadata),
        "endpoints": [endpoint_to_json(endpoint) for endpoint in service.endpoints],
        "nodes": [{**_head(node), "metadata": dict(node.metadata)} for node in service.nodes],
    }


def describe(versions: Iterable[Service]) -> dict[str, Any]:
    """All versions of one service as the README's object: ``{"name": ..., "nodes": [...]}``.

    Version, metadata and endpoints are named where there are any. With more than one version each node says its own.
    """
    known = tuple(versions)
    several = len(known) > 1
    found: dict[str, Any] = {"name": known[0].name}
    if not several and known[0].version:
        found["version"] = known[0].version
    metadata = {key: value for service in known for key, value in service.metadata.items()}
    if metadata:
        found["metadata"] = metadata
    endpoints = {endpoint.name: endpoint for service in known for endpoint in service.endpoints}
    if endpoints:
        found["endpoints"] = [endpoint_to_json(endpoint) for endpoint in endpoints.values()]
    nodes = []
    for service in known:
        for node in service.nodes:
            shown = _head(node)
            if several:
                shown["version"] = service.version
            if node.metadata:
                shown["metadata"] = dict(node.metadata)
            nodes.append(shown)
    found["nodes"] = nodes
    return found


def to_go_json(service: Service) -> dict[str, Any]:
    """The form that Go services keep in etcd and send over NATS: addresses joined, nothing where there is nothing.

    :source: micro/go-micro@v6.10.0:registry/registry.go
    """
    return {
        "name": service.name,
        "version": service.version,
        "metadata": dict(service.metadata) or None,
        "endpoints": [endpoint_to_json(endpoint) for endpoint in service.endpoints] or None,
        "nodes": [{"metadata": dict(node.metadata), "id": node.id, "address": node.hostport} for node in service.nodes]
        or None,
    }


def endpoint_to_json(endpoint: Endpoint) -> dict[str, Any]:
    """One endpoint, as Go writes it."""
    return {
        "name": endpoint.name,
        "request": _value_to_json(endpoint.request),
        "response": _value_to_json(endpoint.response),
        "metadata": dict(endpoint.metadata),
    }


def _head(node: Node) -> dict[str, Any]:
    return {"id": node.id, "address": f"[{node.address}]" if ":" in node.address else node.address, "port": node.port}


def _value_to_json(value: Value | None) -> dict[str, Any] | None:
    if value is None:
        return None
    return {
        "name": value.name,
        "type": value.type,
        "values": [_value_to_json(item) for item in value.values] or None,
    }
