"""Endpoints out of an OpenAPI 3 document: names from its paths or operation ids, shapes from its schemas. Pure.

:source: OpenAPI Specification 3.0.3 and 3.1.0 (Operation Object, Schema Object, Reference Object)
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from sidecar.model import Endpoint, Value

#: The methods of HTTP that a call can be.
VERBS: Final = ("post", "get", "put", "patch", "delete")
#: Levels of fields that are told, as go-micro's own reflection does.
DEPTH: Final = 3

#: ``/Say/Hello``: Go's exported names.
_RPC = re.compile(r"/([A-Z]\w*)/([A-Z]\w*)")
_OPERATION = re.compile(r"[^\s,;=]+")
_GO: Final[Mapping[tuple[str, str], str]] = {
    ("string", "byte"): "[]uint8",
    ("string", "binary"): "[]uint8",
    ("integer", "int32"): "int32",
    ("number", "float"): "float32",
}
_GO_OF: Final[Mapping[str, str]] = {"string": "string", "integer": "int64", "number": "float64", "boolean": "bool"}


def endpoints(document: Mapping[str, Any]) -> tuple[Endpoint, ...]:
    """An operation at ``/<Type>/<Method>`` is the endpoint of that name; any other one is an endpoint by its
    ``operationId``, with ``path`` and ``verb`` in its metadata, by which it is called.

    :raises ValueError: the document is of another version, or has no paths.
    """
    if not str(document.get("openapi", "")).startswith("3."):
        raise ValueError(f"OpenAPI {str(document.get('openapi'))[:20]} is not read; write a document of version 3")
    paths = document.get("paths")
    if not isinstance(paths, Mapping):
        raise ValueError("the OpenAPI document has no paths")
    found: dict[str, Endpoint] = {}
    for each in _operations(_Document(document), paths):
        found.setdefault(each.name, each)
    return tuple(found.values())


def _operations(document: _Document, paths: Mapping[str, Any]) -> Iterator[Endpoint]:
    for path, given in paths.items():
        item = document.resolved(given)
        shared = _list(item.get("parameters"))
        for verb in VERBS:
            operation = item.get(verb)
            if not isinstance(operation, Mapping) or not str(path).startswith("/"):
                continue
            rpc = _RPC.fullmatch(path)
            id = operation.get("operationId")
            if rpc is not None and (verb == "post" or "post" not in item):
                name = f"{rpc[1]}.{rpc[2]}"
            elif isinstance(id, str) and _OPERATION.fullmatch(id):
                name = id
            else:
                continue  # there is nothing to call it by
            plain = rpc is not None and verb == "post"
            yield _endpoint(document, name, operation, shared, {} if plain else {"path": path, "verb": verb.upper()})


def _endpoint(
    document: _Document, name: str, operation: Mapping[str, Any], shared: list[Any], metadata: dict[str, str]
) -> Endpoint:
    parameters = [document.resolved(each) for each in (*shared, *_list(operation.get("parameters")))]
    asked = {
        str(each.get("name")): each for each in parameters if each.get("in") in ("path", "query") and each.get("name")
    }
    in_query = [key for key, each in asked.items() if each["in"] == "query"]
    if in_query and metadata:
        metadata["query"] = ",".join(in_query)
    said = operation.get("summary") or operation.get("description")
    if isinstance(said, str) and said.strip():
        metadata["description"] = " ".join(said.split())
    for key in ("scopes", "example", "stream"):
        extra = operation.get(f"x-{key}")
        if isinstance(extra, (str, bool)):
            metadata[key] = str(extra).lower() if isinstance(extra, bool) else extra
    method = name.rpartition(".")[2]
    body = document.resolved(operation.get("requestBody"))
    request = document.value(document.content(body), f"{method}Request", "", 0)
    fields = [document.value(document.schema_of(each), "", key, 1) for key, each in asked.items()]
    if fields:
        known = {value.name for value in request.values} if request is not None else set()
        below = tuple(value for value in fields if value is not None and value.name not in known)
        request = (
            Value(f"{method}Request", f"{method}Request", below)
            if request is None
            else Value(request.name, request.type, (*request.values, *below))
        )
    response = document.value(document.content(document.answer(operation)), f"{method}Response", "", 0)
    return Endpoint(name, request, response, metadata)


class _Document:
    """Looks things up in one document."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        self._document = document

    def resolved(self, given: Any) -> Mapping[str, Any]:
        """What an object, or a reference within the document, means; nothing where it means nothing."""
        for _ in range(16):
            if not isinstance(given, Mapping):
                return {}
            reference = given.get("$ref")
            if not isinstance(reference, str):
                return given
            given = self._at(reference)
        return {}

    def _at(self, reference: str) -> Any:
        if not reference.startswith("#/"):
            return None
        place: Any = self._document
        for part in reference[2:].split("/"):
            place = place.get(part.replace("~1", "/").replace("~0", "~")) if isinstance(place, Mapping) else None
        return place

    def content(self, holder: Mapping[str, Any]) -> Any:
        """The schema of a body: of its JSON, or of the first form that there is."""
        content = holder.get("content")
        if not isinstance(content, Mapping) or not content:
            return None
        kind = next((kind for kind in content if "json" in str(kind)), next(iter(content)))
        media = content[kind]
        return media.get("schema") if isinstance(media, Mapping) else None

    def schema_of(self, parameter: Mapping[str, Any]) -> Any:
        """The schema of a parameter, a string where it has none."""
        return parameter.get("schema") or self.content(parameter) or {"type": "string"}

    def answer(self, operation: Mapping[str, Any]) -> Mapping[str, Any]:
        """The good answer of an operation."""
        responses = operation.get("responses")
        if not isinstance(responses, Mapping):
            return {}
        codes = sorted(str(code) for code in responses if str(code).startswith("2")) or ["default"]
        return self.resolved(next((responses[key] for key in responses if str(key) == codes[0]), None))

    def value(self, schema: Any, fallback: str, name: str, depth: int) -> Value | None:
        """A schema as go-micro tells it. :param fallback: what the type is called where the schema has no name.
        :param name: of the field, "" for the type's own."""
        if schema is None or depth > DEPTH:
            return None
        type = self._type(schema, fallback or name)
        below: list[Value] = []
        for key, inner in self._fields(self.resolved(self._items(schema))):
            value = self.value(inner, "", key, depth + 1)
            if value is not None:
                below.append(value)
        return Value(name or type.removeprefix("[]"), type, tuple(below))

    def _items(self, schema: Any) -> Any:
        found = self.resolved(schema)
        return found.get("items") if _kind(found) == "array" else schema

    def _type(self, schema: Any, fallback: str) -> str:
        found = self.resolved(schema)
        kind = _kind(found)
        if kind == "array":
            return f"[]{self._type(found.get('items') or {}, fallback)}"
        if kind in _GO_OF:
            return _GO.get((kind, str(found.get("format", ""))), _GO_OF[kind])
        reference = schema.get("$ref") if isinstance(schema, Mapping) else None
        called = reference.rpartition("/")[2] if isinstance(reference, str) else found.get("title")
        if isinstance(called, str) and called and len(called) <= 200:
            return re.sub(r"\W", "", called) or fallback
        return fallback if next(iter(self._fields(found)), None) is not None else "map[string]interface {}"

    def _fields(self, schema: Mapping[str, Any], depth: int = 0) -> Iterator[tuple[str, Any]]:
        properties = schema.get("properties")
        if isinstance(properties, Mapping):
            yield from ((str(key), value) for key, value in properties.items())
        for each in _list(schema.get("allOf")) if depth < DEPTH else []:
            yield from self._fields(self.resolved(each), depth + 1)


def _kind(schema: Mapping[str, Any]) -> str:
    """The type of a schema, of several (``["string", "null"]``, ``anyOf``) the first that is something."""
    kind = schema.get("type")
    if isinstance(kind, list):
        kind = next((each for each in kind if each != "null"), "")
    if kind is None:
        for each in _list(schema.get("anyOf") or schema.get("oneOf")):
            if isinstance(each, Mapping) and each.get("type") not in (None, "null"):
                return str(each["type"])
    return kind if isinstance(kind, str) else ""


def _list(given: Any) -> list[Any]:
    return given if isinstance(given, list) else []
