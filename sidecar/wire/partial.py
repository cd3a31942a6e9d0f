"""Records of which a part cannot be read: what is left of them when that part is left out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sidecar.wire import fields
from sidecar.wire.fields import WrongField

#: Told of a part of a record that is left out, with its path and what is wrong with it.
Skip = Callable[[str], None]
#: Reads a part at a path, and raises WrongField where it cannot.
Parse = Callable[[Any, str], object]
#: The same of a value, which also takes how deep it stands.
ParseValue = Callable[[Any, str, int], object]


def without_bad_parts(obj: object, skip: Skip, read_endpoint: Parse, read_value: ParseValue) -> object:
    """The record without what a reader can do without and cannot read: metadata, endpoints and their values, the
    version. go-micro leaves such parts out too, where it meets them one by one."""
    if not isinstance(obj, dict):
        return obj
    kept: dict[str, object] = {}
    for key, value in obj.items():
        name = key.lower() if isinstance(key, str) else key
        if name == "metadata":
            kept[key] = _good_metadata(value, "metadata", skip)
        elif name == "version":
            kept[key] = _good(lambda part, path: fields.text(part, path) and part, value, "version", skip)
        elif name == "endpoints" and isinstance(value, list):
            kept[key] = [
                each
                for index, item in enumerate(value)
                if (each := _good_endpoint(item, f"endpoints[{index}]", skip, read_endpoint, read_value)) is not None
            ]
        elif name == "endpoints":
            kept[key] = _good(lambda part, path: fields.items(part, path), value, "endpoints", skip)
        elif name == "nodes" and isinstance(value, list):
            kept[key] = [_good_node(item, f"nodes[{index}]", skip) for index, item in enumerate(value)]
        else:
            kept[key] = value
    return kept


def _good(parse: Callable[[Any, str], object], value: object, path: str, skip: Skip) -> object:
    """``value`` where it can be read, else None."""
    try:
        parse(value, path)
    except WrongField as wrong:
        skip(str(wrong))
        return None
    return value


def _good_metadata(value: object, path: str, skip: Skip) -> object:
    if not isinstance(value, dict):
        return _good(fields.metadata, value, path, skip)
    return {
        key: item
        for key, item in value.items()
        if item is None or _good(fields.metadata, {key: item}, path, skip) is not None
    }


def _good_endpoint(value: object, path: str, skip: Skip, read_endpoint: Parse, read_value: ParseValue) -> object:
    if not isinstance(value, dict):
        return _good(lambda part, at: fields.members(part, at, "an object"), value, path, skip)
    kept: dict[str, object] = {}
    for key, part in value.items():
        name = key.lower()
        if name in ("request", "response"):
            kept[key] = _good(lambda one, at: read_value(one, at, 0), part, f"{path}.{name}", skip)
        elif name == "metadata":
            kept[key] = _good_metadata(part, f"{path}.metadata", skip)
        else:
            kept[key] = part
    return _good(read_endpoint, kept, path, skip)


def _good_node(value: object, path: str, skip: Skip) -> object:
    if not isinstance(value, dict):
        return value
    return {
        key: _good_metadata(part, f"{path}.metadata", skip) if key.lower() == "metadata" else part
        for key, part in value.items()
    }
