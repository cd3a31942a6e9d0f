"""A call of an operation that has a path and a verb of its own: what is asked of the app in place of a POST. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any, Final
from urllib.parse import quote, urlencode

from attrs import frozen

from sidecar.errors import BadRequest

#: Those that a call may be made by. (HEAD has no answer, and CONNECT is no call.)
VERBS: Final = frozenset(("GET", "POST", "PUT", "PATCH", "DELETE"))
#: Those whose request goes into the query.
BODILESS: Final = frozenset(("GET", "DELETE"))

_PLACE = re.compile(r"\{([^{}/]+)\}")


@frozen
class Operation:
    """What is asked of the app. :ivar target: the path, with its query. :ivar body: b"" for none."""

    verb: str
    target: str
    body: bytes


def of(metadata: Mapping[str, str], request: bytes, is_json: bool = True) -> Operation | None:
    """:param metadata: of an endpoint. :param request: the payload.
    :returns: how the endpoint is called; None where it is an ordinary one: a POST to ``/<Type>/<Method>``.
    :raises BadRequest: the payload lacks what the path holds."""
    path = metadata.get("path", "")
    if not path.startswith("/"):
        return None
    verb = verb_of(metadata.get("verb", ""))
    places = _PLACE.findall(path)
    in_query = [name for name in metadata.get("query", "").split(",") if name]
    if not places and not in_query and verb not in BODILESS:
        return Operation(verb, path, request)
    fields = _fields(request, is_json, path)
    for name in places:
        if fields.get(name) in (None, ""):
            raise BadRequest(f"request: {name} is missing, which the path {path} holds")
    taken = {name: fields.pop(name) for name in dict.fromkeys(places)}
    target = _PLACE.sub(lambda found: quote(text(taken[found[1]]), safe=""), path)
    if verb in BODILESS:
        return Operation(verb, with_query(target, fields), b"")
    asked = {name: fields.pop(name) for name in in_query if name in fields}
    return Operation(verb, with_query(target, asked), json.dumps(fields, ensure_ascii=False).encode("utf-8"))


def verb_of(given: str) -> str:
    """:returns: the verb in capitals, POST for none. :raises BadRequest: a call cannot be made by it."""
    verb = given.upper() or "POST"
    if verb not in VERBS:
        raise BadRequest(f"verb: a call is made by {', '.join(sorted(VERBS))}, not by {given[:20]!r}")
    return verb


def by_path(target: str, verb: str, request: bytes, is_json: bool = True) -> Operation:
    """A call of a path. :param target: it, and its query if there is one. :param verb: "" for POST.
    :raises BadRequest: it cannot be asked so."""
    verb = verb_of(verb)
    if verb in BODILESS:
        return Operation(verb, with_query(target, _fields(request, is_json, target)), b"")
    return Operation(verb, target, request)


def with_query(target: str, fields: Mapping[str, Any]) -> str:
    """:param fields: JSON values by name: null is left out, an array is repeated."""
    pairs = [(name, text(one)) for name, value in fields.items() for one in _each(value)]
    if not pairs:
        return target
    return f"{target}{'&' if '?' in target else '?'}{urlencode(pairs)}"


def _each(value: Any) -> Iterable[Any]:
    if value is None:
        return ()
    return value if isinstance(value, list) else (value,)


def text(value: Any) -> str:
    """A JSON value in a path or query: a string is itself, anything else its JSON."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _fields(request: bytes, is_json: bool, path: str) -> dict[str, Any]:
    """The members of a payload. :raises BadRequest: it is no object."""
    if not request.strip():
        return {}
    try:
        fields = json.loads(request.decode("utf-8-sig")) if is_json else None
    except ValueError:
        fields = None
    if fields is None and is_json and request.strip() == b"null":
        return {}
    if not isinstance(fields, dict):
        raise BadRequest(f"request: {path} takes a JSON object, whose members go into its path and query")
    return fields
