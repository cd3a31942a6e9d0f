"""Services as JSON: what apps send to ``/registry``, what we answer, and the form that Go services keep in stores.

Keys are read in any case, as Go's decoder does. A node is ``{"address": host, "port": p}`` (until v1.7) or
``{"address": "host:port"}`` (since v1.8); both are read everywhere.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from ipaddress import IPv6Address
from sys import intern
from typing import Any, Literal, NoReturn

import orjson

from sidecar.errors import BadRequest, MalformedRecord
from sidecar.model import EMPTY, Endpoint, Node, Service, Value

#: Characters in a name, version, node id or host. A key of an engine, a URL path and a log line must all hold it.
MAX_NAME = 512
#: Go's reflection goes three levels down; this leaves room for others and none for a bomb.
MAX_DEPTH = 16

What = Literal["register", "deregister"]


class _Wrong(Exception):
    """A field that cannot be read. :ivar path: ``nodes[0].port``."""

    def __init__(self, path: str, why: str) -> None:
        super().__init__(f"{path}: {why}" if path else why)


# --- Reading --------------------------------------------------------------------------------------------------------


def decode(body: bytes, what: What, make_id: Callable[[str], str]) -> Service:
    """Read what an app posted to ``/registry``.

    :param body: JSON, in UTF-8.
    :param what: to ``deregister``, a node needs nothing but its id.
    :param make_id: gives an id to a node without one when registering; its argument is the service's name.
    :raises BadRequest: naming the field by path.
    :source: micro/go-micro@d3bfdc79:registry/service.go, micro/go-micro@v6.10.0:registry/registry.go
    """
    try:
        return _read_service(_load(body), _strict_reader(what, make_id), need_nodes=True)
    except _Wrong as wrong:
        raise BadRequest(str(wrong)) from None


def decode_record(body: bytes) -> Service:
    """Read a service that a go-micro process left in a store or sent on a bus. It may be without nodes.

    :raises MalformedRecord: saying what is wrong with it.
    """
    try:
        obj = orjson.loads(body)
    except ValueError as error:
        raise MalformedRecord(f"not JSON: {error}") from None
    return from_json(obj)


def from_json(obj: object) -> Service:
    """Read a service from decoded JSON, as :func:`decode_record` does.

    :raises MalformedRecord: saying what is wrong with it.
    """
    try:
        return _read_service(obj, _read_node, need_nodes=False)
    except _Wrong as wrong:
        raise MalformedRecord(str(wrong)) from None


def endpoint_from_json(obj: object) -> Endpoint:
    """Read one endpoint. :raises MalformedRecord: saying what is wrong with it."""
    try:
        return _read_endpoint(obj, "")
    except _Wrong as wrong:
        raise MalformedRecord(str(wrong)) from None


def address(host: str, port: object) -> tuple[str, int]:
    """Normalise the address of a node.

    :param host: a name or IP literal, in brackets or not, alone or with ``:port`` where ``port`` is 0 or None.
    :returns: the bare host and the port.
    :raises ValueError: with a sentence that begins with the field, ``address`` or ``port``.
    """
    try:
        return _read_address(host, port, "")
    except _Wrong as wrong:
        raise ValueError(str(wrong)) from None


def _load(body: bytes) -> object:
    """JSON without what decoders disagree on: twice the same key, NaN, half surrogates, bottomless nesting."""
    if not body.strip():
        raise _Wrong("", 'the body is empty; send a service as JSON: {"name": ..., "nodes": [...]}')
    try:
        orjson.loads(body)  # strict and in C: UTF-8, surrogates, NaN and depth are its to refuse
    except orjson.JSONDecodeError as error:
        raise _Wrong("", f"the body is not JSON: {error}") from None
    try:
        return json.loads(body, object_pairs_hook=_no_twins)
    except (RecursionError, ValueError) as error:
        # What is left: nesting deeper than the interpreter's stack, integers of thousands of digits.
        raise _Wrong("", f"the body cannot be read: {type(error).__name__}") from None


def _no_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        twin = next(name for name in names if names.count(name) > 1)
        raise _Wrong("", f"the key {twin[:80]!r} stands twice in one object")
    return found


def _fields(obj: object, path: str, what: str) -> dict[str, Any]:
    """The object's fields by lower-case key; as in Go, of two spellings the later one holds."""
    if not isinstance(obj, dict):
        raise _Wrong(path, f"must be {what}, not {_kind(obj)}")
    return {key.lower(): value for key, value in obj.items()}


def _kind(value: object) -> str:
    if value is None:
        return "null"
    for types, name in ((bool, "a boolean"), (str, "a string"), ((int, float), "a number"), (list, "an array")):
        if isinstance(value, types):
            return name
    return "an object"


def _text(value: object, path: str, *, required: bool = False) -> str:
    if value is None:
        value = ""
    if not isinstance(value, str):
        raise _Wrong(path, f"must be a string, not {_kind(value)}")
    if required and not value:
        raise _Wrong(path, "is missing")
    if len(value) > MAX_NAME:
        raise _Wrong(path, f"is longer than {MAX_NAME} characters")
    if not value.isprintable():
        raise _Wrong(path, "holds a control character")
    return value


def _name(value: object, path: str) -> str:
    name = _text(value, path, required=True)
    if name != name.strip() or name in (".", ".."):
        raise _Wrong(path, f"{name!r} cannot be a name: it is a dot path or has space around it")
    return name


def _list(value: object, path: str) -> list[Any]:
    if value is None:
        return []
    if not isinstance(value, list):
        raise _Wrong(path, f"must be an array, not {_kind(value)}")
    return value


def _metadata(value: object, path: str) -> Mapping[str, str]:
    if not value and (value is None or isinstance(value, dict)):
        return EMPTY
    if not isinstance(value, dict):
        raise _Wrong(path, f"must be an object of strings, not {_kind(value)}")
    found = {}
    for key, item in value.items():
        if item is None:
            item = ""
        if not isinstance(item, str):
            raise _Wrong(f"{path}.{key[:80]}", f"must be a string, not {_kind(item)}")
        # Thousands of nodes say the same few words: keep each once.
        found[intern(key)] = intern(item) if len(item) < 32 else item
    return found


NodeReader = Callable[[object, str, str], Node]


def _read_service(obj: object, read_node: NodeReader, *, need_nodes: bool) -> Service:
    fields = _fields(obj, "", "an object")
    name = intern(_name(fields.get("name"), "name"))
    version = intern(_text(fields.get("version"), "version"))
    metadata = _metadata(fields.get("metadata"), "metadata")
    endpoints = tuple(
        _read_endpoint(item, f"endpoints[{index}]")
        for index, item in enumerate(_list(fields.get("endpoints"), "endpoints"))
    )
    nodes: dict[str, Node] = {}
    for index, item in enumerate(_list(fields.get("nodes"), "nodes")):
        node = read_node(item, name, f"nodes[{index}]")
        if node.id in nodes:
            raise _Wrong(f"nodes[{index}].id", f"{node.id!r} is given to two nodes")
        nodes[node.id] = node
    if need_nodes and not nodes:
        raise _Wrong("nodes", "is empty: name at least one node")
    return Service(name, version, metadata, endpoints, tuple(nodes.values()))


def _read_node(obj: object, name: str, path: str) -> Node:
    fields = _fields(obj, path, "an object")
    return _node(fields, _name(fields.get("id"), f"{path}.id"), path)


def _node(fields: dict[str, Any], identity: str, path: str) -> Node:
    host, port = _read_address(_text(fields.get("address"), f"{path}.address"), fields.get("port"), f"{path}.")
    return Node(identity, intern(host), port, _metadata(fields.get("metadata"), f"{path}.metadata"))


def _strict_reader(what: What, make_id: Callable[[str], str]) -> NodeReader:
    def registering(obj: object, name: str, path: str) -> Node:
        fields = _fields(obj, path, "an object")
        given = _text(fields.get("id"), f"{path}.id")
        return _node(fields, _name(given or make_id(name), f"{path}.id"), path)

    def deregistering(obj: object, name: str, path: str) -> Node:
        fields = _fields(obj, path, "an object")
        identity = _name(fields.get("id"), f"{path}.id")
        # What is named by its id needs no address; one that is there is checked, to tell a slip of the hand.
        if not fields.get("address") and not fields.get("port"):
            return Node(identity, "", 0)
        return _node(fields, identity, path)

    return registering if what == "register" else deregistering


def _read_address(host: str, port: object, path: str) -> tuple[str, int]:
    if port is not None and (isinstance(port, bool) or not isinstance(port, int)):
        raise _Wrong(f"{path}port", f"must be a whole number from 1 to 65535, not {_kind(port)}")
    joined = _split(host)
    if joined is not None:
        host, tail = joined
        where = f"{path}address"
        if not (tail.isascii() and tail.isdigit()) or len(tail) > 5:
            raise _Wrong(where, f"the port {tail[:20]!r} is not 1 to 65535")
        if port and int(tail) != port:
            raise _Wrong(f"{path}port", f"{port} differs from the port {tail} in address")
        port = int(tail)
    else:
        where = f"{path}port"
    if not host:
        raise _Wrong(f"{path}address", "is missing")
    host = _host(host, f"{path}address")
    if not port:
        raise _Wrong(where, "is missing" if port is None else "0 is not 1 to 65535")
    if not 1 <= port <= 65535:
        shown = str(port) if abs(port) < 10**20 else "a number of very many digits"
        raise _Wrong(where, f"{shown} is not 1 to 65535")
    return host, port


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
    if ":" in bare or bare != host:
        try:
            IPv6Address(bare)
        except ValueError:
            _refuse_host(host, path)
        if not bare.isascii() or not all(char.isalnum() or char in ":.%_-" for char in bare):
            _refuse_host(host, path)
        return bare
    if not bare.isascii() or not all(char.isalnum() or char in "._-" for char in bare) or len(bare) > 255:
        _refuse_host(host, path)
    return bare


def _refuse_host(host: str, path: str) -> NoReturn:
    raise _Wrong(path, f"{host[:80]!r} is not a host name or an IP address")


def _read_endpoint(obj: object, path: str) -> Endpoint:
    fields = _fields(obj, path, "an object")
    within = f"{path}." if path else ""
    return Endpoint(
        intern(_text(fields.get("name"), f"{within}name")),
        _read_value(fields.get("request"), f"{within}request", 0),
        _read_value(fields.get("response"), f"{within}response", 0),
        _metadata(fields.get("metadata"), f"{within}metadata"),
    )


def _read_value(obj: object, path: str, depth: int) -> Value | None:
    if obj is None:
        return None
    if depth >= MAX_DEPTH:
        raise _Wrong(path, f"is nested deeper than {MAX_DEPTH} levels")
    fields = _fields(obj, path, "an object")
    below = []
    for index, item in enumerate(_list(fields.get("values"), f"{path}.values")):
        value = _read_value(item, f"{path}.values[{index}]", depth + 1)
        if value is not None:
            below.append(value)
    return Value(
        intern(_text(fields.get("name"), f"{path}.name")),
        intern(_text(fields.get("type"), f"{path}.type")),
        tuple(below),
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
